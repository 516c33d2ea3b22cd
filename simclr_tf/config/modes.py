"""The modes: what each is for, its settings, and the function that runs it.

`MODES` is the only list of them. The command line, `--help`, the library and the documentation are
generated from it. A new mode is a config class and an entry here, and a file in
`simclr_tf/commands/` (see docs/contributing.md).
"""

import dataclasses
import os
import typing

from simclr_tf.config.data import Data, PackSettings
from simclr_tf.config.evaluation import (
    CompareSettings,
    DataCheckSettings,
    Distillation,
    EmbedSettings,
    ExportSettings,
    FineTuning,
    ImportSettings,
    KnnSettings,
    LinearProtocol,
    ProbeSettings,
    SearchSettings,
    SelectedEncoder,
    SelftestSettings,
    StudySettings,
    TrainedEncoder,
    TransferSettings,
)
from simclr_tf.config.fields import ModeConfig, fields_of, setting_names
from simclr_tf.config.model import Model
from simclr_tf.config.run import DataServiceSettings, Run, Workers
from simclr_tf.config.training import (
    Auto,
    FineTuneLength,
    FineTuneOptimizer,
    Length,
    Loss,
    Optimizer,
    Training,
    Tuning,
)
from simclr_tf.config.views import FineTuneViews, MultiCrop, Sheet, Views


@dataclasses.dataclass(frozen=True)
class Pretrain(ModeConfig):
    """`--mode=pretrain`."""

    run: Run = Run()
    data: Data = Data()
    views: Views = Views()
    multi_crop: MultiCrop = MultiCrop()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()
    auto: Auto = Auto()
    tuning: Tuning = Tuning()
    workers: Workers = Workers()


@dataclasses.dataclass(frozen=True)
class Tune(Pretrain):
    """`--mode=tune`: the settings of a pretraining, of which those that are not given are chosen."""


@dataclasses.dataclass(frozen=True)
class Finetune(ModeConfig):
    """`--mode=finetune`."""

    run: Run = Run()
    trained: TrainedEncoder = TrainedEncoder()
    data: Data = Data()
    views: FineTuneViews = FineTuneViews()
    model: Model = Model()
    finetuning: FineTuning = FineTuning()
    optimizer: FineTuneOptimizer = FineTuneOptimizer()
    training: FineTuneLength = FineTuneLength()


@dataclasses.dataclass(frozen=True)
class Distill(ModeConfig):
    """`--mode=distill`."""

    run: Run = Run()
    trained: TrainedEncoder = TrainedEncoder()
    data: Data = Data()
    views: Views = Views()
    model: Model = Model()
    distillation: Distillation = Distillation()
    optimizer: Optimizer = Optimizer()
    training: Length = Length()


@dataclasses.dataclass(frozen=True)
class LinearEval(ModeConfig):
    """`--mode=linear_eval`."""

    run: Run = Run()
    trained: SelectedEncoder = SelectedEncoder()
    data: Data = Data()
    model: Model = Model()
    protocol: LinearProtocol = LinearProtocol()


@dataclasses.dataclass(frozen=True)
class Knn(ModeConfig):
    """`--mode=knn`."""

    run: Run = Run()
    trained: SelectedEncoder = SelectedEncoder()
    data: Data = Data()
    model: Model = Model()
    knn: KnnSettings = KnnSettings()


@dataclasses.dataclass(frozen=True)
class Probe(ModeConfig):
    """`--mode=probe`."""

    run: Run = Run()
    trained: TrainedEncoder = TrainedEncoder()
    data: Data = Data()
    model: Model = Model()
    probe: ProbeSettings = ProbeSettings()


@dataclasses.dataclass(frozen=True)
class Transfer(ModeConfig):
    """`--mode=transfer`."""

    run: Run = Run()
    trained: TrainedEncoder = TrainedEncoder()
    data: Data = Data()
    model: Model = Model()
    transfer: TransferSettings = TransferSettings()


@dataclasses.dataclass(frozen=True)
class Study(ModeConfig):
    """`--mode=study`."""

    run: Run = Run()
    data: Data = Data()
    study: StudySettings = StudySettings()


@dataclasses.dataclass(frozen=True)
class Export(ModeConfig):
    """`--mode=export`."""

    run: Run = Run()
    trained: SelectedEncoder = SelectedEncoder()
    model: Model = Model()
    export: ExportSettings = ExportSettings()


@dataclasses.dataclass(frozen=True)
class Embed(ModeConfig):
    """`--mode=embed`."""

    run: Run = Run()
    trained: TrainedEncoder = TrainedEncoder()
    data: Data = Data()
    model: Model = Model()
    embed: EmbedSettings = EmbedSettings()


@dataclasses.dataclass(frozen=True)
class Search(ModeConfig):
    """`--mode=search`."""

    run: Run = Run()
    trained: TrainedEncoder = TrainedEncoder()
    data: Data = Data()
    model: Model = Model()
    search: SearchSettings = SearchSettings()


@dataclasses.dataclass(frozen=True)
class ImportWeights(ModeConfig):
    """`--mode=import_weights`."""

    run: Run = Run()
    weights: ImportSettings = ImportSettings()
    data: Data = Data()


@dataclasses.dataclass(frozen=True)
class ViewsSheet(ModeConfig):
    """`--mode=views`."""

    run: Run = Run()
    data: Data = Data()
    views: Views = Views()
    multi_crop: MultiCrop = MultiCrop()
    auto: Auto = Auto()
    sheet: Sheet = Sheet()


@dataclasses.dataclass(frozen=True)
class Report(ModeConfig):
    """`--mode=report`."""

    run: Run = Run()


@dataclasses.dataclass(frozen=True)
class Compare(ModeConfig):
    """`--mode=compare`."""

    run: Run = Run()
    compare: CompareSettings = CompareSettings()


@dataclasses.dataclass(frozen=True)
class Selftest(ModeConfig):
    """`--mode=selftest`."""

    run: Run = Run()
    selftest: SelftestSettings = SelftestSettings()


@dataclasses.dataclass(frozen=True)
class Pack(ModeConfig):
    """`--mode=pack`."""

    run: Run = Run()
    data: Data = Data()
    pack: PackSettings = PackSettings()


@dataclasses.dataclass(frozen=True)
class DataCheck(ModeConfig):
    """`--mode=data_check`."""

    run: Run = Run()
    data: Data = Data()
    auto: Auto = Auto()
    data_check: DataCheckSettings = DataCheckSettings()


@dataclasses.dataclass(frozen=True)
class DataService(ModeConfig):
    """`--mode=data_service`."""

    data_service: DataServiceSettings = DataServiceSettings()
    data: Data = Data()


@dataclasses.dataclass(frozen=True)
class Mode:
    """One entry of the table of modes.

    Attributes:
        name: what `--mode` is given.
        config: its config class.
        summary: one sentence for `--help`.
        runner: "module:function"; the function takes (config, names of the given settings).
        only: the settings that are offered; () offers all of the config's.
        without: settings that are not offered.
        required: settings that must be given.
        presets_of: the mode whose presets it takes; "" takes its own.
        default_preset: function from {setting: value} of the command line to (preset, reason in
            words), or None where no preset is chosen.
    """

    name: str
    config: type
    summary: str
    runner: str
    only: typing.Tuple[str, ...] = ()
    without: typing.Tuple[str, ...] = ()
    required: typing.Tuple[str, ...] = ()
    presets_of: str = ""
    default_preset: typing.Callable[[dict], typing.Optional[typing.Tuple[str, str]]] = (
        lambda values: None
    )

    @property
    def settings(self) -> typing.Tuple[str, ...]:
        """Names of the settings that the command line and the library offer."""
        names = self.only or fields_of(self.config)
        return tuple(name for name in names if name not in self.without)

    @property
    def preset_mode(self) -> str:
        """The mode whose presets may be given."""
        return self.presets_of or self.name


def preset_for_images(values: dict) -> typing.Optional[typing.Tuple[str, str]]:
    """The preset of a pretraining that names none: its images decide.

    Returns:
        (preset, reason in words), or None where the settings' own defaults (the paper's ImageNet
        recipe) hold.
    """
    if "image_dir" in values:
        if values.get("workers") or values.get("data_service") or "TF_CONFIG" in os.environ:
            return "folder", "settings for your own images"
        return "auto", "settings chosen by a look at your images and a measured step"
    if "shards" in values:
        return "folder", "settings for your own images"
    if values.get("dataset", "digits") == "digits":
        return "digits", "scikit-learn's handwritten digits, no download"
    return None


def preset_to_tune(values: dict) -> typing.Tuple[str, str]:
    """The preset of `--mode=tune`, which begins with what a look at the images chooses."""
    return "auto", "what is not given is chosen"


_DEVICES = ("strategy", "logical_cpus", "use_tpu", "tpu_name", "tpu_zone", "gcp_project")

MODES = {
    mode.name: mode
    for mode in (
        Mode(
            "pretrain",
            Pretrain,
            "Learn an encoder from images without labels (SimCLR).",
            "simclr_tf.commands.pretrain:run",
            required=("model_dir",),
            default_preset=preset_for_images,
        ),
        Mode(
            "finetune",
            Finetune,
            "Train an encoder further with labels (1 %, 10 %, all), or from random weights.",
            "simclr_tf.commands.finetune:run",
        ),
        Mode(
            "distill",
            Distill,
            "Train a small encoder on what a fine-tuned one says of images; export it.",
            "simclr_tf.commands.distill:run",
            required=("teacher", "model_dir"),
        ),
        Mode(
            "linear_eval",
            LinearEval,
            "Measure a frozen encoder: linear classifier and few-shot, beside baselines.",
            "simclr_tf.commands.linear_eval:run",
            required=("checkpoint",),
        ),
        Mode(
            "knn",
            Knn,
            "Measure a frozen encoder: vote of the nearest training images, for every layer.",
            "simclr_tf.commands.knn:run",
            required=("checkpoint",),
        ),
        Mode(
            "probe",
            Probe,
            "Measure what h and the head know of a view: colour, rotation, noise, Sobel.",
            "simclr_tf.commands.probe:run",
            required=("checkpoint",),
        ),
        Mode(
            "transfer",
            Transfer,
            "Measure an encoder on other data sets: those of the paper, or any others.",
            "simclr_tf.commands.transfer:run",
            without=(
                *("dataset", "image_dir", "train_split", "eval_split", "shards", "eval_shards"),
                *("shard_image_key", "shard_label_key", "shard_label_offset", "shard_index"),
            ),
            required=("checkpoint",),
        ),
        Mode(
            "study",
            Study,
            "Repeat a study of the paper: many runs, their evaluations, one table.",
            "simclr_tf.commands.study:run",
            required=("study", "model_dir"),
            without=("image_size",),  # the scale's
        ),
        Mode(
            "embed",
            Embed,
            "Write h of every image to .npz and .parquet; draw neighbours and a projector.",
            "simclr_tf.commands.embed:run",
            # every image is taken, so nothing is held out, and --output is the place
            without=(
                *("model_dir", "train_split", "eval_split", "eval_fraction", "split_seed"),
                "eval_shards",
            ),
            required=("checkpoint", "output"),
        ),
        Mode(
            "search",
            Search,
            "Find the images of a folder or of embeddings that are most similar to given ones.",
            "simclr_tf.commands.search:run",
            only=(
                *("checkpoint", *setting_names(SearchSettings)),
                *("image_dir", "follow_links", "image_formats", "image_size", "value_range"),
                *(
                    "strict_data",
                    "max_image_pixels",
                    "precision",
                    "dry_run",
                    "trust_code",
                    *_DEVICES,
                ),
            ),
            required=("checkpoint", "query"),
        ),
        Mode(
            "export",
            Export,
            "Write a trained encoder as a SavedModel that TF Hub and TF Serving load.",
            "simclr_tf.commands.export:run",
            required=("checkpoint",),
        ),
        Mode(
            "import_weights",
            ImportWeights,
            "Turn official SimCLR weights or a PyTorch ResNet into a run folder.",
            "simclr_tf.commands.import_weights:run",
            only=(
                *(field.name for field in dataclasses.fields(ImportSettings)),
                "model_dir",
                "dry_run",
                "trust_code",
                *(field.name for field in dataclasses.fields(Data)),
            ),
            required=("source", "model_dir"),
        ),
        Mode(
            "views",
            ViewsSheet,
            "Draw a sheet of images and their random views, one row per operator.",
            "simclr_tf.commands.views:run",
            only=(
                "seed",
                "dry_run",
                *(name for name, (section, _) in fields_of(ViewsSheet).items() if section != "run"),
            ),
            presets_of="pretrain",
            default_preset=preset_for_images,
        ),
        Mode(
            "tune",
            Tune,
            "Find views for your images by short trainings without labels; write a preset.",
            "simclr_tf.commands.tune:run",
            required=("model_dir",),
            without=(
                *("tune", "train_epochs", "train_steps", "warmup_epochs", "extend_epochs"),
                *("data_service", "service_key", "augment_on", "cached_batch_size"),
                *("cached_separate_views", "keep_best", "knn_while_pretraining"),
                *("lineareval_while_pretraining", "ema_momentum", "local_views"),
                *("loggers", "profile_steps", "picture_minutes"),
                *setting_names(Workers),
            ),
            presets_of="pretrain",
            default_preset=preset_to_tune,
        ),
        Mode(
            "data_check",
            DataCheck,
            "Look at images before training: broken, duplicate, uniform ones, speed, advice.",
            "simclr_tf.commands.data_check:run",
            only=(
                *("seed", "dry_run"),
                *(
                    name
                    for section in (Data, Auto, DataCheckSettings)
                    for name in setting_names(section)
                ),
            ),
            presets_of="pretrain",
            default_preset=preset_for_images,
        ),
        Mode(
            "report",
            Report,
            "Write one HTML page with everything there is to see of a run; print its figures.",
            "simclr_tf.commands.report:run",
            only=("model_dir", "trust_code"),
            required=("model_dir",),
        ),
        Mode(
            "compare",
            Compare,
            "Write one HTML page with runs side by side: settings, curves, figures, neighbours.",
            "simclr_tf.commands.compare:run",
            only=("runs", "page", "trust_code", "dry_run"),
            required=("runs",),
        ),
        Mode(
            "selftest",
            Selftest,
            "Check this machine: devices, replicas, precisions, XLA, resume, speed.",
            "simclr_tf.commands.selftest:run",
            only=("checks", "scratch_dir", "seed", *_DEVICES),
        ),
        Mode(
            "pack",
            Pack,
            "Write a folder of images into TFRecord shards, for TPUs and network disks.",
            "simclr_tf.commands.pack:run",
            only=(
                *("image_dir", "output", "images_per_shard", "seed", "dry_run", "follow_links"),
                *("train_split", "eval_split", "image_formats"),
            ),
            required=("output",),
        ),
        Mode(
            "data_service",
            DataService,
            "Prepare the batches of a training that is started with --data_service.",
            "simclr_tf.commands.data_service:run",
            # of the images, those settings that say which; the others come from the training
            without=(
                *("image_size", "cache_dataset", "value_range", "strict_data"),
                "max_image_pixels",
            ),
        ),
    )
}
