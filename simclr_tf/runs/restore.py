"""From a checkpoint to a built, strictly restored encoder: what every later mode starts from."""

import dataclasses
import os

import numpy as np

from simclr_tf import config, phases
from simclr_tf.errors import DataError, first_line
from simclr_tf.files import check_regular
from simclr_tf.models.build import build_parts
from simclr_tf.models.selection import layer_index, select_layer
from simclr_tf.runs import saved_models as saved_model_reader
from simclr_tf.runs.checkpoints import latest_in, read_step, restore_strictly
from simclr_tf.runs.run_folder import read_config
from simclr_tf.runs.trust import check_code
from simclr_tf.stack import keras, tf
from simclr_tf.weights import importing, keras_file, official

# flags that change what variables the encoder has: a wrong one is an error, not a preference
_ARCHITECTURE = frozenset(config.setting_names(config.Model)) | {"image_size"}

_ROTATIONS = 5  # checkpoints that may go while one is read
# what a command does to the machine is asked for by that command, never by a stored one
_ASKED_EACH_TIME = frozenset({"download", "shard_index"})


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained encoder and where it comes from.

    Attributes:
        encoder: built model, images float [b, s, s, 3] in [0, 1] -> h float [b, d].
        head: built projection head, h -> z, or None if the source has none.
        probe: built classifier, h -> logits, or None; the layer of the head that it reads instead
            of h is settings["ft_proj_selector"], 0 if that is missing.
        settings: {setting name: value} of the pretraining.
        dataset: {"name", "num_classes", ...} of the pretraining images.
        step: optimizer steps done.
        run_dir: run folder (for a SavedModel: the folder it lies in).
    """

    encoder: keras.Model
    head: keras.layers.Layer
    probe: keras.layers.Layer
    settings: dict
    dataset: dict
    step: int
    run_dir: str

    def select(self, selector):
        """The model whose output stands for h: see `models.selection.select_layer`."""
        return select_layer(self.encoder, self.head, selector)


def locate(checkpoint):
    """Finds what `--checkpoint` names.

    Args:
        checkpoint: a run folder, a folder of checkpoints or a checkpoint prefix.
    Returns:
        (checkpoint prefix, run folder).
    Raises:
        DataError: nothing usable is there.
    """
    if not checkpoint:
        raise DataError("no checkpoint is given; give --checkpoint=RUN_FOLDER of a pretraining run.")  # fmt: skip
    path = checkpoint.rstrip("/")
    for suffix in (".index", ".data-00000-of-00001"):
        check_regular(path + suffix)
    if tf.io.gfile.exists(path + ".index"):
        return path, os.path.dirname(os.path.dirname(path))
    if not tf.io.gfile.exists(path):
        raise DataError(f"checkpoint {checkpoint} does not exist; give a run folder or a checkpoint prefix.")  # fmt: skip
    if not tf.io.gfile.isdir(path):
        raise DataError(
            f"checkpoint {checkpoint} is a single file; give a run folder, a checkpoint prefix or "
            "a SavedModel folder or a .keras file of ours, or turn weights of other code into one by "
            "--mode=import_weights."
        )
    if tf.io.gfile.exists(os.path.join(path, "config.json")):
        return latest_in(os.path.join(path, "checkpoints")), path
    return latest_in(path), os.path.dirname(path)


def load_trained(checkpoint, given=None, trust_code=False):
    """Builds the encoder that a checkpoint holds and restores it strictly.

    Args:
        checkpoint: run folder, checkpoint prefix, SavedModel folder or .keras file of
            `--mode=export`, or SavedModel folder of an official release, which is imported and
            compared.
        given: {setting name: value} that the user gave; architecture settings among them must
            equal the checkpoint's.
        trust_code: whether an encoder function that the files name may be imported and called,
            see `trust.check_code`.
    Returns:
        Trained.
    Raises:
        SettingsError: the files name code that is not trusted.
        DataError: nothing usable is there, it is damaged, or it holds another architecture.
    """
    with phases.phase("loading the encoder", unit=""):
        trained = _load(checkpoint, given or {}, trust_code)
        _check_finite(trained, checkpoint)
    return trained


def _load(checkpoint, given, trust_code):
    """`load_trained`, whatever the values are."""
    exported = saved_model_reader.find_version((checkpoint or "").rstrip("/"))
    if exported:
        return _load_exported(exported, given, trust_code)
    if checkpoint and official.is_saved_model(checkpoint):
        return _load_official(checkpoint, given)
    if _is_keras_file(checkpoint):
        return _load_keras(checkpoint, given)
    prefix, run_dir = locate(checkpoint)
    pretrain, dataset, probe_layer = stored_run(run_dir)
    settings = config.flatten(pretrain)
    _check_architecture(given, settings, prefix)
    check_code(settings, run_dir, given, trust_code)
    encoder, head, probe = build_parts(pretrain, dataset.get("num_classes", 0), probe_layer)
    parts = {"encoder": encoder, "head": head}
    if probe is not None:
        parts["probe"] = probe
    step = _restore_newest(checkpoint, prefix, parts)
    reads = layer_index(head, probe_layer)
    settings["ft_proj_selector"] = reads
    return Trained(encoder, head, probe, settings, dataset, step, run_dir)


def _check_finite(trained, checkpoint):
    """Refuses weights that are NaN or infinite; what is computed from them is nothing."""
    parts = {"encoder": trained.encoder, "head": trained.head, "probe": trained.probe}
    for name, part in parts.items():
        for variable in part.weights if part is not None else []:
            if variable.dtype.is_floating and not np.isfinite(variable.numpy()).all():
                raise DataError(
                    f"{checkpoint} holds weights that are NaN or infinite, such as "
                    f"{variable.name} of the {name}: its training diverged; give an earlier "
                    "checkpoint, such as RUN_FOLDER/checkpoints/ckpt-STEP."
                )


def _restore_newest(checkpoint, prefix, parts):
    """Restores `parts` and returns the step of the checkpoint.

    A training may remove the checkpoint while it is read; then the newest one is taken.
    """
    for _ in range(_ROTATIONS):
        try:
            restore_strictly(prefix, **parts)
            return read_step(prefix)
        except DataError:
            now = locate(checkpoint)[0]
            if now == prefix:
                raise
            prefix = now
    raise DataError(
        f"{checkpoint} is written faster than it can be read; copy the folder of a checkpoint and "
        "give that."
    )


def stored_settings(checkpoint):
    """The settings that a checkpoint was trained with, read without building anything.

    Args:
        checkpoint: as of `load_trained`.
    Returns:
        {setting name: value}; {} for an official release.
    Raises:
        DataError: nothing usable is there, or it is damaged.
    """
    exported = saved_model_reader.find_version((checkpoint or "").rstrip("/"))
    if exported:
        return saved_model_reader.read_manifest(exported)["settings"]
    if checkpoint and official.is_saved_model(checkpoint):
        return {}
    if _is_keras_file(checkpoint):
        return _load_keras(checkpoint, {}).settings
    run_dir = locate(checkpoint)[1]
    return config.flatten(stored_run(run_dir)[0])


def stored_settings_of(run_dir):
    """{setting name: value} of a run folder, which may have no checkpoint yet; see `stored_run`."""
    return config.flatten(stored_run(run_dir)[0])


def stored_run(run_dir):
    """(config.Pretrain, facts about the data set, layer that the probe reads) of a run folder.

    Raises:
        DataError: its config.json is missing or damaged, or of another mode.
    """
    path = os.path.join(run_dir, "config.json")
    stored = read_config(path)
    try:
        probe_layer = int(stored["settings"].get("ft_proj_selector", 0))
        pretrain = config.build_stored(config.Pretrain, stored["settings"])
        return pretrain, dict(stored["dataset"]), probe_layer
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # SettingsError is one
        raise DataError(f"{path} was not written by --mode=pretrain; pass a pretraining run folder.") from error  # fmt: skip


def _load_exported(folder, given, trust_code):
    manifest = saved_model_reader.read_manifest(folder)
    _check_architecture(given, manifest["settings"], folder)
    parts, _ = saved_model_reader.read_parts(folder, given, trust_code)
    return Trained(
        **parts,
        settings=manifest["settings"],
        dataset=manifest["dataset"],
        step=manifest["step"],
        run_dir=_run_folder_of(folder),
    )


def _load_official(path, given):
    trained = from_imported(importing.import_weights(path), os.path.dirname(path.rstrip("/")))
    _check_architecture(given, trained.settings, path)
    return trained


def _is_keras_file(checkpoint):
    return (
        bool(checkpoint)
        and keras_file.is_keras_file(checkpoint)
        and tf.io.gfile.exists(checkpoint)
        and not tf.io.gfile.isdir(checkpoint)
    )


def _load_keras(path, given):
    with importing.float32():
        found = keras_file.read(path, given.get("image_size"))
    _check_architecture(given, found.imported.settings, path)
    stored = {**found.about.get("settings", {"dataset": ""}), **found.imported.settings}
    stored["lineareval_while_pretraining"] = found.imported.classifier is not None
    try:
        pretrain = config.build_stored(config.Pretrain, stored)
    except (TypeError, ValueError) as error:  # SettingsError is one
        raise DataError(
            f"{path} says settings that cannot be ({first_line(error)}); export it again."
        ) from error
    if not found.about:  # other weights than the run's: its folder is left alone
        return _from_parts(found.imported, pretrain, os.path.dirname(path))
    trained = _from_parts(found.imported, pretrain, keras_file.run_folder_of(path))
    return dataclasses.replace(trained, dataset=found.about["dataset"], step=found.about["step"])


def from_imported(imported, run_dir, data=None):
    """Imported weights as any other trained encoder, in the caller's strategy and precision.

    Args:
        imported: weights.official.Imported.
        run_dir: folder that results go to by default.
        data: {setting name: value} of the images they were trained on, as far as known.
    Returns:
        Trained, of step 0.
    """
    unknown = {} if data and (data.get("image_dir") or data.get("shards")) else {"dataset": ""}
    pretrain = config.build(config.Pretrain, {**imported.settings, **unknown, **(data or {})})
    return _from_parts(imported, pretrain, run_dir)


def _from_parts(imported, pretrain, run_dir):
    """See `from_imported`; pretrain: config.Pretrain."""
    settings = {**config.flatten(pretrain), "ft_proj_selector": imported.selector}
    classes = 0 if imported.classifier is None else imported.classifier.dense.units
    dataset = {
        "name": pretrain.data.name,
        "fingerprint": "",
        "num_train": 0,
        "num_classes": classes,
    }
    parts = build_parts(pretrain, classes, imported.selector)
    for part, source in zip(parts, (imported.encoder, imported.head, imported.classifier)):
        if source is not None:
            for variable, value in zip(part.variables, source.variables):
                variable.assign(value)  # one after the other: not all of them twice
    return Trained(*parts, settings, dataset, 0, run_dir)


def _run_folder_of(exported):
    """RUN of RUN/saved_model/STEP; of an export that was moved, the folder it lies in."""
    parent = os.path.dirname(exported)
    return os.path.dirname(parent) if os.path.basename(parent) == "saved_model" else parent


def inherit(mode_config, given, settings):
    """A mode's config in which everything not given comes from the pretraining.

    Args:
        mode_config: config of a mode, such as config.LinearEval.
        given: names of the settings that the user gave.
        settings: Trained.settings.
    Returns:
        the same kind of config; only its `data` and `model` sections inherit.
    """
    if given & {"image_dir", "dataset", "shards"}:
        # another data set: its splits are its own, only the input size is the encoder's
        names = {"image_size", "value_range"}
    else:
        names = set(config.setting_names(config.Data))
    names |= set(config.setting_names(config.Model))
    names -= _ASKED_EACH_TIME
    values = config.flatten(mode_config)
    values.update({n: settings[n] for n in names & set(values) & set(settings) if n not in given})
    return config.build(type(mode_config), values)


def data_of(settings):
    """The config.Data of a pretraining, by its stored settings, as a later command may use it.

    What only the pretraining's own command was allowed to do, such as to download, is left out.
    """
    return config.section_from(
        config.Data, {name: settings[name] for name in settings if name not in _ASKED_EACH_TIME}
    )


def _check_architecture(given, stored, prefix):
    for name in sorted(_ARCHITECTURE & set(given) & set(stored)):
        if given[name] != stored[name]:
            raise DataError(
                f"--{name}={given[name]} differs from the checkpoint {prefix}, which was trained "
                f"with --{name}={stored[name]}; leave the flag out, the architecture is read from "
                "the checkpoint."
            )
