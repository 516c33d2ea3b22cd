"""The public functions; each runs one mode and returns what it found.

Their signatures and the lists of settings in their docstrings come from `simclr_tf.config`, so they
are those of the command line.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import uuid
from typing import TYPE_CHECKING, Any, Dict, Optional, Union

from simclr_tf.errors import SettingsError
from simclr_tf.library import calls
from simclr_tf.library.images import given_images
from simclr_tf.library.signatures import function_of

if TYPE_CHECKING:
    from simclr_tf.library.pretraining_run import PretrainingRun
    from simclr_tf.library.trained import TrainedModel

Path = Union[str, "os.PathLike[str]"]
Checkpoint = Union[str, "os.PathLike[str]", "TrainedModel"]

_IMAGES = ("image_dir", "dataset")
_NEED_LABELS = ("linear_eval", "knn", "finetune")


@function_of("pretrain")
def pretrain(
    images: Any = None,
    model_dir: Optional[Path] = None,
    *,
    labels: Any = None,
    preset: str = "",
    quiet: bool = False,
    **settings: Any,
) -> PretrainingRun:
    """Learns an encoder from images without labels (SimCLR, arXiv:2002.05709).

        run = simclr_tf.pretrain(images, "runs/first", train_epochs=10)
        h = run.embed(images)

    The same call again resumes the run, or does nothing if it is finished.

    Args:
        images: a folder; a name of tensorflow-datasets; "digits" (scikit-learn's, no download); an
            array uint8, or float in [0, 1], [n, h, w, c] or [n, h, w]; a list of such images of
            any sizes, or of paths; or a finite tf.data.Dataset of images or (image, label), which
            is read into memory once. Default: what the settings image_dir or dataset say.
        model_dir: run folder; default: a new folder of the system's temporary ones, which is
            printed.
        labels: of images in memory: class numbers [n] from 0, or names. They train the online
            probe, never the encoder (unless loss="supcon").
        preset: named settings, such as "cifar10"; keywords win. Default: chosen by the images,
            "none" for none.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Of images of your own, what no keyword gives is chosen by a look at them and a measured step
    (preset "auto"); the choices are printed with their reasons, and budget_minutes says how long
    the whole may take.

    Returns:
        PretrainingRun: encoder, head, metrics, results, run_dir, plot(), and everything that a
        TrainedModel does.
    Raises:
        SettingsError: a keyword or a value cannot be used; nothing was written.
        DataError: images or run folder cannot be used.
        DivergedError: the loss is not finite.
        PreemptedError: max_wall_minutes are over; the same call goes on.
    """
    with calls.in_python_words():
        calls.check_names("pretrain", settings)
        given = given_images(images, labels, settings)
    values = {**settings, **given.settings}
    folder = "" if model_dir is None else os.path.expanduser(os.fspath(model_dir))
    note = ""
    if not folder and not settings.get("dry_run"):
        folder = os.path.join(tempfile.gettempdir(), f"simclr_tf_{uuid.uuid4().hex[:8]}")
        note = f"no model_dir given: the run goes to {folder}; give model_dir to choose a place"
    values["model_dir"] = folder
    results = calls.run("pretrain", values, preset=preset, quiet=quiet, note=note)
    from simclr_tf.library.pretraining_run import PretrainingRun

    # whoever names an encoder trusts it
    return PretrainingRun(folder, results, given.held, trust_code=bool(settings.get("encoder")))


@function_of("finetune", without=_IMAGES)
def finetune(
    checkpoint: Optional[Checkpoint] = None,
    images: Any = None,
    labels: Any = None,
    *,
    preset: str = "",
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Trains an encoder further with labels (1 %, 10 %, any share), or from scratch.

    Settings of images, model and views that are not given come from the pretraining. The same
    call again resumes.

    Args:
        checkpoint: run, run folder, checkpoint prefix or SavedModel; None with init="scratch".
        images: as of `simclr_tf.pretrain`; default: those of the pretraining.
        labels: of images in memory: class numbers [n] from 0, or names.
        preset: named settings; keywords win.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of results.json: accuracies of the fine-tuned encoder and of its baselines; {}
        for a dry run.
    Raises:
        UserError: a setting, the images, the checkpoint or the folder cannot be used, or training
            diverged.
    """
    return _measure("finetune", checkpoint, images, labels, preset, quiet, settings)


@function_of("distill", without=_IMAGES)
def distill(
    teacher: Checkpoint,
    images: Any = None,
    model_dir: Optional[Path] = None,
    *,
    labels: Any = None,
    checkpoint: Optional[Checkpoint] = None,
    preset: str = "",
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Trains a student on what a teacher says of images, and exports it (arXiv:2006.10029).

        simclr_tf.distill("runs/photos/finetune/1pct", model_dir="runs/small", resnet_depth=18)
        model = simclr_tf.load("runs/small")

    Settings of images and crops that are not given come from the teacher; those of the network
    from `checkpoint`, else from the teacher too. The same call again resumes.

    Args:
        teacher: run or run folder of a fine-tuning or of a pretraining with an online probe,
            checkpoint prefix, or SavedModel with logits.
        images: as of `simclr_tf.pretrain`; default: those of the teacher. They need no labels.
        model_dir: run folder of the student.
        labels: of images in memory: class numbers [n] from 0, or names. They measure accuracy, and
            train with distill_label_weight.
        checkpoint: the student's starting weights, as `teacher`; default: random ones.
        preset: named settings; keywords win.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of results.json: figures of teacher and student under rows, and where the
        exported files are under files; {} for a dry run.
    Raises:
        UserError: a setting, the images, a checkpoint or the folder cannot be used, or training
            diverged.
    """
    with calls.in_python_words():
        calls.check_names("distill", settings)
        given = given_images(images, labels, settings)
        start = _start_of(teacher)
        source = start.pop("checkpoint")
        named = given.settings
        if given.held is not None and _trained_on(source, given.held.address):
            named = {}  # so their split into training and held-out images is the teacher's too
        of_student = _start_of(checkpoint)
    values = {**start, **of_student, **settings, **named}
    values.update(teacher=source, model_dir=model_dir)
    return calls.plain_dict(calls.run("distill", values, preset=preset, quiet=quiet))


@function_of("linear_eval", without=_IMAGES)
def linear_eval(
    checkpoint: Checkpoint,
    images: Any = None,
    labels: Any = None,
    *,
    preset: str = "",
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Measures a frozen encoder: linear classifier and few-shot, beside baselines.

    Settings of images and model that are not given come from the pretraining.

    Args:
        checkpoint: run, run folder, checkpoint prefix or SavedModel.
        images: as of `simclr_tf.pretrain`; default: those of the pretraining.
        labels: of images in memory: class numbers [n] from 0, or names.
        preset: named settings; keywords win.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of results.json, such as top_1 and few_shot; {} for a dry run.
    Raises:
        UserError: a setting, the images, the checkpoint or the folder cannot be used.
    """
    return _measure("linear_eval", checkpoint, images, labels, preset, quiet, settings)


@function_of("knn", without=_IMAGES)
def knn(
    checkpoint: Checkpoint,
    images: Any = None,
    labels: Any = None,
    *,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Classifies held-out images by their nearest training images, for h and every head layer.

    Settings of images and model that are not given come from the pretraining.

    Args:
        checkpoint: run, run folder, checkpoint prefix or SavedModel.
        images: as of `simclr_tf.pretrain`; default: those of the pretraining.
        labels: of images in memory: class numbers [n] from 0, or names.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of results.json, such as knn_top_1; {} for a dry run.
    Raises:
        UserError: a setting, the images, the checkpoint or the folder cannot be used.
    """
    return _measure("knn", checkpoint, images, labels, "", quiet, settings)


@function_of("probe", without=_IMAGES)
def probe(
    checkpoint: Checkpoint,
    images: Any = None,
    labels: Any = None,
    *,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Asks h and every head layer what was done to a view (colour, rotation, noise, Sobel).

    Settings of images and model that are not given come from the pretraining.

    Args:
        checkpoint: run, run folder, checkpoint prefix or SavedModel.
        images: as of `simclr_tf.pretrain`; default: those of the pretraining.
        labels: of images in memory: class numbers [n] from 0, or names.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of results.json: figures of every task; {} for a dry run.
    Raises:
        UserError: a setting, the images, the checkpoint or the folder cannot be used.
    """
    return _measure("probe", checkpoint, images, labels, "", quiet, settings)


@function_of("transfer")
def transfer(
    checkpoint: Checkpoint,
    datasets: Any,
    *,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Measures an encoder on other data sets: the paper's twelve, or any others.

    Args:
        checkpoint: run, run folder, checkpoint prefix or SavedModel.
        datasets: names of tensorflow-datasets and folders, as a list or comma-separated; or {name:
            folder}; or "paper" for those of the paper that tensorflow-datasets has.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of results.json: figures of every data set; {} for a dry run.
    Raises:
        UserError: a setting, a data set, the checkpoint or the folder cannot be used.
    """
    values = {**_start_of(checkpoint), **settings, "datasets": datasets}
    return calls.plain_dict(calls.run("transfer", values, quiet=quiet))


@function_of("study", without=_IMAGES)
def study(
    study: Any,
    images: Any = None,
    model_dir: Optional[Path] = None,
    *,
    labels: Any = None,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Repeats studies of the paper: runs of several settings, their evaluations and a table each.

    The same call again goes on where it was stopped.

    Args:
        study: names of studies, as a list or comma-separated, or "all".
        images: as of `simclr_tf.pretrain`; default: the digits. They need labels.
        model_dir: folder of all runs and tables.
        labels: of images in memory: class numbers [n] from 0, or names.
        quiet: print nothing.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        {name of a study: content of its results.json, such as figures and findings}; {} for a dry
        run.
    Raises:
        UserError: a setting, the images or the folder cannot be used.
    """
    with calls.in_python_words():
        calls.check_names("study", settings)
        given = given_images(images, labels, settings)
    values = {**settings, **given.settings, "study": study, "model_dir": model_dir}
    results = calls.run("study", values, quiet=quiet)
    del given  # alive until here
    return calls.plain_dict(results)


@function_of("embed", without=_IMAGES)
def embed(
    checkpoint: Checkpoint,
    images: Any = None,
    output: Optional[Path] = None,
    *,
    labels: Any = None,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Writes h of every image to .npz and .parquet, and draws what can be seen in it.

    `TrainedModel.embed` returns h instead of writing it.

    Args:
        checkpoint: run, run folder, checkpoint prefix or SavedModel.
        images: as of `simclr_tf.pretrain`; default: those of the pretraining. Every image is
            embedded, in order.
        output: folder for the embeddings and pictures; or one file, a name that ends in .npz or
            .parquet.
        labels: of images in memory: class numbers [n] from 0, or names.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of results.json, such as num_images and feature_dim; {} for a dry run.
    Raises:
        UserError: a setting, the images, the checkpoint or the output cannot be used.
    """
    values = {**settings, "output": output}
    return _measure("embed", checkpoint, images, labels, "", quiet, values)


@function_of("search", without=_IMAGES)
def search(
    checkpoint: Checkpoint,
    query: Any,
    images: Any = None,
    *,
    embeddings: Optional[Path] = None,
    output: Optional[Path] = None,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Finds the images that are most similar to given ones, by cosine of h; exact.

        found = simclr_tf.search("runs/photos", "cat.jpg", "photos")
        print(found["queries"][0]["nearest"])

    Args:
        checkpoint: run, run folder, checkpoint prefix or SavedModel.
        query: path of an image, or images as of `TrainedModel.embed` but no folder.
        images: what is searched, as of `TrainedModel.embed`; default: the folder of the pretraining.
            Of a folder, h is kept in output/index.npz, so the next search embeds only new or changed
            files.
        embeddings: output of `simclr_tf.embed`, a path. Alone, it is what is searched; beside
            images, rows of files that did not change are taken from it.
        output: folder for tables, sheet and index; default: the folder search below the run folder.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        {"queries": [{"query": path, "nearest": [{"path", "cosine"}, ...]}, ...], "num_images",
        "num_unusable", "num_embedded", "table": path, "sheet": path, ...}; {} for a dry run.
    Raises:
        UserError: a setting, an image, the checkpoint, the embeddings or the output cannot be used.
    """
    with calls.in_python_words():
        calls.check_names("search", settings)
        path = isinstance(query, (str, os.PathLike))
        wanted = given_images([query] if path else query)
        searched = given_images(images, settings=settings)
        if "dataset" in searched.settings:
            raise SettingsError(
                f"images={images!r} is no folder; give a folder, a list of paths or an array, or "
                "embed the data set and give embeddings."
            )
        start = _start_of(checkpoint)
    values = {**start, **settings, **searched.settings, "query": wanted.settings["image_dir"]}
    values.update(embeddings=embeddings, output=output)
    results = calls.run("search", values, quiet=quiet)
    del wanted, searched  # alive until here
    return calls.plain_dict(results)


@function_of("export")
def export(
    checkpoint: Checkpoint,
    model_dir: Optional[Path] = None,
    *,
    images: Any = None,
    labels: Any = None,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Writes a trained encoder as a SavedModel that TF Hub and TF Serving load.

    Args:
        checkpoint: run, run folder, checkpoint prefix or SavedModel.
        model_dir: the SavedModel goes to model_dir/saved_model/STEP; default: the run folder. A
            name that ends in .keras or .h5 is one file of plain Keras layers, written alone.
        images: of a run on images in memory: the same ones again, for export_formats="tflite_int8".
        labels: of these images, as they were given before.
        quiet: print nothing.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        path of the SavedModel or file, weight_bytes, total_bytes, load_seconds, error (largest difference
        of h, relative to its largest value) and removed (older versions); {} for a dry run.
    Raises:
        UserError: a setting, the checkpoint or the folder cannot be used.
    """
    with calls.in_python_words():
        calls.check_names("export", settings)
        given = given_images(images, labels)
    values = {**_start_of(checkpoint), **settings, "model_dir": model_dir}
    report = calls.run("export", values, quiet=quiet)
    del given  # alive until here
    return calls.plain_dict(report and dataclasses.asdict(report))


@function_of("import_weights")
def import_weights(
    source: Path,
    model_dir: Optional[Path] = None,
    *,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Turns official SimCLR weights or a PyTorch ResNet into a run folder.

    Args:
        source: SavedModel or checkpoint of the official SimCLR code, or a file of PyTorch.
        model_dir: run folder to write.
        quiet: print nothing.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of results.json: architecture, matched and unused variables, differences of the
        outputs; {} for a dry run.
    Raises:
        UserError: the source or the folder cannot be used, or the outputs differ.
    """
    values = {**settings, "source": source, "model_dir": model_dir}
    return calls.plain_dict(calls.run("import_weights", values, quiet=quiet))


@function_of("views", without=_IMAGES)
def views(
    images: Any = None,
    sheet: Path = "views.png",
    *,
    preset: str = "",
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Draws a sheet of images and their random views, one row per operator.

    Args:
        images: as of `simclr_tf.pretrain`.
        sheet: where the picture goes: JPEG if it ends in .jpg, else PNG.
        preset: as of `simclr_tf.pretrain`.
        quiet: print nothing.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        {"sheet": path of the picture}; {} for a dry run.
    Raises:
        UserError: a setting or the images cannot be used, or the picture cannot be written.
    """
    with calls.in_python_words():
        calls.check_names("views", settings)
        given = given_images(images, settings=settings)
    values = {**settings, **given.settings, "sheet": sheet}
    path = calls.run("views", values, preset=preset, quiet=quiet)
    return {"sheet": path} if path else {}


@function_of("tune", without=_IMAGES)
def tune(
    images: Any = None,
    model_dir: Optional[Path] = None,
    *,
    preset: str = "",
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Tries views and temperatures in short trainings without labels, and writes a preset file.

        found = simclr_tf.tune("photos", "runs/tune", budget_minutes=5)
        run = simclr_tf.pretrain("photos", "runs/tuned", preset=found["preset"])

    The same call again goes on after a stop. What a keyword gives is not changed.

    Args:
        images: as of `simclr_tf.pretrain`.
        model_dir: folder of the trials, each of which is a run folder, and of the preset file.
        preset: as of `simclr_tf.pretrain`; by default a look at the images chooses the start.
        quiet: print nothing and show no progress.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of results.json: "preset" (path of the file), "changes" {setting name: value},
        "best" and "start" (their figures), "rows" (every trial); {} for a dry run.
    Raises:
        UserError: a setting, the images or the folder cannot be used.
    """
    with calls.in_python_words():
        calls.check_names("tune", settings)
        given = given_images(images, settings=settings)
    values = {**settings, **given.settings, "model_dir": model_dir}
    return calls.plain_dict(calls.run("tune", values, preset=preset, quiet=quiet))


@function_of("data_check", without=_IMAGES)
def data_check(
    images: Any = None,
    check_dir: Path = "data_check",
    *,
    labels: Any = None,
    preset: str = "",
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Looks at images before anything is trained on them.

        found = simclr_tf.data_check("photos")
        print("\\n".join(found["advice"]))

    Args:
        images: as of `simclr_tf.pretrain`.
        check_dir: folder for data_check.json, data_check.md and contact_sheet.png.
        labels: of images in memory, as of `simclr_tf.pretrain`.
        preset: as of `simclr_tf.pretrain`; it gives or chooses image_size.
        quiet: print nothing.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        the content of data_check.json: "images", "formats", "broken_images", "exact_duplicates",
        "near_duplicates", "nearly_uniform", "class_sizes", "speed", "advice" and others; {} for a
        dry run.
    Raises:
        UserError: a setting or the images cannot be used, or a file cannot be written.
    """
    with calls.in_python_words():
        calls.check_names("data_check", settings)
        given = given_images(images, labels, settings)
    values = {**settings, **given.settings, "check_dir": check_dir}
    return calls.plain_dict(calls.run("data_check", values, preset=preset, quiet=quiet))


@function_of("report")
def report(
    model_dir: Checkpoint,
    *,
    images: Any = None,
    labels: Any = None,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Writes a page with everything there is to see of a run, and gives its figures as a table.

    Args:
        model_dir: run or run folder of a pretraining, which may still be training.
        images: of a run on images in memory: the same ones again.
        labels: of these images, as they were given before.
        quiet: print nothing.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        {"page": path of an HTML file, "picture": path, None where the images cannot be read,
        "table": list of dicts, one per row: protocol, labels used, untrained encoder, supervised,
        SimCLR}.
    Raises:
        DataError: the folder holds no pretraining run.
    """
    with calls.in_python_words():
        calls.check_names("report", settings)
        given = given_images(images, labels)
    start = _start_of(model_dir)
    folder = start.pop("checkpoint")
    made = calls.run("report", {**start, **settings, "model_dir": folder}, quiet=quiet)
    del given  # alive until here
    from simclr_tf.report.summary import summary_table

    header, rows = summary_table(folder)
    return {**(made or {}), "table": [dict(zip(header, row)) for row in rows]}


@function_of("compare")
def compare(
    runs: Any,
    page: Path = "compare.html",
    *,
    quiet: bool = False,
    **settings: Any,
) -> Dict[str, Any]:
    """Writes a page with runs side by side.

    Args:
        runs: runs or run folders, as a list; or {name: run}. The first is what the others are
            compared with.
        page: where the page goes, an HTML file.
        quiet: print nothing.
        **settings: every other setting of the mode; help() lists them.

    Returns:
        {"page": path, "table": list of dicts, one per evaluation that all runs have: evaluation,
        figures {run: [value, low, high]}, p_values {run: p of its difference from the first run}};
        {} for a dry run.
    Raises:
        DataError: a folder holds no pretraining run.
    """
    with calls.in_python_words():
        calls.check_names("compare", settings)
    if isinstance(runs, dict):
        runs = {name: _start_of(one)["checkpoint"] for name, one in runs.items()}
    elif not isinstance(runs, str):
        runs = [_start_of(one)["checkpoint"] for one in runs]
    values = {**settings, "runs": runs, "page": page}
    return calls.plain_dict(calls.run("compare", values, quiet=quiet))


def load(path: Path, *, trust_code: bool = False) -> TrainedModel:
    """Loads a trained encoder.

        model = simclr_tf.load("runs/first")
        h = model.embed(images)

    Args:
        path: run folder, checkpoint prefix, SavedModel or .keras file of `simclr_tf.export`, or
            SavedModel of an official SimCLR release.
        trust_code: run the encoder function that the files name, if they name one.
    Returns:
        TrainedModel.
    Raises:
        DataError: nothing usable is there, or it is damaged.
        SettingsError: the files name code, which runs with trust_code=True only.
    """
    from simclr_tf.library.trained import TrainedModel

    model = TrainedModel(os.path.expanduser(os.fspath(path)), trust_code)
    model.encoder  # noqa: B018 - a wrong path is an error now, not at the first use
    return model


def _measure(
    mode: str,
    checkpoint: Optional[Checkpoint],
    images: Any,
    labels: Any,
    preset: str,
    quiet: bool,
    settings: Dict[str, Any],
) -> Dict[str, Any]:
    """Runs a mode that starts from a checkpoint and looks at images."""
    with calls.in_python_words():
        calls.check_names(mode, settings)
        given = given_images(images, labels, settings)
        start = _start_of(checkpoint)
        named = given.settings
        if given.held is not None and not given.held.class_names and mode in _NEED_LABELS:
            raise SettingsError(f"simclr_tf.{mode} needs labels; pass labels with the images.")
        if given.held is not None and _trained_on(start["checkpoint"], given.held.address):
            named = {}  # so their split into training and held-out images is the pretraining's too
    values = {**start, **settings, **named}
    return calls.plain_dict(calls.run(mode, values, preset=preset, quiet=quiet))


def _trained_on(checkpoint: Optional[str], address: str) -> bool:
    """Whether a checkpoint was pretrained on the images in memory with this address."""
    from simclr_tf.runs.restore import stored_settings

    return checkpoint is not None and stored_settings(checkpoint).get("image_dir") == address


def _start_of(checkpoint: Optional[Checkpoint]) -> Dict[str, Any]:
    """The settings that name a checkpoint; a model whose code is trusted goes on being so."""
    if checkpoint is None:
        return {"checkpoint": None}
    if isinstance(checkpoint, (str, os.PathLike)):
        return {"checkpoint": os.path.expanduser(os.fspath(checkpoint))}
    trusted = {"trust_code": True} if checkpoint.trust_code else {}
    return {"checkpoint": checkpoint.path, **trusted}
