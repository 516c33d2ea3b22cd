"""Every setting once: type, default, help text and check, as frozen dataclasses.

Standard library only. A mode is a dataclass of sections (`Pretrain.loss.temperature`); setting
names are unique across sections, so `flags/` can offer them flat (`--temperature`). Names and
meanings follow the official SimCLR flags wherever those have the setting.
"""

import dataclasses

from simclr_tf.config_evaluation import (
    ExportSettings,
    FineTuning,
    ImportSettings,
    KnnSettings,
    LinearProtocol,
    ProbeSettings,
    SelftestSettings,
    TransferSettings,
)
from simclr_tf.config_training import (
    DataServiceSettings,
    FineTuneLength,
    FineTuneOptimizer,
    Optimizer,
    Training,
    Workers,
)
from simclr_tf.config_views import (  # noqa: F401
    FineTuneViews,
    LocalViews,
    MultiCrop,
    Sheet,
    Views,
)
from simclr_tf.errors import SettingsError
from simclr_tf.settings import (  # noqa: F401
    PATH,
    Mode,
    Section,
    build,
    describe_limits,
    fields_of,
    flatten,
    number_list,
    sections,
    setting,
)


@dataclasses.dataclass(frozen=True)
class Run(Section):
    """Where a run lives and how it is executed."""

    model_dir: str = setting("", "Run folder: checkpoints, logs, results. Running the same command again resumes.", free=True, path=PATH)  # fmt: skip
    seed: int = setting(0, "Seed of every random choice.", minimum=0, maximum=2**31 - 1)
    deterministic: bool = setting(False, "Use deterministic kernels: a resumed run equals the uninterrupted one bit for bit.")  # fmt: skip
    dry_run: bool = setting(False, "Print the resolved plan and exit.", free=True)
    precision: str = setting("float32", "Compute precision; the loss and batch statistics stay float32.", allowed=("float32", "mixed_bfloat16", "mixed_float16"))  # fmt: skip
    strategy: str = setting("auto", "How devices are used; auto takes every GPU, else the CPU.", allowed=("auto", "default", "mirrored"))  # fmt: skip
    logical_cpus: int = setting(0, "Split the CPU into this many logical devices (0: do not), to try --strategy=mirrored without GPUs.", minimum=0, maximum=64)  # fmt: skip
    use_tpu: bool = setting(False, "Run on a TPU.")
    tpu_name: str = setting("local", "Cloud TPU name or grpc:// address; local on a TPU VM and in Colab.", free=True)  # fmt: skip
    tpu_zone: str = setting("", "Zone of the Cloud TPU, if not the default one.", free=True)
    gcp_project: str = setting("", "Project of the Cloud TPU, if not the default one.", free=True)


@dataclasses.dataclass(frozen=True)
class Data(Section):
    """Which images."""

    dataset: str = setting("digits", "A tensorflow-datasets name (or name/config), or digits: scikit-learn's handwritten digits, which need no download.")  # fmt: skip
    data_dir: str = setting("", "Where tensorflow-datasets finds prepared data sets (default: its own folder).", free=True, path=PATH)  # fmt: skip
    image_dir: str = setting("", "Your own images instead of --dataset: a flat folder, or one folder per class. JPEG, PNG, BMP, GIF, or .npy arrays [h, w] or [h, w, c] of one c up to 16 (uint8, uint16, or float32 in [0, 1]); unless c is 3, colour operators are off.", path=PATH)  # fmt: skip
    train_split: str = setting("train", "Split to train on.")
    eval_split: str = setting("", "Split to evaluate on (default: test, else validation, else --eval_fraction of the training split).")  # fmt: skip
    eval_fraction: float = setting(0.2, "Share held out, by seed, when there is no evaluation split.", above=0.0, maximum=0.9)  # fmt: skip
    split_seed: int = setting(0, "Seed of the held-out share; keep it the same for every run on the same images.", minimum=0, maximum=2**31 - 1)  # fmt: skip
    download: bool = setting(False, "Let tensorflow-datasets download and prepare a missing data set.", free=True)  # fmt: skip
    image_size: int = setting(224, "Side of the square input in pixels; up to 32 uses the small-image stem.", minimum=8)  # fmt: skip
    cache_dataset: bool = setting(True, "Keep data sets up to 1 GiB (encoded) in memory; off streams them, in another order.")  # fmt: skip
    strict_data: bool = setting(False, "Stop at the first image that cannot be used, instead of putting another one in its place and listing it in quarantine.txt.", free=True)  # fmt: skip
    max_image_pixels: int = setting(100_000_000, "Larger images are not decoded but treated as damaged.", minimum=1)  # fmt: skip

    def check(self):
        if self.image_dir and self.dataset != "digits":
            raise SettingsError(f"both image_dir={self.image_dir} and dataset={self.dataset} are given; choose one.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Model(Section):
    """The encoder f and the projection head g."""

    encoder: str = setting("", "Your own encoder instead of a ResNet: package.module:function that returns a Keras model (images to vector), or applications:NAME of keras.applications.")  # fmt: skip
    image_channels: int = setting(3, "Channels of the images; it need not be given: .npy files tell it, all others are RGB.", minimum=1, maximum=16)  # fmt: skip
    resnet_depth: int = setting(50, "Layers of the ResNet encoder; 10 (one block per stage) is not of the paper, for trials on a small machine.", allowed=(10, 18, 34, 50, 101, 152, 200))  # fmt: skip
    width_multiplier: float = setting(1.0, "Factor on the number of channels; fractions such as 0.25 are allowed.", above=0.0, maximum=16.0)  # fmt: skip
    sk_ratio: float = setting(0.0, "Selective kernels (SimCLR v2): 0.0625 turns them on, 0 off.", minimum=0.0, maximum=1.0)  # fmt: skip
    se_ratio: float = setting(0.0, "Squeeze-and-excitation ratio; 0 is off.", minimum=0.0, maximum=1.0)  # fmt: skip
    stem: str = setting("auto", "auto: small (3x3, no pooling) up to image_size 32, else imagenet (7x7, pooling).", allowed=("auto", "small", "imagenet"))  # fmt: skip
    norm: str = setting("batch", "Normalization of the ResNet and the head: batch (the paper), group (32 groups) or layer; the latter two see one image at a time, which suits small batches and --cached_batch_size.", allowed=("batch", "group", "layer"))  # fmt: skip
    pool_padding: str = setting("same", "Padding of the imagenet stem's pooling: same (TensorFlow, as the official code) or symmetric (torchvision).", allowed=("same", "symmetric"))  # fmt: skip
    input_norm: str = setting("none", "What the ResNet does to images in [0, 1] first: none, or imagenet: subtract ImageNet's mean per channel and divide by its deviation, as torchvision.", allowed=("none", "imagenet"))  # fmt: skip
    global_bn: bool = setting(True, "BatchNormalization statistics over all replicas.")
    batch_norm_decay: float = setting(0.9, "Decay of the BatchNormalization moving averages.", minimum=0.0, maximum=1.0)  # fmt: skip
    proj_head_mode: str = setting("nonlinear", "Projection head.", allowed=("none", "linear", "nonlinear"))  # fmt: skip
    num_proj_layers: int = setting(2, "Layers of the nonlinear head: 2 in the paper (v1), 3 in SimCLR v2.", minimum=1, maximum=4)  # fmt: skip
    proj_out_dim: int = setting(128, "Size of the projection z.", minimum=1)
    proj_bn: str = setting("all", "BatchNormalization of the head: after all layers (as the official code), after the hidden ones, or none (hidden layers then have biases).", allowed=("all", "hidden", "none"))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Loss(Section):
    """The contrastive loss."""

    loss: str = setting("nt_xent", "nt_xent (the paper), nt_logistic, margin (triplet), decoupled (no positive in the denominator), supcon (images with the same label are positives too).", allowed=("nt_xent", "nt_logistic", "margin", "decoupled", "supcon"))  # fmt: skip
    temperature: float = setting(0.1, "Divides the cosine similarities; margin ignores it.", above=0.0)  # fmt: skip
    hidden_norm: bool = setting(True, "l2-normalise z before the loss.")
    margin: float = setting(0.8, "Margin of --loss=margin.", minimum=0.0)
    semi_hard: bool = setting(False, "nt_logistic and margin: only the closest negative that is farther than the positive.")  # fmt: skip
    loss_block_size: int = setting(0, "Rows per block of the blockwise loss; 0 chooses by batch size, -1 forces the dense form.", minimum=-1)  # fmt: skip

    def check(self):
        if self.semi_hard and self.loss not in ("nt_logistic", "margin"):
            raise SettingsError(f"semi_hard is not for loss={self.loss}; choose nt_logistic or margin, or leave it.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Source(Section):
    """Which trained encoder."""

    checkpoint: str = setting("", "Run folder, checkpoint prefix, exported SavedModel, or SavedModel of the official SimCLR code; its architecture is read from it.", path=PATH)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SelectedSource(Source):
    """Which trained encoder, and which of its outputs."""

    ft_proj_selector: int = setting(0, "Which layer of the projection head stands for h: 0 the encoder's output, 1 the head's first layer, ..., -1 its last.", minimum=-1, maximum=4)  # fmt: skip


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
class Pretrain(Mode):
    """`--mode=pretrain`."""

    run: Run = Run()
    data: Data = Data()
    views: Views = Views()
    multi_crop: MultiCrop = MultiCrop()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()
    workers: Workers = Workers()


@dataclasses.dataclass(frozen=True)
class Finetune(Mode):
    """`--mode=finetune`."""

    run: Run = Run()
    source: Source = Source()
    data: Data = Data()
    views: FineTuneViews = FineTuneViews()
    model: Model = Model()
    finetuning: FineTuning = FineTuning()
    optimizer: FineTuneOptimizer = FineTuneOptimizer()
    training: FineTuneLength = FineTuneLength()


@dataclasses.dataclass(frozen=True)
class LinearEval(Mode):
    """`--mode=linear_eval`."""

    run: Run = Run()
    source: SelectedSource = SelectedSource()
    data: Data = Data()
    model: Model = Model()
    protocol: LinearProtocol = LinearProtocol()


@dataclasses.dataclass(frozen=True)
class Knn(Mode):
    """`--mode=knn`."""

    run: Run = Run()
    source: SelectedSource = SelectedSource()
    data: Data = Data()
    model: Model = Model()
    knn: KnnSettings = KnnSettings()


@dataclasses.dataclass(frozen=True)
class Probe(Mode):
    """`--mode=probe`."""

    run: Run = Run()
    source: Source = Source()
    data: Data = Data()
    model: Model = Model()
    probe: ProbeSettings = ProbeSettings()


@dataclasses.dataclass(frozen=True)
class Transfer(Mode):
    """`--mode=transfer`."""

    run: Run = Run()
    source: Source = Source()
    data: Data = Data()
    model: Model = Model()
    transfer: TransferSettings = TransferSettings()


@dataclasses.dataclass(frozen=True)
class Export(Mode):
    """`--mode=export`."""

    run: Run = Run()
    source: SelectedSource = SelectedSource()
    model: Model = Model()
    export: ExportSettings = ExportSettings()


@dataclasses.dataclass(frozen=True)
class Embed(Mode):
    """`--mode=embed`."""

    run: Run = Run()
    source: Source = Source()
    data: Data = Data()
    model: Model = Model()
    embed: EmbedSettings = EmbedSettings()


@dataclasses.dataclass(frozen=True)
class ImportWeights(Mode):
    """`--mode=import_weights`."""

    run: Run = Run()
    weights: ImportSettings = ImportSettings()
    data: Data = Data()


@dataclasses.dataclass(frozen=True)
class ViewsSheet(Mode):
    """`--mode=views`."""

    run: Run = Run()
    data: Data = Data()
    views: Views = Views()
    multi_crop: MultiCrop = MultiCrop()
    sheet: Sheet = Sheet()


@dataclasses.dataclass(frozen=True)
class Report(Mode):
    """`--mode=report`."""

    run: Run = Run()


@dataclasses.dataclass(frozen=True)
class Selftest(Mode):
    """`--mode=selftest`."""

    run: Run = Run()
    selftest: SelftestSettings = SelftestSettings()


@dataclasses.dataclass(frozen=True)
class DataService(Mode):
    """`--mode=data_service`."""

    data_service: DataServiceSettings = DataServiceSettings()


MODES = {
    "pretrain": Pretrain,
    "finetune": Finetune,
    "linear_eval": LinearEval,
    "knn": Knn,
    "probe": Probe,
    "transfer": Transfer,
    "embed": Embed,
    "export": Export,
    "import_weights": ImportWeights,
    "views": ViewsSheet,
    "report": Report,
    "selftest": Selftest,
    "data_service": DataService,
}
