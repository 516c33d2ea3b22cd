"""What becomes of a trained encoder: evaluation, embedding, export; and imported weights."""

import dataclasses

from simclr_tf.config.fields import FOLDERS, PATH, Section, setting


@dataclasses.dataclass(frozen=True)
class Source(Section):
    """Which trained encoder."""

    checkpoint: str = setting("", "Run folder, checkpoint prefix, exported SavedModel, or SavedModel of the official SimCLR code; its architecture is read from it.", path=PATH)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SelectedSource(Source):
    """Which trained encoder, and which of its outputs."""

    ft_proj_selector: int = setting(0, "Which layer of the projection head stands for h: 0 the encoder's output, 1 the head's first layer, ..., -1 its last.", minimum=-1, maximum=4)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FineTuning(Section):
    """Fine-tuning (paper appendix B.5)."""

    init: str = setting("", "Where the weights come from: empty for --checkpoint, a run folder or checkpoint, or scratch: random weights, which gives the supervised baseline (of the architecture of --checkpoint, if that is given).", path=PATH)  # fmt: skip
    label_fraction: float = setting(1.0, "Share of the training labels that is used, the same of every class, at least one each; smaller shares are subsets of larger ones.", above=0.0, maximum=1.0)  # fmt: skip
    label_seed: int = setting(0, "Seed of the labelled share.", minimum=0, maximum=2**31 - 1)
    ft_proj_selector: int = setting(0, "Layer that the classifier is put on: 0 is h, 1 the first layer of the projection head, -1 z.", minimum=-1)  # fmt: skip
    fine_tune_after_block: int = setting(-1, "Freeze the stem and the block groups up to this one (0: the stem only, 4: all, so that only head and classifier learn); -1 trains everything.", minimum=-1, maximum=4)  # fmt: skip
    zero_init_logits_layer: bool = setting(False, "Start the classifier at zero.")
    bn_decay_rule: bool = setting(True, "Decay of the BatchNormalization averages max(1 - 10 / steps per epoch, 0.9), as in the paper's transfer learning; off keeps --batch_norm_decay.")  # fmt: skip
    baselines: bool = setting(True, "Also measure linear classifiers on the frozen and on the untrained encoder, with the same labels.")  # fmt: skip
    supervised_baseline: bool = setting(False, "Also train from random weights with the same labels and settings, in the folder supervised.")  # fmt: skip
    eval_batch_size: int = setting(256, "Images per step of evaluation.", minimum=1, free=True)


@dataclasses.dataclass(frozen=True)
class LinearProtocol(Section):
    """Linear evaluation (paper appendix B.6)."""

    train_batch_size: int = setting(512, "Images per step of the linear classifier.", minimum=1)
    train_epochs: int = setting(90, "Epochs of the linear classifier.", minimum=1)
    learning_rate: float = setting(0.1, "Base learning rate of the linear classifier (linear scaling by batch / 256).", above=0.0)  # fmt: skip
    weight_decay: float = setting(0.0, "Weight decay of the linear classifier.", minimum=0.0)
    momentum: float = setting(0.9, "Nesterov momentum of the linear classifier.", minimum=0.0, maximum=0.9999)  # fmt: skip
    grid_learning_rates: str = setting("", "More base learning rates, comma-separated: their classifiers are trained in the same pass, and results.json lists them under grid. top_1 stays that of --learning_rate.")  # fmt: skip
    grid_weight_decays: str = setting("", "More weight decays, comma-separated, each with every learning rate of the grid.")  # fmt: skip
    zero_init_logits_layer: bool = setting(True, "Start the linear classifier at zero.")
    eval_batch_size: int = setting(256, "Images per step of feature extraction and evaluation.", minimum=1, free=True)  # fmt: skip
    few_shot_draws: int = setting(10, "Seeded draws averaged per number of labels.", minimum=1)
    linear_form: str = setting("both", "paper: SGD on augmented images; fast: L-BFGS on features computed once, over 45 penalties; both: both, top_1 from the paper's.", allowed=("both", "paper", "fast"))  # fmt: skip
    baselines: bool = setting(True, "Measure raw pixels and the untrained encoder on the same splits (one more forward pass per image).")  # fmt: skip
    flip: bool = setting(True, "Flip training images left-right at random.")
    crop_area_min: float = setting(0.08, "Smallest training crop as a share of the image area.", above=0.0, maximum=1.0)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class KnnSettings(Section):
    """Weighted k-nearest-neighbour classification by cosine similarity."""

    knn_k: int = setting(20, "Neighbours that vote; at most the number of training images.", minimum=1)  # fmt: skip
    knn_temperature: float = setting(0.07, "A neighbour's vote weighs exp(cosine / temperature).", above=0.0)  # fmt: skip
    eval_batch_size: int = setting(256, "Images per step of feature extraction.", minimum=1, free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ProbeSettings(Section):
    """What h and the head know of a view (paper section 4.2, Tab. 3)."""

    probe_tasks: str = setting("color,rotation,noise,sobel,label", "What is predicted, comma-separated: color (or grey, as the views draw it), rotation (quarter turns), noise, sobel, label. label is left out by itself where there are none.")  # fmt: skip
    probe_hidden: int = setting(512, "Width of the probe's hidden layer; 0 is a linear probe.", minimum=0)  # fmt: skip
    probe_epochs: int = setting(50, "Epochs of the probes, at least 1,000 steps.", minimum=1)
    probe_noise_sigma: float = setting(0.1, "Deviation of the Gaussian noise, on images in [0, 1] (not stated in the paper).", above=0.0)  # fmt: skip
    eval_batch_size: int = setting(256, "Images per step of feature extraction.", minimum=1, free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TransferSettings(Section):
    """Transfer to other data sets (paper appendix B.8)."""

    datasets: str = setting("", "Comma-separated: paper (those of the paper's twelve that tensorflow-datasets has), tensorflow-datasets names, folders, or NAME=FOLDER, such as birdsnap=DIR.", path=FOLDERS)  # fmt: skip
    transfer_protocol: str = setting("linear", "linear: L-BFGS on frozen features; finetune: a grid of trainings of the whole encoder; both.", allowed=("linear", "finetune", "both"))  # fmt: skip
    compare: str = setting("", "Another checkpoint, such as a supervised one: the same protocol gives its rows and the significance tests against it.", path=PATH)  # fmt: skip
    permutations: int = setting(100_000, "Samples of the permutation test.", minimum=1)
    max_iterations: int = setting(1000, "Cap of L-BFGS for each penalty.", minimum=1)
    grid_learning_rates: str = setting("paper", "Learning rates of the fine-tuning grid, comma-separated; paper: 7 from 0.0001 to 0.1.")  # fmt: skip
    grid_weight_decays: str = setting("paper", "Weight decays of the grid before division by the learning rate; paper: 7 from 1e-6 to 1e-3, and 0.")  # fmt: skip
    train_steps: int = setting(20_000, "Steps of each fine-tuning.", minimum=1)
    random_init: bool = setting(False, "Beside the fine-tuning, also train from random weights, with a grid of their own.")  # fmt: skip
    random_learning_rates: str = setting("paper", "Learning rates of that grid, comma-separated; paper: 7 from 0.001 to 1.")  # fmt: skip
    random_weight_decays: str = setting("paper", "Its weight decays before division by the learning rate; paper: 8 from 1e-5 to 10^-1.5.")  # fmt: skip
    random_train_steps: int = setting(40_000, "Steps of each training from random weights.", minimum=1)  # fmt: skip
    train_batch_size: int = setting(256, "Images per step of fine-tuning.", minimum=1)
    eval_batch_size: int = setting(256, "Images per step of feature extraction and evaluation.", minimum=1, free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EmbedSettings(Section):
    """Embeddings of many images, and what is drawn from them."""

    output: str = setting("", "Folder for the embeddings and pictures; or one file, a name that ends in .npz or .parquet.", free=True, path=PATH)  # fmt: skip
    split: str = setting("train", "Split of --dataset, such as test or train[:90%]; of --image_dir every image is taken.")  # fmt: skip
    embed_head: bool = setting(False, "Also write z, the output of the projection head.")
    eval_batch_size: int = setting(64, "Images per step.", minimum=1, free=True)
    projector_images: int = setting(5000, "Most images in the TensorBoard projector, evenly spaced (0: no projector).", minimum=0, maximum=20000)  # fmt: skip
    duplicate_similarity: float = setting(0.99, "Cosine of h from which two images are listed as nearly equal (0: no list; the search compares all pairs).", minimum=0.0, maximum=1.0)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ExportSettings(Section):
    """What goes into the SavedModel."""

    export_head: bool = setting(True, "Keep the projection head in the SavedModel.")
    export_outputs: str = setting("all", "Entries of the output dictionary, comma-separated (such as final_avg_pool,block_group4,z), or all; h is always there.")  # fmt: skip
    export_formats: str = setting("", "Also convert, comma-separated: tflite, tflite_float16, tflite_int8, onnx, official_tf2 and official_tf1 (checkpoints that the official SimCLR code restores). Files go to the folder converted/STEP next to saved_model.", free=True)  # fmt: skip
    export_license: str = setting("", "Licence of the weights, for the model card (such as Apache-2.0).", free=True)  # fmt: skip
    keep_hub_module_max: int = setting(1, "Exported versions kept.", minimum=1, free=True)


@dataclasses.dataclass(frozen=True)
class ImportSettings(Section):
    """Weights of other code."""

    source: str = setting("", "SavedModel or checkpoint of the official SimCLR code (tf2 or TF1), or a PyTorch ResNet-50, 101 or 152 in torchvision's layout (.safetensors, or a file of torch.save).", path=PATH)  # fmt: skip
    source_prefix: str = setting("", "PyTorch: what stands before conv1.weight in the names, such as backbone., if the file holds several networks.")  # fmt: skip
    source_input_norm: str = setting("imagenet", "PyTorch: imagenet if the network was trained on images standardised with ImageNet's mean and deviation, as is usual, else none.", allowed=("imagenet", "none"))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SelftestSettings(Section):
    """Which checks."""

    checks: str = setting("", "Checks, comma-separated: devices, replicas, precision, xla, rates, resume; empty for all.", each_of=("devices", "replicas", "precision", "xla", "rates", "resume"))  # fmt: skip
    scratch_dir: str = setting("", "Where the check of resuming writes, in a folder of its own that it removes (default: the system's temporary folder).", path=PATH)  # fmt: skip
