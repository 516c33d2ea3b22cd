"""What becomes of a trained encoder: evaluation, embedding, export; and imported weights."""

import dataclasses

from simclr_tf.config.fields import FOLDERS, PATH, PLACES, Section, folders_in, setting
from simclr_tf.errors import SettingsError

# `simclr_tf.studies.registry` holds their plans
STUDIES = (
    "augmentation_pairs", "color_strength", "model_size", "projection_head", "what_to_predict",
    "losses", "temperature", "batch_epochs", "semi_supervised", "transfer", "broader_augmentation",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TrainedEncoder(Section):
    """Which trained encoder."""

    checkpoint: str = setting("", "Trained encoder: a run folder, a checkpoint, an exported SavedModel or .keras file, or a SavedModel of the official SimCLR code. Its architecture is read from there.", basic=True, path=PATH)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SelectedEncoder(TrainedEncoder):
    """Which trained encoder, and which of its outputs."""

    ft_proj_selector: int = setting(0, "Layer whose output stands for h: 0 is the encoder, 1 the first layer of the projection head, -1 its last.", minimum=-1, maximum=4)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FineTuning(Section):
    """Fine-tuning (paper appendix B.5)."""

    init: str = setting("", "Starting weights. Empty: --checkpoint; a run folder or checkpoint; scratch: random weights, which is the supervised baseline (in the architecture of --checkpoint, if given).", basic=True, path=PATH)  # fmt: skip
    label_fraction: float = setting(1.0, "Share of the training labels that is used: the same share of every class, at least one image each. Smaller shares are subsets of larger ones.", basic=True, above=0.0, maximum=1.0)  # fmt: skip
    label_seed: int = setting(0, "Seed that selects the labelled share.", minimum=0, maximum=2**31 - 1)  # fmt: skip
    ft_proj_selector: int = setting(0, "Layer below the classifier: 0 is h, 1 the first layer of the projection head, -1 z.", minimum=-1)  # fmt: skip
    fine_tune_after_block: int = setting(-1, "Freeze the stem and all block groups up to this one. 0: only the stem; 4: the whole encoder; -1: nothing.", basic=True, minimum=-1, maximum=4)  # fmt: skip
    zero_init_logits_layer: bool = setting(False, "Start the classifier at zero.")
    bn_decay_rule: bool = setting(True, "Set the decay of the BatchNormalization averages to max(1 - 10 / steps per epoch, 0.9), as in the paper's transfer learning. False keeps --batch_norm_decay.")  # fmt: skip
    baselines: bool = setting(True, "Also measure linear classifiers on the frozen and on the untrained encoder, with the same labels.", basic=True)  # fmt: skip
    supervised_baseline: bool = setting(False, "Also train from random weights with the same labels and settings, in the subfolder supervised.", basic=True)  # fmt: skip
    eval_batch_size: int = setting(256, "Images per step of the evaluation.", minimum=1, free=True)


@dataclasses.dataclass(frozen=True)
class Distillation(Section):
    """Distillation (the third step of SimCLR v2, arXiv:2006.10029, section 2)."""

    teacher: str = setting("", "What the student learns from: a run folder of --mode=finetune or of a pretraining with an online probe, a checkpoint, or a SavedModel with logits (ours, or of the official SimCLR code).", basic=True, path=PATH)  # fmt: skip
    distill_temperature: float = setting(1.0, "Divides the logits of teacher and student before the softmax. The loss is multiplied with its square.", basic=True, above=0.0)  # fmt: skip
    distill_label_weight: float = setting(0.0, "Weight of the labels in the loss, 1 - alpha of the paper; the teacher has the rest. 0 uses no label.", basic=True, minimum=0.0, maximum=1.0)  # fmt: skip
    label_fraction: float = setting(1.0, "Share of the training labels that is used by --distill_label_weight and --baselines, as of --mode=finetune. The default is that of the teacher's fine-tuning.", basic=True, above=0.0, maximum=1.0)  # fmt: skip
    label_seed: int = setting(0, "Seed that selects the labelled share. The default is that of the teacher's fine-tuning.", minimum=0, maximum=2**31 - 1)  # fmt: skip
    ft_proj_selector: int = setting(0, "Layer below the student's classifier, for a student from --checkpoint: 0 is h, 1 the first layer of its projection head, -1 z.", minimum=-1)  # fmt: skip
    zero_init_logits_layer: bool = setting(False, "Start the student's classifier at zero.")
    baselines: bool = setting(True, "Also train the student on the labels alone, for as many steps from the same weights, in the subfolder labels_alone.")  # fmt: skip
    export_formats: str = setting("tflite,tflite_int8", "What the student is converted to beside its SavedModel, as of --mode=export.", free=True)  # fmt: skip
    eval_batch_size: int = setting(256, "Images per step of the evaluation.", minimum=1, free=True)


@dataclasses.dataclass(frozen=True)
class LinearProtocol(Section):
    """Linear evaluation (paper appendix B.6)."""

    train_batch_size: int = setting(512, "Images per step of the linear classifier.", basic=True, minimum=1)  # fmt: skip
    train_epochs: int = setting(90, "Epochs of the linear classifier.", basic=True, minimum=1)
    learning_rate: float = setting(0.1, "Base learning rate of the linear classifier; the peak is base * batch / 256.", basic=True, above=0.0)  # fmt: skip
    weight_decay: float = setting(0.0, "Weight decay of the linear classifier.", basic=True, minimum=0.0)  # fmt: skip
    momentum: float = setting(0.9, "Nesterov momentum of the linear classifier.", minimum=0.0, maximum=0.9999)  # fmt: skip
    grid_learning_rates: str = setting("", "More base learning rates, comma-separated. Their classifiers are trained in the same pass and listed under grid in results.json; top_1 stays that of --learning_rate.")  # fmt: skip
    grid_weight_decays: str = setting("", "More weight decays, comma-separated, each combined with every learning rate of the grid.")  # fmt: skip
    zero_init_logits_layer: bool = setting(True, "Start the linear classifier at zero.")
    eval_batch_size: int = setting(256, "Images per step of feature extraction and evaluation.", minimum=1, free=True)  # fmt: skip
    few_shot_draws: int = setting(10, "Random draws that are averaged for each number of labels (1, 2, 5 and 10 per class).", minimum=1)  # fmt: skip
    linear_form: str = setting("auto", "paper: SGD on augmented images, every image many times; fast: L-BFGS over 45 penalties on features computed once; both: both, with top_1 from the paper's; auto: fast for --image_dir, else both.", basic=True, allowed=("auto", "both", "paper", "fast"))  # fmt: skip
    baselines: bool = setting(True, "Also measure raw pixels and the untrained encoder on the same splits. It costs one more pass over the images.", basic=True)  # fmt: skip
    flip: bool = setting(True, "Flip training images left-right at random.")
    crop_area_min: float = setting(0.08, "Smallest training crop as a share of the image area.", above=0.0, maximum=1.0)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class KnnSettings(Section):
    """Weighted k-nearest-neighbour classification by cosine similarity."""

    knn_k: int = setting(20, "Number of neighbours that vote, at most the number of training images.", basic=True, minimum=1)  # fmt: skip
    knn_temperature: float = setting(0.07, "The vote of a neighbour has the weight exp(cosine / temperature).", basic=True, above=0.0)  # fmt: skip
    eval_batch_size: int = setting(256, "Images per step of feature extraction.", minimum=1, free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ProbeSettings(Section):
    """What h and the head know of a view (paper section 4.2, Tab. 3)."""

    probe_tasks: str = setting("color,rotation,noise,sobel,label", "What is predicted, comma-separated: color (or grey, as the views draw it), rotation (quarter turns), noise, sobel, label. Without labels, label is left out.", basic=True)  # fmt: skip
    probe_hidden: int = setting(512, "Width of the probe's hidden layer; 0 is a linear probe.", basic=True, minimum=0)  # fmt: skip
    probe_epochs: int = setting(50, "Epochs of the probes; they take at least 1,000 steps.", basic=True, minimum=1)  # fmt: skip
    probe_noise_sigma: float = setting(0.1, "Standard deviation of the Gaussian noise, for pixels in [0, 1]. The paper does not state its value.", above=0.0)  # fmt: skip
    eval_batch_size: int = setting(256, "Images per step of feature extraction.", minimum=1, free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TransferSettings(Section):
    """Transfer to other data sets (paper appendix B.8)."""

    datasets: str = setting("", "Data sets, comma-separated: names of tensorflow-datasets, folders, NAME=FOLDER such as birdsnap=DIR, or paper: the ten of the paper's twelve that tensorflow-datasets has.", basic=True, path=FOLDERS)  # fmt: skip
    transfer_protocol: str = setting("linear", "linear: L-BFGS on frozen features; finetune: train the whole encoder, over a grid of settings; both.", basic=True, allowed=("linear", "finetune", "both"))  # fmt: skip
    compare: str = setting("", "A second checkpoint, such as a supervised one. It is measured in the same way, with significance tests against it.", basic=True, path=PATH)  # fmt: skip
    permutations: int = setting(100_000, "Samples of the permutation test.", minimum=1)
    max_iterations: int = setting(1000, "Most iterations of L-BFGS for each penalty.", minimum=1)
    grid_learning_rates: str = setting("paper", "Learning rates of the fine-tuning grid, comma-separated. paper: 7 from 0.0001 to 0.1.")  # fmt: skip
    grid_weight_decays: str = setting("paper", "Weight decays of the grid before division by the learning rate. paper: 7 from 1e-6 to 1e-3, and 0.")  # fmt: skip
    train_steps: int = setting(20_000, "Steps of each fine-tuning.", basic=True, minimum=1)
    random_init: bool = setting(False, "Also train from random weights, over a grid of its own.")
    random_learning_rates: str = setting("paper", "Learning rates of the grid of --random_init, comma-separated. paper: 7 from 0.001 to 1.")  # fmt: skip
    random_weight_decays: str = setting("paper", "Weight decays of the grid of --random_init before division by the learning rate. paper: 8 from 1e-5 to 10^-1.5.")  # fmt: skip
    random_train_steps: int = setting(40_000, "Steps of each training from random weights.", minimum=1)  # fmt: skip
    train_batch_size: int = setting(256, "Images per step of fine-tuning.", basic=True, minimum=1)
    eval_batch_size: int = setting(256, "Images per step of feature extraction and evaluation.", minimum=1, free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class DataCheckSettings(Section):
    """A look at images before anything is trained on them."""

    check_dir: str = setting("data_check", "Folder for data_check.json, data_check.md and the contact sheet.", basic=True, free=True, path=PATH)  # fmt: skip
    check_images: int = setting(20_000, "Images that are decoded, drawn by --seed; 0 for all.", basic=True, minimum=0)  # fmt: skip
    check_speed: bool = setting(True, "Measure decoding, the input of a training and a step of ResNet-18 on this machine.", basic=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EmbedSettings(Section):
    """Embeddings of many images, and what is drawn from them."""

    output: str = setting("", "Folder for embeddings and pictures; or one file whose name ends in .npz or .parquet.", basic=True, free=True, path=PATH)  # fmt: skip
    split: str = setting("train", "Split of --dataset, such as test or train[:90%]. Of --image_dir every image is taken.", basic=True)  # fmt: skip
    embed_head: bool = setting(False, "Also write z, the output of the projection head.", basic=True)  # fmt: skip
    eval_batch_size: int = setting(64, "Images per step.", minimum=1, free=True)
    projector_images: int = setting(5000, "Most images in the TensorBoard projector, evenly spaced; 0 makes no projector.", basic=True, minimum=0, maximum=20000)  # fmt: skip
    duplicate_similarity: float = setting(0.99, "Cosine of h from which two images are listed as near-duplicates; 0 makes no list. The search compares all pairs.", basic=True, minimum=0.0, maximum=1.0)  # fmt: skip
    verify: bool = setting(False, "Compare the contents of the images with those that were embedded, not only their sizes and times.", free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SearchSettings(Section):
    """What is searched for, and where."""

    query: str = setting("", "Image files whose nearest images are wanted, comma-separated.", basic=True, path=PLACES)  # fmt: skip
    embeddings: str = setting("", "Output of --mode=embed: a folder, or a .npz or .parquet file. Alone, it is what is searched. With --image_dir, rows of files that did not change are taken from it.", basic=True, path=PATH)  # fmt: skip
    output: str = setting("", "Folder for nearest.csv, nearest.json, nearest.png, and index.npz, which keeps h of the folder for the next search. Empty: search below the run folder.", basic=True, path=PATH)  # fmt: skip
    nearest: int = setting(8, "Images that are found for each query.", basic=True, minimum=1, maximum=1000)  # fmt: skip
    eval_batch_size: int = setting(64, "Images per step.", minimum=1)


@dataclasses.dataclass(frozen=True)
class CompareSettings(Section):
    """Which runs are put side by side."""

    runs: str = setting("", "Run folders of pretrainings, comma-separated, each as FOLDER or NAME=FOLDER. The first one is what the others are compared with.", basic=True, path=FOLDERS)  # fmt: skip
    page: str = setting("compare.html", "Where the page goes.", basic=True, path=PATH)

    def check(self):
        if self.runs and len(folders_in(self.runs)) < 2:
            raise SettingsError(f"runs={self.runs} names one run; give two or more, comma-separated.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ExportSettings(Section):
    """What goes into the SavedModel."""

    export_head: bool = setting(True, "Keep the projection head in the SavedModel.", basic=True)
    export_outputs: str = setting("all", "Entries of the output dictionary, comma-separated, such as final_avg_pool,block_group4,z; or all. h is always there.")  # fmt: skip
    export_formats: str = setting("", "Also convert, comma-separated: keras or keras_h5 (one file of plain Keras layers), tflite, tflite_float16, tflite_int8, onnx, and official_tf2 or official_tf1 (checkpoints for the official SimCLR code). The files go to the folder converted/STEP beside saved_model.", basic=True, free=True)  # fmt: skip
    export_keras_input: str = setting("unit", "Pixels that the .keras file takes. unit: numbers in [0, 1], as all other formats; uint8: 0 to 255, rescaled by its first layer.", allowed=("unit", "uint8"), free=True)  # fmt: skip
    export_keras_outputs: str = setting("h", "Outputs of the .keras file, comma-separated: h; z, which adds the projection head; logits, which adds the classifier. h alone is a tensor, several are a dictionary.", free=True)  # fmt: skip
    export_license: str = setting("", "Licence of the weights for the model card, such as Apache-2.0.", basic=True, free=True)  # fmt: skip
    keep_hub_module_max: int = setting(1, "Number of exported versions kept.", minimum=1, free=True)


@dataclasses.dataclass(frozen=True)
class StudySettings(Section):
    """A study of the paper: a set of runs, their evaluations and one table."""

    study: str = setting("", "Studies, comma-separated, or all.", basic=True, each_of=(*STUDIES, "all"))  # fmt: skip
    scale: str = setting("tiny", "Budget. tiny: minutes on two cores, on the digits or any images; small: ResNet-18 at 32 pixels, for one GPU; paper: the paper's settings.", basic=True, allowed=("tiny", "small", "paper"))  # fmt: skip
    seeds: int = setting(1, "Runs of each row with seeds from --seed up; from 2 on the table has intervals.", basic=True, minimum=1, maximum=100, free=True)  # fmt: skip
    shard: str = setting("1/1", "Share i/n of the runs, for n machines that write to the same --model_dir: 1/4 to 4/4.", basic=True, free=True)  # fmt: skip
    processes: int = setting(1, "Processes of this machine that share the runs.", basic=True, minimum=1, maximum=256, free=True)  # fmt: skip
    study_datasets: str = setting("", "Data sets of the study transfer, as --datasets of --mode=transfer. Empty: those of the scale.", path=FOLDERS)  # fmt: skip

    @property
    def part(self):
        """(index from 0, number of shards)."""
        index, _, count = self.shard.partition("/")
        return int(index) - 1, int(count)

    def check(self):
        index, _, count = self.shard.partition("/")
        numbers = index.isascii() and index.isdigit() and count.isascii() and count.isdigit()
        if not numbers or not 1 <= int(index) <= int(count) <= 10_000:
            raise SettingsError(f"shard={self.shard} is not allowed: give i/n with i from 1 to n, such as 2/4.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ImportSettings(Section):
    """Weights of other code."""

    source: str = setting("", "Weights: a SavedModel or checkpoint of the official SimCLR code (TF2 or TF1), or a PyTorch ResNet of any depth or width with the names of torchvision or lightly (.safetensors, or a file of torch.save).", basic=True, path=PATH)  # fmt: skip
    source_prefix: str = setting("", "For PyTorch files that hold several networks: what stands before conv1.weight in the names, such as backbone.", basic=True)  # fmt: skip
    source_input_norm: str = setting("imagenet", "For PyTorch: whose mean and deviation the images of the training were standardized with. imagenet is usual, cifar10 and cifar100 are for networks trained on these.", basic=True, allowed=("imagenet", "cifar10", "cifar100", "none"))  # fmt: skip
    stem_padding: int = setting(1, "For PyTorch networks with a 3x3 stem, whose weights do not tell it: padding of the first convolution, 2 in solo-learn's networks for CIFAR, else usually 1.", allowed=(1, 2))  # fmt: skip
    ft_proj_selector: int = setting(0, "Layer of the projection head that the classifier of a checkpoint was trained on: 0 is h, 1 the head's first layer, -1 its last. Needed where several layers fit and no SavedModel tells.", basic=True, minimum=-1, maximum=4)  # fmt: skip
    sk_ratio: float = setting(0.0, "Selective kernels of the source. Needed for a ResNet-18 or 34 with the small stem that is no SavedModel: 0, or 0.0625 if it was trained with it. Else it is read from the weights.", minimum=0.0, maximum=1.0)  # fmt: skip
    se_ratio: float = setting(0.0, "Squeeze-and-excitation of the source; it is read from the weights if not given.", minimum=0.0, maximum=1.0)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SelftestSettings(Section):
    """Which checks."""

    checks: str = setting("", "Checks, comma-separated; empty runs all.", basic=True, each_of=("devices", "replicas", "precision", "xla", "rates", "resume"))  # fmt: skip
    scratch_dir: str = setting("", "Folder for the check of resuming, which writes to a subfolder and removes it. Empty: the system's temporary folder.", path=PATH)  # fmt: skip
