"""Every setting once: type, default, help text and check, as frozen dataclasses.

Standard library only. A mode is a dataclass of sections (`Pretrain.loss.temperature`); setting
names are unique across sections, so `flags/` can offer them flat (`--temperature`). Names and
meanings follow the official SimCLR flags wherever those have the setting.
"""

import dataclasses

from simclr_tf.config_evaluation import ExportSettings, FineTuning, ImportSettings, KnnSettings, LinearProtocol  # fmt: skip
from simclr_tf.config_views import FineTuneViews, Sheet, Views
from simclr_tf.errors import SettingsError
from simclr_tf.settings import (  # noqa: F401
    Section,
    build,
    describe_limits,
    fields_of,
    flatten,
    sections,
    setting,
)


@dataclasses.dataclass(frozen=True)
class Run(Section):
    """Where a run lives and how it is executed."""

    model_dir: str = setting("", "Run folder: checkpoints, logs, results. Running the same command again resumes.")  # fmt: skip
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
    data_dir: str = setting("", "Where tensorflow-datasets finds prepared data sets (default: its own folder).", free=True)  # fmt: skip
    image_dir: str = setting("", "Your own images instead of --dataset: a flat folder, or one folder per class.")  # fmt: skip
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
    resnet_depth: int = setting(50, "Layers of the ResNet encoder.", allowed=(18, 34, 50, 101, 152, 200))  # fmt: skip
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
class Optimizer(Section):
    """The optimizer and its schedule."""

    optimizer: str = setting("lars", "Optimizer.", allowed=("lars", "momentum", "adam", "adamw", "lamb"))  # fmt: skip
    learning_rate: float = setting(0.3, "Base learning rate; --learning_rate_scaling turns it into the peak.", above=0.0)  # fmt: skip
    learning_rate_scaling: str = setting("linear", "Peak: linear = base * batch / 256, sqrt = base * sqrt(batch), none = base.", allowed=("linear", "sqrt", "none"))  # fmt: skip
    warmup_epochs: float = setting(10.0, "Epochs of linear warm-up.", minimum=0.0)
    weight_decay: float = setting(1e-6, "Weight decay; never on BatchNormalization, biases or the online probe.", minimum=0.0)  # fmt: skip
    momentum: float = setting(0.9, "Momentum of lars and momentum.", minimum=0.0, maximum=0.9999)
    nesterov: bool = setting(False, "Nesterov momentum, for --optimizer=momentum.")
    ema_momentum: float = setting(0.0, "Average the weights with this decay, such as 0.999, and evaluate and export the averages; 0 is off.", minimum=0.0, maximum=0.999999)  # fmt: skip
    trust_coefficient: float = setting(0.001, "LARS trust coefficient (eeta).", above=0.0)

    def check(self):
        if self.ema_momentum and self.optimizer == "lamb":
            raise SettingsError(f"ema_momentum={self.ema_momentum} does not work with optimizer=lamb; choose lars, momentum, adam or adamw.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Length(Section):
    """Batches, length, checkpoints."""

    train_batch_size: int = setting(512, "Images per step over all replicas; pretraining makes --num_views views of each.", minimum=1)  # fmt: skip
    train_epochs: int = setting(100, "Passes over the training images.", minimum=1)
    train_steps: int = setting(0, "Steps; overrides train_epochs if above 0.", minimum=0)
    checkpoint_epochs: int = setting(1, "Epochs between checkpoints.", minimum=1, free=True)
    checkpoint_steps: int = setting(0, "Steps between checkpoints; overrides checkpoint_epochs if above 0.", minimum=0, free=True)  # fmt: skip
    keep_checkpoint_max: int = setting(5, "Checkpoints kept.", minimum=1, free=True)
    log_steps: int = setting(0, "Steps between lines of metrics.jsonl (0: once an epoch, at least every 100 steps).", minimum=0, free=True)  # fmt: skip
    max_wall_minutes: float = setting(0.0, "Save and stop with exit code 75 after this many minutes of training; the same command goes on. 0 is no limit.", minimum=0.0, free=True)  # fmt: skip
    steps_per_execution: int = setting(1, "Steps run by one call to the device; raise it on TPU.", minimum=1, free=True)  # fmt: skip
    jit_compile: bool = setting(False, "Compile the whole train step with XLA (always so on TPU).")

    @property
    def global_batch_size(self):
        """Images per optimizer step: what the learning rate scales with."""
        return self.train_batch_size


@dataclasses.dataclass(frozen=True)
class Training(Length):
    """Batches, length, checkpoints."""

    cached_batch_size: int = setting(0, "Contrast this many images per step although only train_batch_size fit into memory (gradient caching); a multiple of train_batch_size, 0 is off.", minimum=0)  # fmt: skip
    cached_separate_views: bool = setting(False, "With cached_batch_size: normalise the two views of an image in different micro-batches, so that BatchNormalization does not give the pair away.")  # fmt: skip
    effective_rank_steps: int = setting(1, "Measure the effective rank of h (dimensional collapse) at logged steps that this divides; 0 is never. It costs an eigendecomposition.", minimum=0)  # fmt: skip
    num_views: int = setting(2, "Random views of each image in a step; above 2 the loss is its mean over all pairs of views.", minimum=2, maximum=16)  # fmt: skip
    lineareval_while_pretraining: bool = setting(True, "Train a linear probe behind a stop-gradient when there are labels.")  # fmt: skip
    knn_while_pretraining: int = setting(0, "Epochs between k-NN evaluations of h on held-out images (at the next logged step; neighbours among at most 10,000 training images); 0 is off.", minimum=0)  # fmt: skip

    @property
    def global_batch_size(self):
        """Images per optimizer step: what the loss contrasts and the learning rate scales with."""
        return self.cached_batch_size or self.train_batch_size

    def check(self):
        if self.num_views > 2 and self.cached_separate_views:
            raise SettingsError(f"num_views={self.num_views} does not work with cached_separate_views; leave one.")  # fmt: skip
        if self.cached_batch_size % self.train_batch_size:
            raise SettingsError(f"cached_batch_size={self.cached_batch_size} is not a multiple of train_batch_size={self.train_batch_size}; give one, such as {8 * self.train_batch_size}.")  # fmt: skip
        if self.cached_separate_views and self.cached_batch_size < 2 * self.train_batch_size:
            raise SettingsError(
                "cached_separate_views=true needs at least two micro-batches; give "
                f"--cached_batch_size={2 * self.train_batch_size} or more."
            )


@dataclasses.dataclass(frozen=True)
class FineTuneOptimizer(Optimizer):
    """The optimizer and its schedule (paper appendix B.5)."""

    optimizer: str = setting("momentum", "Optimizer.", allowed=("lars", "momentum", "adam", "adamw", "lamb"))  # fmt: skip
    learning_rate: float = setting(0.05, "Base learning rate; --learning_rate_scaling turns it into the peak.", above=0.0)  # fmt: skip
    warmup_epochs: float = setting(0.0, "Epochs of linear warm-up.", minimum=0.0)
    weight_decay: float = setting(0.0, "Weight decay; never on BatchNormalization and biases.", minimum=0.0)  # fmt: skip
    nesterov: bool = setting(True, "Nesterov momentum, for --optimizer=momentum.")


@dataclasses.dataclass(frozen=True)
class FineTuneLength(Length):
    """Batches, length, checkpoints."""

    train_epochs: int = setting(60, "Passes over the labelled images.", minimum=1)


@dataclasses.dataclass(frozen=True)
class Source(Section):
    """Which trained encoder."""

    checkpoint: str = setting("", "Run folder, checkpoint prefix, exported SavedModel, or SavedModel of the official SimCLR code; its architecture is read from it.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SelectedSource(Source):
    """Which trained encoder, and which of its outputs."""

    ft_proj_selector: int = setting(0, "Which layer of the projection head stands for h: 0 the encoder's output, 1 the head's first layer, ..., -1 its last.", minimum=-1, maximum=4)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EmbedSettings(Section):
    """Embeddings of many images, and what is drawn from them."""

    output: str = setting("", "Folder for the embeddings and pictures; or one file, a name that ends in .npz or .parquet.", free=True)  # fmt: skip
    split: str = setting("train", "Split of --dataset, such as test or train[:90%]; of --image_dir every image is taken.")  # fmt: skip
    embed_head: bool = setting(False, "Also write z, the output of the projection head.")
    eval_batch_size: int = setting(64, "Images per step.", minimum=1, free=True)
    projector_images: int = setting(5000, "Most images in the TensorBoard projector, evenly spaced (0: no projector).", minimum=0, maximum=20000)  # fmt: skip
    duplicate_similarity: float = setting(0.99, "Cosine of h from which two images are listed as nearly equal (0: no list; the search compares all pairs).", minimum=0.0, maximum=1.0)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Pretrain:
    """`--mode=pretrain`."""

    run: Run = Run()
    data: Data = Data()
    views: Views = Views()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()


@dataclasses.dataclass(frozen=True)
class Finetune:
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
class LinearEval:
    """`--mode=linear_eval`."""

    run: Run = Run()
    source: SelectedSource = SelectedSource()
    data: Data = Data()
    model: Model = Model()
    protocol: LinearProtocol = LinearProtocol()


@dataclasses.dataclass(frozen=True)
class Knn:
    """`--mode=knn`."""

    run: Run = Run()
    source: SelectedSource = SelectedSource()
    data: Data = Data()
    model: Model = Model()
    knn: KnnSettings = KnnSettings()


@dataclasses.dataclass(frozen=True)
class Export:
    """`--mode=export`."""

    run: Run = Run()
    source: SelectedSource = SelectedSource()
    model: Model = Model()
    export: ExportSettings = ExportSettings()


@dataclasses.dataclass(frozen=True)
class Embed:
    """`--mode=embed`."""

    run: Run = Run()
    source: Source = Source()
    data: Data = Data()
    model: Model = Model()
    embed: EmbedSettings = EmbedSettings()


@dataclasses.dataclass(frozen=True)
class ImportWeights:
    """`--mode=import_weights`."""

    run: Run = Run()
    weights: ImportSettings = ImportSettings()
    data: Data = Data()


@dataclasses.dataclass(frozen=True)
class ViewsSheet:
    """`--mode=views`."""

    run: Run = Run()
    data: Data = Data()
    views: Views = Views()
    sheet: Sheet = Sheet()


@dataclasses.dataclass(frozen=True)
class Report:
    """`--mode=report`."""

    run: Run = Run()


MODES = {
    "pretrain": Pretrain,
    "finetune": Finetune,
    "linear_eval": LinearEval,
    "knn": Knn,
    "embed": Embed,
    "export": Export,
    "import_weights": ImportWeights,
    "views": ViewsSheet,
    "report": Report,
}
