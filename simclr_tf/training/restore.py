"""From a checkpoint to a built, strictly restored encoder: what every later mode starts from."""

import dataclasses
import os

from simclr_tf import config
from simclr_tf.errors import DataError
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.stack import keras, tf
from simclr_tf.training import saved_model_reader
from simclr_tf.training.checkpoints import latest_in, restore_strictly
from simclr_tf.training.run_folder import read_json

# flags that change what variables the encoder has: a wrong one is an error, not a preference
_ARCHITECTURE = frozenset(f.name for f in dataclasses.fields(config.Model)) | {"image_size"}


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained encoder and where it comes from.

    Attributes:
        encoder: built model, images float [b, s, s, 3] in [0, 1] -> h float [b, d].
        head: built projection head, h -> z, or None if the source has none.
        probe: built online classifier, h -> logits, or None.
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
    if tf.io.gfile.exists(path + ".index"):
        return path, os.path.dirname(os.path.dirname(path))
    if not tf.io.gfile.isdir(path):
        raise DataError(f"checkpoint {checkpoint} does not exist; give a run folder or a checkpoint prefix.")  # fmt: skip
    if tf.io.gfile.exists(os.path.join(path, "config.json")):
        return latest_in(os.path.join(path, "checkpoints")), path
    return latest_in(path), os.path.dirname(path)


def load_trained(checkpoint, given=None):
    """Builds the encoder that a checkpoint holds and restores it strictly.

    Args:
        checkpoint: run folder, checkpoint prefix, or SavedModel folder of `--mode=export`.
        given: {setting name: value} that the user gave; architecture settings among them must
            equal the checkpoint's.
    Returns:
        Trained.
    Raises:
        DataError: nothing usable is there, it is damaged, or it holds another architecture.
    """
    exported = saved_model_reader.find_version((checkpoint or "").rstrip("/"))
    if exported:
        return _load_exported(exported, given or {})
    prefix, run_dir = locate(checkpoint)
    stored = read_json(os.path.join(run_dir, "config.json"))
    try:
        known = config.fields_of(config.Pretrain)
        settings = {name: value for name, value in stored["settings"].items() if name in known}
        pretrain = config.build(config.Pretrain, settings)
        dataset = stored["dataset"]
        selector = stored["settings"].get("ft_proj_selector", 0)  # of a fine-tuning run
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{run_dir}/config.json is not of a pretraining run; give one's folder.") from error  # fmt: skip
    _check_architecture(given or {}, config.flatten(pretrain), prefix)
    encoder, head, probe = build_parts(pretrain, dataset.get("num_classes", 0), selector)
    parts = {"encoder": encoder, "head": head}
    if probe is not None:
        parts["probe"] = probe
    restore_strictly(prefix, **parts)
    step = int(tf.train.load_variable(prefix, "step/.ATTRIBUTES/VARIABLE_VALUE"))
    probe = None if selector else probe  # one on the head is not a classifier of h
    return Trained(encoder, head, probe, config.flatten(pretrain), dataset, step, run_dir)


def _load_exported(folder, given):
    manifest = saved_model_reader.read_manifest(folder)
    _check_architecture(given, manifest["settings"], folder)
    parts, _ = saved_model_reader.read_parts(folder)
    return Trained(
        **parts,
        settings=manifest["settings"],
        dataset=manifest["dataset"],
        step=manifest["step"],
        run_dir=_run_folder_of(folder),
    )


def _run_folder_of(exported):
    """RUN of RUN/saved_model/STEP; of an export that was moved, the folder it lies in."""
    parent = os.path.dirname(exported)
    return os.path.dirname(parent) if os.path.basename(parent) == "saved_model" else parent


def build_parts(pretrain, num_classes, selector=0):
    """Built encoder, head and probe (None without labels) of a config.Pretrain.

    The probe stands on layer `selector` of the head's outputs, 0 for h.
    """
    size = pretrain.data.image_size
    seed = pretrain.run.seed
    encoder = build_encoder(pretrain.model, size, seed)
    head = build_head(pretrain.model, seed=seed)
    h = encoder(tf.zeros([1, size, size, 3]), training=False)
    head(h, training=False)
    if not (num_classes and pretrain.training.lineareval_while_pretraining):
        return encoder, head, None
    probe = LinearClassifier(num_classes, seed=seed)
    probe(head.outputs(h, training=False)[selector])
    return encoder, head, probe


def inherit(mode_config, given, settings):
    """A mode's config in which everything not given comes from the pretraining.

    Args:
        mode_config: config of a mode, such as config.LinearEval.
        given: names of the settings that the user gave.
        settings: Trained.settings.
    Returns:
        the same kind of config; only its `data` and `model` sections inherit.
    """
    if "image_dir" in given or "dataset" in given:
        # another data set: its splits are its own, only the input size is the encoder's
        names = {"image_size"}
    else:
        names = {f.name for f in dataclasses.fields(config.Data)}
    names |= {f.name for f in dataclasses.fields(config.Model)}
    values = config.flatten(mode_config)
    values.update({n: settings[n] for n in names & set(values) & set(settings) if n not in given})
    return config.build(type(mode_config), values)


def _check_architecture(given, stored, prefix):
    for name in sorted(_ARCHITECTURE & set(given) & set(stored)):
        if given[name] != stored[name]:
            raise DataError(
                f"--{name}={given[name]} differs from the checkpoint {prefix}, which was trained "
                f"with --{name}={stored[name]}; leave the flag out, the architecture is read from "
                "the checkpoint."
            )
