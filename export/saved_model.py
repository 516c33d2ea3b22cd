"""Writes a trained encoder as one reusable SavedModel, atomically, under DIRECTORY/STEP.

The nets are built again outside any strategy, in float32, and get the trained values: the graph
then holds plain fused operations, no collective, no custom gradient and no half precision,
however the model was trained.
"""

import ctypes
import dataclasses
import gc
import os
import re
import sys
import time
import uuid

import numpy as np
from simclr_tf.export import card
from simclr_tf.export.module import ENDPOINTS, HEAD_OUTPUTS, LOGITS_OUTPUTS, make_module
from simclr_tf.export.signatures import make_signatures

from simclr_tf import config, phases
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.files import is_remote, literal, write_atomically
from simclr_tf.models.selection import select_layer
from simclr_tf.runs import lock
from simclr_tf.runs import saved_models as reader
from simclr_tf.runs.files import write_json
from simclr_tf.runs.run_folder import versions as package_versions
from simclr_tf.stack import keras, tf, without_notes

_AT_FDCWD = -100  # of Linux: paths are relative to the current folder
_RENAME_EXCHANGE = 2
_UNFINISHED = re.compile(r"unfinished-[0-9a-f]{8}(-old)?")
TOLERANCE = 1e-4  # of h, relative to its largest value; measured differences are about 1e-6


@dataclasses.dataclass(frozen=True)
class About:
    """What the manifest and the model card say besides the weights.

    Attributes:
        settings: flat settings of the training run (at least those of config.Model and
            image_size); the architecture is rebuilt from them.
        step: optimizer steps done; the version number of the export.
        dataset: {"name", "num_classes", ...} of the training images.
        figures: {name: value} of results to print in the card, such as {"top_1": 0.9}.
        h_layer: which output of the head is exported as h; 0 is the encoder's own.
    """

    settings: dict
    step: int
    dataset: dict = dataclasses.field(default_factory=dict)
    figures: dict = dataclasses.field(default_factory=dict)
    h_layer: int = 0

    @property
    def layers(self):
        """Which outputs of the head are h and what the classifier reads."""
        return self.h_layer, self.settings.get("ft_proj_selector", 0)

    @property
    def channels(self):
        """Of the images."""
        return config.section_from(config.Model, self.settings).image_channels


@dataclasses.dataclass(frozen=True)
class Report:
    """What was written: path, sizes in bytes, seconds to load, largest relative error of h."""

    path: str
    weight_bytes: int
    total_bytes: int
    load_seconds: float
    error: float
    removed: tuple = ()


def export_saved_model(encoder, head, probe, directory, about, options=config.ExportSettings()):
    """Writes, checks and publishes DIRECTORY/STEP; a failure leaves no part of it behind.

    Args:
        encoder, head, probe: built Keras models of simclr_tf.models; head and probe may be None.
            They may live in a strategy or a mixed precision policy; they are not changed.
        directory: folder of versions; made if missing. Any tf.io.gfile path.
        about: About.
        options: config.ExportSettings.
    Returns:
        Report.
    Raises:
        SettingsError: the folder holds exports of another architecture.
        DataError: it cannot be written, or the written model does not repeat the encoder's h.
    """
    check_directory(directory, about.settings)
    _check_head(about, options)
    with lock.scope():
        return _export_locked((encoder, head, probe), directory, about, options)


def _export_locked(trained, directory, about, options):
    """`export_saved_model`, while nobody else writes to the directory."""
    encoder, head, probe = trained
    final = os.path.join(directory, str(about.step))
    temporary = os.path.join(directory, f"unfinished-{uuid.uuid4().hex[:8]}")
    try:
        tf.io.gfile.makedirs(directory)  # first: a folder that cannot be written costs no work
        lock.acquire(directory)
        mend_directory(directory)
        tf.io.gfile.makedirs(temporary)
        parts = {"encoder": encoder, "head": head if options.export_head else None, "probe": probe}
        copies = rebuild(parts, about)
        with phases.phase("writing the SavedModel", unit=""):
            _save(copies, temporary, about, options)
        gc.collect()  # the traced graphs go before the written ones are loaded
        with phases.phase("verifying the export", unit=""):
            error, seconds = _verify(temporary, _features(copies, about), about)
        _describe(temporary, _manifest(copies, about, options))
        _publish(temporary, final)
    except tf.errors.OpError as cause:
        raise DataError(
            f"cannot write {directory} ({cause.message}); "
            "choose a --model_dir that you can write to."
        ) from cause
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
    removed = _prune(directory, options.keep_hub_module_max, about.step)
    return Report(final, weight_bytes(copies), folder_bytes(final), seconds, error, removed)


def _check_head(about, options):
    if any(about.layers) and not options.export_head:
        raise SettingsError(
            "export_head=False leaves out the head, whose layers h or the classifier read here "
            f"(layers {about.layers}); leave the flag away."
        )


def _features(parts, about):
    """The model whose output is exported as h."""
    return select_layer(parts["encoder"], parts["head"], about.h_layer)


def _save(parts, path, about, options):
    decay = float(about.settings.get("weight_decay", 0.0))
    bands = about.channels
    module = make_module(*parts.values(), kept_outputs(options), decay, about.layers, bands)
    signatures = make_signatures(module, about.settings["image_size"], bands)
    with without_notes():
        tf.saved_model.save(module, path, signatures=signatures)


def _describe(path, manifest):
    tf.io.gfile.makedirs(os.path.join(path, os.path.dirname(reader.MANIFEST)))
    write_json(os.path.join(path, reader.MANIFEST), manifest)
    write_atomically(os.path.join(path, "README.md"), card.write_card(manifest))


def kept_outputs(options):
    """Names of the dictionary entries that the options ask for, or None for all."""
    if options.export_outputs == "all":
        return None
    return [name.strip() for name in options.export_outputs.split(",")]


def check_outputs(options):
    """Raises SettingsError for a name that no export has; options: config.ExportSettings."""
    z_layers = tuple(f"z{i}" for i in range(1, 5))
    known = ("h", "default", *ENDPOINTS, *HEAD_OUTPUTS, *z_layers, *LOGITS_OUTPUTS)
    for name in kept_outputs(options) or ():
        if name not in known:
            raise SettingsError(
                f"export_outputs={options.export_outputs} names {name!r}; give all, or some of "
                f"{', '.join(known)}."
            )


def check_directory(directory, settings):
    """Raises SettingsError if the newest export in `directory` has another architecture."""
    newest = reader.find_version(directory)
    if not newest or newest == directory:
        return
    stored = {**dataclasses.asdict(config.Model()), **reader.read_manifest(newest)["settings"]}
    for name in (*config.setting_names(config.Model), "image_size"):
        if name in settings and stored.get(name) != settings[name]:
            raise SettingsError(
                f"{directory} holds exports of another run ({name}={stored.get(name)}, here "
                f"{settings[name]}); give another --model_dir."
            )


def folder_bytes(path):
    """Bytes of all files below `path`."""
    return sum(
        tf.io.gfile.stat(os.path.join(folder, name)).length
        for folder, _, names in tf.io.gfile.walk(path)
        for name in names
    )


def rebuild(parts, about):
    """Copies outside any strategy, in float32, whatever the model was trained in.

    Args:
        parts: {"encoder", "head", "probe": built model, or None to leave it out}.
        about: About.
    Returns:
        {name: copy or None}. A copy shares the memory of its values with the model until either
        changes.
    """
    if tf.distribute.has_strategy():
        raise ValueError("export_saved_model is called inside a strategy scope; leave it first.")
    names = [name for name, part in parts.items() if part is not None]
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        classes = about.dataset.get("num_classes", 0)
        copies = reader.build_named_parts(about.settings, names, classes)
    finally:
        keras.mixed_precision.set_global_policy(policy)
    for name in names:
        _copy_values(parts[name], copies[name])
    return copies


def exported_variables(copies):
    """The variables of {name: model or None}, in the order in which they are exported."""
    return [v for part in copies.values() if part is not None for v in part.weights]


def weight_bytes(copies):
    """Bytes of the exported variables; copies: of `rebuild`."""
    return sum(v.dtype.size * v.shape.num_elements() for v in exported_variables(copies))


def _copy_values(source, target):
    pairs = list(zip(_leaf_variables(source), _leaf_variables(target)))
    if len(pairs) != len(source.weights) or len(pairs) != len(target.weights):
        raise ValueError(
            f"{source.name} has {len(source.weights)} variables, its settings give "
            f"{len(target.weights)}; pass the settings it was built from."
        )
    for old, new in pairs:
        if old.shape != new.shape:
            raise ValueError(f"{old.name} is {old.shape}, its settings give {new.shape}.")
        new.assign(tf.cast(old, new.dtype))


def _leaf_variables(model):
    """Variables in the order of the layers, whatever is frozen (`weights` depends on that)."""

    def layers(parent):
        return [below for below in parent.submodules if isinstance(below, keras.layers.Layer)]

    leaves = [layer for layer in (model, *layers(model)) if not layers(layer)]
    return [variable for leaf in leaves for variable in leaf.weights]


def _verify(path, encoder, about):
    """(largest relative error of h against the Keras encoder, seconds to load)."""
    started = time.perf_counter()
    with literal(path) as readable:
        loaded = tf.saved_model.load(readable)
    seconds = time.perf_counter() - started
    side = about.settings["image_size"]
    images = np.random.default_rng(0).random([2, side, side, about.channels], np.float32)
    want = encoder(images, training=False).numpy()
    got = loaded.feature_vector(tf.constant(images)).numpy()
    error = float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-12))
    if not error <= TOLERANCE:
        raise DataError(
            f"the exported model differs from the trained one by {error:.1e} of the largest "
            f"feature (at most {TOLERANCE:.0e} is allowed); nothing was exported, report this."
        )
    return error, seconds


def _manifest(parts, about, options):
    variables = exported_variables(parts)
    return {
        "format": reader.FORMAT,
        "step": about.step,
        "parts": [name for name, part in parts.items() if part is not None],
        "feature_dim": _features(parts, about).feature_dim,
        "h_layer": about.h_layer,
        "outputs": options.export_outputs,
        "license": options.export_license,
        "checksum": reader.checksum(v.numpy() for v in variables),
        "settings": about.settings,
        "dataset": about.dataset,
        "figures": about.figures,
        "versions": package_versions(),
        "variables": [[v.name, list(v.shape)] for v in variables],
    }


def _publish(temporary, final):
    """Puts the finished folder in its place; an older export of the same step is always there.

    Linux exchanges two folders in one step. Elsewhere the old one is renamed first; if a kill comes
    between the two renames, `mend_directory` and every reader of ours find it under its other name.
    """
    if not tf.io.gfile.exists(final):
        _move(temporary, final)
        return
    if exchange(temporary, final):
        tf.io.gfile.rmtree(temporary)  # the old one
        return
    replaced = os.path.join(os.path.dirname(final), reader.REPLACED + os.path.basename(final))
    _move(final, replaced)
    _move(temporary, final)
    tf.io.gfile.rmtree(replaced)


def exchange(one, other):
    """Exchanges two local folders in one step; returns False where the system cannot."""
    if is_remote(one) or not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # an old C library
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    return rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0


def mend_directory(directory):
    """Removes what killed exports left in a folder of versions that this process holds.

    A version that was being replaced and has no successor gets its name back.
    """
    for name in [name.rstrip("/") for name in tf.io.gfile.listdir(directory)]:
        path = os.path.join(directory, name)
        version = name[len(reader.REPLACED) :]
        if name.startswith(reader.REPLACED) and version.isdigit():
            if tf.io.gfile.exists(os.path.join(directory, version, reader.MANIFEST)):
                tf.io.gfile.rmtree(path)
            else:
                _move(path, os.path.join(directory, version))
        elif _UNFINISHED.fullmatch(name):
            _remove_or_restore(path, directory)


def _remove_or_restore(path, directory):
    """Removes an unfinished export; one of `...-old` was a version, whose successor may be missing."""
    manifest = os.path.join(path, reader.MANIFEST)
    if path.endswith("-old") and tf.io.gfile.exists(manifest):
        final = os.path.join(directory, str(reader.read_manifest(path)["step"]))
        if not tf.io.gfile.exists(final):
            _move(path, final)
            return
    tf.io.gfile.rmtree(path)


def _move(source, target):
    """Moves a folder: one rename where folders exist, else copies, with the manifest last.

    Object stores have no folders, so there is no rename of one; readers look for the manifest.
    """
    if not is_remote(source):
        tf.io.gfile.rename(source, target)
        return
    paths = [os.path.join(at, name) for at, _, names in tf.io.gfile.walk(source) for name in names]
    for path in sorted(paths, key=lambda path: path.endswith(reader.MANIFEST)):
        copy = target + path[len(source) :]
        tf.io.gfile.makedirs(os.path.dirname(copy))
        tf.io.gfile.copy(path, copy, overwrite=True)
    tf.io.gfile.rmtree(source)


def _prune(directory, keep, step):
    """Removes the oldest versions beyond `keep`, never the one just written."""
    others = [version for version in reader.versions(directory) if version != step]
    removed = others[: max(len(others) - (keep - 1), 0)]
    for version in removed:
        tf.io.gfile.rmtree(os.path.join(directory, str(version)))
    return tuple(removed)
