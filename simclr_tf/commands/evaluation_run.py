"""What the runs of the evaluation modes have in common: settings, folder, images."""

import os

from simclr_tf import config as settings_of
from simclr_tf import names
from simclr_tf.commands import plan
from simclr_tf.data import listing, memory, sources
from simclr_tf.data.info import require_labels
from simclr_tf.data.path_list import places_of
from simclr_tf.distribution import strategy
from simclr_tf.errors import DataError
from simclr_tf.evaluation.predictions import NAME as PREDICTIONS
from simclr_tf.evaluation.predictions import predictions_csv
from simclr_tf.evaluation.results import confusion_csv
from simclr_tf.files import write_atomically
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.runs.lock import releases  # noqa: F401 (of every evaluation command)
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf
from simclr_tf.training import trackers
from simclr_tf.training.recording import bad_images_reported  # noqa: F401
from simclr_tf.views import channels

_NEXT = {"knn": "linear_eval", "probe": "linear_eval", "distill": "knn"}  # else: export


def make_strategy(config, given, checkpoint):
    """`strategy.make_strategy`; first, paths that come from the checkpoint are looked at.

    Args:
        config: a mode's config.
        given: names that the user gave.
        checkpoint: its path, or "".
    Raises:
        SettingsError: see `strategy.make_strategy`; or a Cloud TPU, which is not asked for yet,
            could not reach the images of the pretraining.
        DataError: as of `restore.stored_settings`.
    """
    if config.run.use_tpu and checkpoint:
        restore.inherit(config, given, restore.stored_settings(checkpoint))
    return strategy.make_strategy(config.run)


def strategy_row(made):
    """The row of a plan that says how devices are used; made: tf.distribute.Strategy."""
    return "strategy", strategy.describe(made)


def load(config, given):
    """The encoder that `--checkpoint` names; call it in the scope of the strategy.

    Args:
        config: a mode's config with the section `trained`.
        given: names that the user gave.
    Returns:
        restore.Trained.
    """
    values = {name: value for name, value in settings_of.flatten(config).items() if name in given}
    return restore.load_trained(config.trained.checkpoint, values, config.run.trust_code)


def resolve(config, given, trained, subfolder, also=()):
    """Fills in what was not given from the pretraining.

    Args:
        config: a mode's config.
        given: names that the user gave.
        trained: restore.Trained.
        subfolder: of the run folder, where results go without `--model_dir`.
        also: names beside data, model and seed that come from the pretraining.
    Returns:
        the same kind of config.
    """
    settings = trained.settings
    values = settings_of.flatten(restore.inherit(config, given, settings))
    inherited = {"seed", *also} - set(given)
    values.update({name: settings[name] for name in inherited if name in settings})
    if not config.run.model_dir:
        values["model_dir"] = os.path.join(trained.run_dir, *subfolder.split("/"))
    resolved = settings_of.build(type(config), values)
    if subfolder != "transfer":  # its data sets are its own
        check_place(resolved, given)
    return resolved


def check_place(config, given):
    """Refuses a folder of images that is not here, if the checkpoint named it and not the user.

    Args:
        config: a mode's config, resolved.
        given: names that the user gave.
    Raises:
        DataError: the stored folder does not exist.
    """
    name = "image_dir" if config.data.image_dir else "data_dir"
    path = getattr(config.data, name)
    if {"image_dir", "dataset", name} & set(given) or not path:
        return
    if name == "data_dir" and (config.data.dataset == "digits" or config.data.download):
        return  # made there
    places = places_of(path) if name == "image_dir" else [path]
    local = [one for one in places if not (memory.is_address(one) or listing.is_remote(one))]
    gone = [one for one in local if not tf.io.gfile.exists(one)]
    if not gone:
        return
    raise DataError(
        f"{config.trained.checkpoint} was trained with --{name}={names.shown(gone[0])}, which its "
        f"config.json names and which is not here; give --{name} with the place of the images now."
    )


def describe(config, mode):
    """`SourceInfo` of the images of a mode that needs labels; the encoder can take them."""
    info = sources.describe(config.data)
    channels.check(info, config.model)
    require_labels(info, f"--mode={mode}")
    return info


def open_pair(config):
    """(training Source, evaluation Source); both note bad images in one quarantine."""
    pair = [sources.open_source(config.data, which, config.run.seed) for which in ("train", "eval")]
    pair[1].quarantine = pair[0].quarantine
    return pair


def claim(mode, config, info):
    """The run folder, claimed for this mode and its settings; see RunFolder.claim.

    Returns:
        (RunFolder, whether it already held this run).
    """
    folder = RunFolder(config.run.model_dir)
    free = settings_of.free_settings(type(config))
    return folder, folder.claim(mode, settings_of.flatten(config), free, info.identity)


def start(mode, config, info):
    """Opens the images and claims the run folder, where bad images will be listed.

    Args:
        mode, config, info: as for `claim`.
    Returns:
        RunFolder, and the pair of `open_pair`.
    """
    pair = open_pair(config)
    folder, _ = claim(mode, config, info)
    pair[0].quarantine.attach(folder.join("quarantine.txt"))
    return folder, pair


def tables_of(scores, labels, ids, pair):
    """{name of a file: its text} of the main row: confusion matrix, and every prediction.

    Args:
        scores: float [n, c].
        labels: int [n].
        ids: int [n], of the evaluation images.
        pair: (training Source, evaluation Source).
    """
    return {
        "confusion.csv": confusion_csv(scores, labels, pair[0].class_names),
        PREDICTIONS: predictions_csv(scores, labels, ids, pair[1].name_of),
    }


def write_results(folder, results, markdown, tables=None):
    """Writes results.md, further tables and, last, results.json; prints the table and its place.

    Args:
        folder: RunFolder.
        results: dict.
        markdown: str.
        tables: {name of a file: its text}, such as the confusion matrix of the main row.
    """
    write_atomically(folder.join("results.md"), markdown)
    for name, text in (tables or {}).items():
        write_atomically(folder.join(name), text)
    write_json(folder.join("results.json"), results)  # last: with it the evaluation is finished
    _tell_trackers(folder, results)
    print(markdown)
    print(f"written to {folder.path}: {', '.join(['results.md', 'results.json', *(tables or {})])}")
    print(next_command(results, folder), flush=True)


def _tell_trackers(folder, results):
    """MLflow and W&B get the results too, if the training of the encoder was logged there."""
    checkpoint = (results.get("checkpoint") or "").rstrip("/")
    above = os.path.dirname(checkpoint)  # of the folder best, or of checkpoints and a prefix in it
    for place in filter(None, (folder.path, checkpoint, above, os.path.dirname(above))):
        if tf.io.gfile.exists(os.path.join(place, trackers.NAME)):
            trackers.add_results(RunFolder(place), results, results["mode"])
            return


def next_command(results, folder):
    """The line that says what to run after an evaluation.

    Args:
        results: content of its results.json.
        folder: its RunFolder.
    """
    checkpoint = results.get("checkpoint") or folder.path  # a fine-tuning is a checkpoint itself
    if results["mode"] == "distill" and not results["num_eval"]:  # no labels to measure with
        return plan.next_line(
            f"embed --checkpoint={checkpoint} --output={folder.join('embeddings')}"
        )
    return plan.next_line(f"{_NEXT.get(results['mode'], 'export')} --checkpoint={checkpoint}")


def data_rows(info, data):
    """The rows of a plan that say which images are used; decodes a few of a folder.

    Args:
        info: SourceInfo.
        data: config.Data.
    Raises:
        DataError: none of many images can be used.
    """
    images = f"{info.name}, {info.num_train:,} training, {info.num_eval:,} evaluation images"
    labels = [("labels", plan.classes_in_words(info))] if info.num_classes else []
    return [("data set", images), *labels, *plan.image_rows(info, sources.look(data))]


def finished(folder, encoder_sha256, tables):
    """The results of the same evaluation if it was done before, and prints them; else None.

    Settings and images are the same, or `claim` would have refused the folder.

    Args:
        folder: RunFolder, claimed.
        encoder_sha256: of the encoder now.
        tables: names of the tables that the evaluation writes.
    """
    if not all(folder.exists(name) for name in ("results.json", "results.md", *tables)):
        return None
    results = read_json(folder.join("results.json"))
    if results.get("encoder_sha256") != encoder_sha256:
        return None
    print(folder.read_text("results.md"))
    print(f"nothing left to do: this is results.md of {folder.path}, measured before.")
    print(next_command(results, folder), flush=True)
    return results
