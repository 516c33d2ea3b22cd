"""Official SimCLR weights -> our encoder, projection head and classifier.

Reads what the official code wrote: a SavedModel or checkpoint of its tf2 folder, or a checkpoint
of its TF1 code. Variables are identified by the names stored in the file and the order of creation
that their numbers tell, never by shape alone; every shape is verified. What the variables do not
tell is measured where the source is a SavedModel, and otherwise asked for.
"""

import contextlib
import dataclasses
import os
import re
from typing import Optional

import numpy as np
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from simclr_tf import config
from simclr_tf.errors import DataError, first_line
from simclr_tf.files import literal
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.selection import layer_index
from simclr_tf.stack import keras, tf
from simclr_tf.weights.architecture import detect
from simclr_tf.weights.comparing import fitting_layers, verify
from simclr_tf.weights.official_names import encoder_parts

_ROOTS = {
    "resnet": "encoder",
    "base_model": "encoder",
    "projection_head": "head",
    "head_contrastive": "head",
    "head_supervised": "classifier",
}
_KINDS = {
    "conv2d": "conv",
    "sync_batch_normalization": "norm",
    "batch_normalization": "norm",
    "dense": "dense",
}
_LEAVES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclasses.dataclass(frozen=True)
class Imported:
    """Official weights as our networks.

    Attributes:
        encoder: built ResNet.
        head: built ProjectionHead, or None (releases of SimCLR v1 have none).
        classifier: built LinearClassifier, or None.
        settings: {setting name: value} of config.Model, and image_size.
        matched: number of variables taken over.
        unused: names in the source that are not part of these networks, such as optimizer slots.
        differences: {endpoint: largest difference relative to the largest value}, measured against
            the source on random images; empty if the source is not a SavedModel.
        selector: which of the head's outputs the classifier reads (0: h).
        skipped: Python objects in a PyTorch file that were left out, as "name (class)".
    """

    encoder: keras.Model
    head: keras.layers.Layer
    classifier: keras.layers.Layer
    settings: dict
    matched: int
    unused: tuple
    differences: dict = dataclasses.field(default_factory=dict)
    selector: int = 0
    skipped: tuple = ()


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the user says of weights that do not tell it themselves; None where nothing is said.

    Attributes:
        selector: which of the head's outputs the classifier reads, -1 for the last.
        sk_ratio: selective kernels, 0 for none.
        se_ratio: squeeze-and-excitation, 0 for none.
        stem_padding: of the first convolution in a PyTorch network with a 3x3 stem.
        trust_code: run a SavedModel whose graph does more than compute.
    """

    selector: Optional[int] = None
    sk_ratio: Optional[float] = None
    se_ratio: Optional[float] = None
    stem_padding: Optional[int] = None
    trust_code: bool = False


NOTHING_SAID = Choices()


def import_official(source: str, choices: Choices = NOTHING_SAID) -> Imported:
    """Reads official weights and verifies them.

    Args:
        source: SavedModel folder (also a TF1 Hub module), checkpoint prefix or folder of
            checkpoints. Any tf.io.gfile path.
        choices: what the user says of them. A SavedModel is measured where nothing is said.
    Returns:
        Imported. Nothing may be missing: a variable of ours without a source is an error.
    Raises:
        DataError: nothing readable is there, it is not of this family, a shape does not fit, a
            checkpoint leaves a choice open, or the outputs differ from those of the SavedModel by
            more than 1e-4.
    """
    prefix, is_saved_model = locate(source)
    with literal(prefix) as readable:
        return _import_official(source, prefix, readable, is_saved_model, choices)


def _import_official(source, prefix, readable, is_saved_model, choices):
    """See `import_official`; readable: the prefix under a name that TensorFlow can open."""
    named, others = read_variables(prefix, readable)
    parts, unused = sort_by_part(named)
    if "encoder" not in parts:
        raise DataError(
            f"{source} holds no variables named resnet/... or base_model/...; give a SavedModel or "
            "checkpoint of the official SimCLR code."
        )
    unused = (*unused, *others)
    if not is_saved_model:
        imported = build(parts, unused, source, choices=choices)
        if any(name.startswith("base_model/") for name in named):
            _check_tf1_blocks(imported.settings, source)
        return imported
    errors = []
    for settings in describe(parts, source, choices):
        try:
            imported = _fill(parts, unused, source, settings)
            layers = _layers_read(imported, choices.selector, source)
            return verify(imported, source, layers, choices.trust_code)
        except DataError as error:
            errors.append(error)
    raise errors[0]


def _check_tf1_blocks(settings, source):
    """Basic blocks of the TF1 code with selective kernels are another network.

    There the branch too, not only the shortcut, reads the pooled images.
    """
    if settings["sk_ratio"] and settings["resnet_depth"] < 50:
        raise DataError(
            f"{source}: the TF1 code computes a ResNet-{settings['resnet_depth']} with sk_ratio "
            "differently from its TF2 code, which is what is computed here; give a checkpoint of "
            "the TF2 code, or of a ResNet-50 or deeper."
        )


def is_saved_model(path):
    """Whether a folder is a SavedModel, whoever wrote it."""
    return tf.io.gfile.exists(os.path.join(path, "saved_model.pb"))


def locate(source):
    """(checkpoint prefix, True if the source is a SavedModel)."""
    path = source.rstrip("/")
    if is_saved_model(path):
        return os.path.join(path, "variables", "variables"), True
    if tf.io.gfile.exists(path + ".index"):
        return path, False
    latest = _newest_in(path)
    if latest is None:
        raise DataError(
            f"{source} holds no saved_model.pb and no checkpoint; give the folder of a SavedModel, "
            "a folder of checkpoints or a checkpoint prefix."
        )
    return latest, False


def _newest_in(folder):
    """Prefix of the checkpoint that the file `checkpoint` of a folder names, None without one."""
    try:
        state = tf.train.get_checkpoint_state(folder)
    except ValueError:  # the file names none
        return None
    named = state.model_checkpoint_path if state else ""
    # a downloaded folder names the place on the machine that wrote it
    for prefix in (named, os.path.join(folder, os.path.basename(named))):
        if named and tf.io.gfile.exists(prefix + ".index"):
            return prefix
    return None


class StoredArray:
    """An array of a checkpoint, read whenever it is asked for: all together fill the memory twice.

    Attributes:
        shape: tuple of int.
    """

    def __init__(self, reader, key, shape, prefix):
        self._reader = reader
        self._key = key
        self._prefix = prefix
        self.shape = tuple(shape)

    def __array__(self, dtype=None, copy=None):
        with _readable(self._prefix):
            return np.asarray(self._reader.get_tensor(self._key), dtype)


@contextlib.contextmanager
def _readable(prefix):
    """Whatever TensorFlow says of a checkpoint that is missing, truncated or damaged: DataError."""
    try:
        yield
    except (
        tf.errors.OpError,
        ValueError,
        RuntimeError,
        IndexError,
        KeyError,
        DecodeError,
    ) as error:
        raise DataError(
            f"checkpoint {prefix} cannot be read ({first_line(error)}); copy it again."
        ) from error


def read_variables(prefix, readable):
    """Looks into a checkpoint.

    Object-based checkpoints (TF2) keep the names beside their own keys; in name-based ones (TF1)
    the keys are the names.

    Args:
        prefix: of the checkpoint, for errors.
        readable: the same under a name that TensorFlow can open.
    Returns:
        {variable name: StoredArray} of what may belong to a network; names of the rest (optimizer
        slots, counters).
    Raises:
        DataError: the file is missing, truncated or damaged.
    """
    with _readable(prefix):
        reader = tf.train.load_checkpoint(readable)
        shapes = reader.get_variable_to_shape_map()
        keys = {name: name for name in shapes}
        if _GRAPH_KEY in keys:
            keys = _names_in_object_graph(reader.get_tensor(_GRAPH_KEY))
        named = {
            name: StoredArray(reader, key, shapes[key], prefix)
            for name, key in keys.items()
            if name.split("/")[-1] in _LEAVES and ".OPTIMIZER_SLOT" not in key
        }
        for stored in named.values():  # a damaged file is told before anything is asked or built
            np.asarray(stored)
    return named, sorted(set(keys) - set(named))


def _names_in_object_graph(serialized):
    """{variable name: checkpoint key}; a slot of an optimizer never hides a variable."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName("tensorflow.TrackableObjectGraph")
    graph = message_factory.GetMessageClass(descriptor).FromString(serialized)
    attributes = [attribute for node in graph.nodes for attribute in node.attributes]
    stored = [item for item in attributes if item.name == "VARIABLE_VALUE"]
    stored.sort(key=lambda item: ".OPTIMIZER_SLOT" not in item.checkpoint_key)
    return {item.full_name: item.checkpoint_key for item in stored}


def sort_by_part(named):
    """Splits variables into encoder, head and classifier, their layers in order of creation.

    Args:
        named: {variable name: array}.
    Returns:
        {"encoder" | "head" | "classifier": {"conv" | "norm" | "dense": [{leaf: array}, ...]}}, and
        the names that belong to none of them.
    Raises:
        DataError: there are several networks.
    """
    layers = {}
    unused = []
    networks = {}  # a second model of one process is resnet_1/..., projection_head_1/...
    for name, value in named.items():
        *path, leaf = name.split("/")
        roots = [_ROOTS.get(re.sub(r"_\d+$", "", token)) for token in path]
        root = next((i for i, part in enumerate(roots) if part), None)
        kind = _KINDS.get(re.sub(r"_\d+$", "", path[-1])) if path else None
        if root is None or kind is None or "ema_model" in path:
            unused.append(name)
            continue
        part = roots[root]
        networks.setdefault(part, set()).add("/".join(path[: root + 1]))
        scope = _number(path[root + 1]) if part == "head" else 0  # nl_0, nl_1, ...
        layers.setdefault((part, kind, scope, _number(path[-1])), {})[leaf] = value
    for names in networks.values():
        if len(names) > 1:
            raise DataError(
                f"the source holds several networks: {', '.join(sorted(names))}; give a checkpoint "
                "with one of them."
            )
    parts = {}
    for key in sorted(layers):
        parts.setdefault(key[0], {}).setdefault(key[1], []).append(layers[key])
    return parts, tuple(sorted(unused))


def _number(token):
    """The number that Keras appended: 12 of conv2d_12, 0 of conv2d."""
    found = re.search(r"_(\d+)$", token)
    return int(found.group(1)) if found else 0


def describe(parts: dict, source: str, choices: Choices = NOTHING_SAID) -> list:
    """The settings of config.Model, and image_size, that the shapes of the parts allow.

    Returns:
        list of dicts: one, or two where the kernels do not tell whether shortcuts pool.
    Raises:
        DataError: no network of the family has these shapes, or one whose forward pass is not
            ours.
    """
    convolutions = parts["encoder"].get("conv", [])
    shapes = [layer["kernel"].shape for layer in convolutions if "kernel" in layer]
    found = detect(
        shapes,
        any("bias" in layer for layer in convolutions),
        source,
        sk_ratio=choices.sk_ratio,
        se_ratio=choices.se_ratio,
    )
    return [{**settings, **_beside_encoder(parts, settings)} for settings in found]


def _beside_encoder(parts, settings):
    """image_size, and the settings of the head."""
    image_size = 32 if settings["stem"] == "small" else 224
    dense = parts.get("head", {}).get("dense", [])
    if not dense:
        return {"image_size": image_size, "proj_head_mode": "none"}
    return {
        "image_size": image_size,
        "proj_head_mode": "nonlinear" if len(dense) > 1 else "linear",
        "num_proj_layers": len(dense),
        "proj_out_dim": dense[-1]["kernel"].shape[-1],
    }


def build(
    parts: dict,
    unused: tuple,
    source: str,
    encoder: Optional[dict] = None,
    choices: Choices = NOTHING_SAID,
) -> Imported:
    """Makes the networks that the parts describe and fills them.

    Args:
        parts: as from `sort_by_part`.
        unused: names in the source that belong to none of them.
        source: for errors.
        encoder: settings of config.Model for the encoder; None reads them from its kernels.
        choices: what the user says of the weights.
    Returns:
        Imported.
    Raises:
        DataError: a layer is missing, too many, or of another shape, or a choice is open.
    """
    if encoder is None:
        found = describe(parts, source, choices)
    else:
        found = [{**encoder, **_beside_encoder(parts, encoder)}]
    if len(found) > 1:
        raise DataError(
            f"{source}: the kernels of a ResNet-{found[0]['resnet_depth']} with the small stem do "
            "not tell whether it was trained with --sk_ratio, which changes the shortcuts; give "
            "--sk_ratio=0 (the default of the official code) or --sk_ratio=0.0625."
        )
    imported = _fill(parts, unused, source, found[0])
    layers = _layers_read(imported, choices.selector, source)
    if len(layers) > 1:
        raise DataError(
            f"{source}: the classifier fits several layers: {_in_words(layers)}; say which it was "
            "trained on, such as --ft_proj_selector=0 (h, the default of the official code)."
        )
    return dataclasses.replace(imported, selector=layers[0])


def _fill(parts, unused, source, settings):
    """The Imported of one description of the parts, whose classifier may read h or the head."""
    model = config.section_from(config.Model, settings)
    encoder = build_encoder(model, settings["image_size"])
    found = encoder_parts(encoder)
    targets = [
        ("encoder", "conv", [layer for _, kind, layer in found if kind != "norm"]),
        ("encoder", "norm", [layer for _, kind, layer in found if kind == "norm"]),
    ]
    head = classifier = None
    if "dense" in parts.get("head", {}):
        head = build_head(model, encoder.feature_dim)
        targets += [("head", "dense", head.dense), ("head", "norm", head.norms)]
    if "classifier" in parts:
        kernel = parts["classifier"]["dense"][0]["kernel"]
        classifier = LinearClassifier(kernel.shape[1])
        classifier(tf.zeros([1, kernel.shape[0]]))
        targets.append(("classifier", "dense", [classifier.dense]))
    matched = sum(
        _assign(layers, parts.get(part, {}).get(kind, []), f"{source}: {part} {kind}")
        for part, kind, layers in targets
    )
    return Imported(encoder, head, classifier, settings, matched, unused)


def _layers_read(imported, selector, source):
    """Indices of the head's outputs that the classifier may read: all that fit, or the given."""
    classifier = imported.classifier
    layers = fitting_layers(imported.encoder, imported.head, classifier)
    if not layers:
        raise DataError(
            f"{source}: the classifier takes {classifier.dense.kernel.shape[0]} features, which "
            "is the width of no layer of these networks; the file mixes two models."
        )
    if selector is None:
        return layers
    if classifier is None:
        raise DataError(
            f"--ft_proj_selector={selector} is given and {source} holds no classifier; leave it out."
        )
    wanted = layer_index(imported.head, selector)
    if wanted not in layers:
        raise DataError(
            f"{source}: the classifier does not fit --ft_proj_selector={selector}; it fits "
            f"{_in_words(layers)}, give one of them."
        )
    return [wanted]


def _in_words(layers):
    return ", ".join(f"{layer} (h)" if layer == 0 else str(layer) for layer in layers)


def _assign(layers, values, where):
    """Fills layers one by one; returns how many variables. Counts, leaves and shapes must agree."""
    if len(layers) != len(values):
        raise DataError(
            f"{where}: {len(values)} layers in the source, {len(layers)} in the network that its "
            "kernels describe; the file is incomplete or holds another network."
        )
    matched = 0
    for number, (layer, stored) in enumerate(zip(layers, values)):
        own = {leaf: getattr(layer, leaf, None) for leaf in _LEAVES}
        own = {leaf: variable for leaf, variable in own.items() if variable is not None}
        shapes = {leaf: tuple(variable.shape) for leaf, variable in own.items()}
        found = {leaf: value.shape for leaf, value in stored.items()}
        if shapes != found:
            raise DataError(
                f"{where} {number}: the source holds {found}, the network needs {shapes}; the file "
                "is incomplete or holds another network."
            )
        for leaf, variable in own.items():
            variable.assign(np.asarray(stored[leaf]))
        matched += len(own)
    return matched
