"""A .keras or .h5 file of plain layers, as export/ writes it, becomes our networks again.

It may have been fine-tuned and saved elsewhere, and stand inside a larger model. The file is data:
its JSON and raw numbers are read, no class that it names is looked up, and nothing in it runs. The
architecture follows from the layers, whose names, classes, settings and connections must be those
of a network of ours (`models.native`).
"""

import dataclasses
import io
import json
import logging
import math
import os
import re
import zipfile
from typing import Any, Dict, List, Optional, Tuple

import h5py
import numpy as np

from simclr_tf import config
from simclr_tf.errors import DataError, first_line
from simclr_tf.files import read_bytes
from simclr_tf.models import native
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.resnet import BLOCKS, INPUT_NORMS
from simclr_tf.stack import tf
from simclr_tf.weights.official import Imported

SUFFIXES = (".keras", ".h5")
KEY = "simclr_tf"  # of what the file says about the run: in metadata.json, or an attribute of .h5
FORMAT = 1
WEIGHTS = "model.weights.h5"
_MOST_JSON = 32 * 2**20  # bytes; a ResNet-200 with selective kernels has 3 million
_LEAVES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
_CONTAINERS = ("Functional", "Sequential", "Model")
_FREE = frozenset({"momentum", "batch_shape"})  # settings that h does not depend on
_DAMAGED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OSError, OverflowError,
    RecursionError, RuntimeError, NotImplementedError, MemoryError, zipfile.BadZipFile,
)  # fmt: skip
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class KerasFile:
    """What a file holds.

    Attributes:
        imported: the networks.
        about: {"settings", "dataset", "step"} of the run that it was exported from; {} if it was
            saved elsewhere since, which forgets them.
    """

    imported: Imported
    about: Dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Stored:
    """One layer of the file: its class, settings, inputs, and place among the weights."""

    kind: str
    settings: Dict[str, Any]
    inputs: Tuple[str, ...]
    place: str


def is_keras_file(path: str) -> bool:
    """Whether a path has the name of such a file."""
    return path.endswith(SUFFIXES)


def read(path: str, image_size: Optional[int] = None) -> KerasFile:
    """The networks in a file.

    Args:
        path: a .keras file of Keras 3 or Keras 2.15, or an .h5 file of either. Any tf.io.gfile
            path.
        image_size: as the user gives it, for a file that does not say.
    Returns:
        KerasFile, in the precision policy of the caller.
    Raises:
        DataError: the file cannot be read, or it holds no encoder of ours.
    """
    content = read_bytes(path)
    try:
        whole, about, weights = (_open_zip if path.endswith(".keras") else _open_h5)(content)
        with weights:
            return _networks_of(whole, _about(about), weights, image_size)
    except DataError as error:
        raise DataError(f"{path} {error}") from error
    except _DAMAGED as error:
        raise DataError(
            f"{path} is damaged or no file of Keras ({first_line(error)}); copy it again."
        ) from error


def _open_zip(content):
    """(config, what it says about the run, _ZipWeights) of a .keras file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        stored = archive.getinfo(WEIGHTS)
        if stored.compress_type != zipfile.ZIP_STORED:
            raise DataError("has compressed weights, which Keras never writes; save it again.")
        whole = _json(archive, "config.json")
        about = _json(archive, "metadata.json").get(KEY, {})
        return whole, about, _ZipWeights(archive.read(stored))


def _json(archive, name):
    if archive.getinfo(name).file_size > _MOST_JSON:
        raise DataError(f"has a {name} of more than {_MOST_JSON // 2**20} MiB; give another file.")
    return json.loads(archive.read(name))


def _open_h5(content):
    """(config, what it says about the run, _H5Weights) of an .h5 file."""
    weights = _H5Weights(content)
    texts = [weights.file.attrs.get(name) for name in ("model_config", KEY)]
    if texts[0] is None:
        raise DataError("holds weights without their model; save the whole model.")
    if any(len(text) > _MOST_JSON for text in texts if text is not None):
        raise DataError(f"has more than {_MOST_JSON // 2**20} MiB of JSON; give another file.")
    return json.loads(texts[0]), json.loads(texts[1] or "{}"), weights


class _Weights:
    """The numbers of a file; use it in a `with` statement."""

    def __init__(self, content):
        self.size = len(content)
        self.file = h5py.File(io.BytesIO(content), "r")
        self.datasets: Dict[str, List[h5py.Dataset]] = {}
        self.file.visititems(self._note)  # it follows no link, neither inside nor to other files

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def _note(self, name, item):
        if isinstance(item, h5py.Dataset):
            self.datasets.setdefault(self._key(name), []).append(item)

    def _key(self, name):
        return name

    def _take(self, key, shape):
        """float32 array of a wanted shape."""
        found = self.datasets.get(key, [])
        if len(found) != 1:
            raise DataError(
                f"holds {len(found) or 'no'} arrays called {key}, which should be one; give a "
                "file that holds the whole encoder once."
            )
        array = found[0]
        if array.dtype.kind != "f":
            raise DataError(
                f"holds {key} as {array.dtype}; give the file from before it was quantized."
            )
        # numbers elsewhere could be those of any file of this computer
        if array.external or array.is_virtual or array.chunks:
            raise DataError(f"keeps {key} in a way that Keras never does; save it again.")
        if array.shape != shape:
            raise DataError(f"holds {key} of shape {array.shape}, its layers need {shape}.")
        return np.asarray(array[()], np.float32)


class _ZipWeights(_Weights):
    """Layers are counted by class: layers/conv2d_3/vars/0."""

    def arrays(self, node, place):
        """The arrays of a native.Node, in order."""
        count = sum(key.startswith(f"{place}/vars/") for key in self.datasets)
        if count != len(node.weights):
            raise DataError(
                f"holds {count} arrays of the layer {node.name}, not {len(node.weights)}; if it "
                "was quantized, give the file from before."
            )
        return [
            self._take(f"{place}/vars/{number}", weight.shape)
            for number, weight in enumerate(node.weights)
        ]


class _H5Weights(_Weights):
    """Layers have their names: model_weights/block_group1/.../initial_conv/kernel:0."""

    def _key(self, name):
        of_model = name.startswith("model_weights/")
        return "/".join(name.split(":")[0].split("/")[-2:]) if of_model else ""

    def arrays(self, node, place):
        """The arrays of a native.Node, in order."""
        leaves = [weight.variable.name.split(":")[0].split("/")[-1] for weight in node.weights]
        return [
            self._take(f"{node.name}/{leaf}", weight.shape)
            for leaf, weight in zip(leaves, node.weights)
        ]


def _about(about):
    """Facts of the run, checked as far as they are used."""
    kinds = {"format": int, "settings": dict, "dataset": dict, "step": int}
    if not about:
        return {}
    for name, kind in kinds.items():
        if not isinstance(about.get(name), kind):
            raise DataError(f"says no {name} of its run; export it again.")
    if about["format"] > FORMAT:
        raise DataError(
            f"has format {about['format']}, this version of simclr_tf reads {FORMAT}; use the "
            "version that wrote it."
        )
    return about


def _networks_of(whole, about, weights, image_size):
    layers, name, others = _find(whole)
    settings = _settings(layers)
    if about:
        names = set(config.setting_names(config.Model)) | {"image_size"}
        stored = {name: about["settings"][name] for name in names & set(about["settings"])}
        settings.update(stored, encoder="")
    else:
        said = native.image_size_in(name)
        usual = 32 if settings["stem"] == "small" else 224
        settings["image_size"] = said or image_size or usual
    if native.Z not in layers:
        settings["proj_head_mode"] = "none"
    model = config.section_from(config.Model, settings)
    _check_size(model, layers, weights.size)
    encoder = build_encoder(model, settings["image_size"])
    head = classifier = None
    if native.Z in layers:
        head = build_head(model, encoder.feature_dim)
    selector = 0
    if native.LOGITS in layers:
        selector = _layer_read(layers, head)
        widths = [encoder.feature_dim] if head is None else head.widths(encoder.feature_dim)
        classifier = LinearClassifier(int(layers[native.LOGITS].settings["units"]))
        classifier(tf.zeros([1, widths[selector]]))
    scale = layers["rescaling"].settings["scale"]
    graph = native.draw(
        name,
        encoder,
        head,
        classifier,
        pixels="uint8" if _same(native.INPUTS["uint8"], scale) else "unit",
        layers=(0, selector),
    )
    for node in graph.nodes:
        _check(node, layers)
    matched = 0
    for node in graph.nodes:
        for weight, values in zip(node.weights, weights.arrays(node, layers[node.name].place)):
            weight.assign(values)
            matched += 1
    others += sorted(set(layers) - {node.name for node in graph.nodes})
    if others:
        _LOG.info("left out, because they are no part of the encoder: %s", ", ".join(others))
    imported = Imported(
        encoder, head, classifier, settings, matched, tuple(others), selector=selector
    )
    return KerasFile(imported, about)


def _find(whole):
    """({layer name: _Stored} of the encoder, its model's name, layers around it)."""
    found = []
    around = []
    _search(whole, "", found, around)
    if not found:
        raise DataError(
            "holds no encoder of ours (no layers initial_conv and final_avg_pool); give a file of "
            "--export_formats=keras or what you fine-tuned from one, or name a model of your own "
            "with --encoder=package.module:function."
        )
    if len(found) > 1:
        raise DataError(f"holds {len(found)} encoders; save the one that you want alone.")
    return (*found[0], around)


def _search(model, place, found, around):
    """Notes the encoders in a model's configuration, and the layers that are no part of them."""
    counts: Dict[str, int] = {}
    layers = {}
    nested = []
    for layer in model["config"]["layers"]:
        kind = _snake_case(layer["class_name"])
        number = counts[kind] = counts.get(kind, -1) + 1
        inside = f"{place}layers/{kind}_{number}" if number else f"{place}layers/{kind}"
        name = layer["config"].get("name", layer.get("name"))
        if layer["class_name"] in _CONTAINERS:
            nested.append((layer, inside + "/"))
        else:
            inputs = _inputs(layer.get("inbound_nodes", []))
            layers[name] = _Stored(layer["class_name"], layer["config"], inputs, inside)
    if {"initial_conv", native.H, native.IMAGES} <= set(layers):
        found.append((layers, model["config"]["name"]))
    else:
        around += [name for name, layer in layers.items() if layer.kind != "InputLayer"]
    for layer, inside in nested:
        _search(layer, inside, found, around)


def _snake_case(name):
    """How Keras names the weights of a class: Conv2D is conv2d, ReLU is re_lu."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _inputs(nodes):
    """Names of the layers that a layer reads: of Keras 3 (`keras_history`) or of Keras 2."""
    found = []

    def walk(item):
        if isinstance(item, dict):
            if "keras_history" in item:
                found.append(item["keras_history"][0])
            for value in item.values():
                walk(value)
        elif isinstance(item, list):
            if len(item) == 4 and isinstance(item[0], str) and isinstance(item[3], dict):
                found.append(item[0])
            else:
                for value in item:
                    walk(value)

    walk(nodes)
    return tuple(found)


def _settings(layers):
    """The settings of config.Model that the layers of a file say."""

    def setting(layer, name):
        return layers[layer].settings[name]

    first = "block_group1_block0"
    kind = "Bottleneck" if f"{first}_conv3" in layers else "BasicBlock"
    counts = tuple(
        sum(
            re.fullmatch(rf"block_group{group}_block\d+_conv1", name) is not None for name in layers
        )
        for group in (1, 2, 3, 4)
    )
    depths = [
        depth
        for depth, (block, numbers) in BLOCKS.items()
        if (block.__name__, numbers) == (kind, counts)
    ]
    if not depths:
        raise DataError(f"holds no ResNet of ours: its groups have {counts} blocks.")
    inner = [int(setting(f"block_group{group}_block0_conv1", "filters")) for group in (1, 2, 3, 4)]
    filters = inner
    if kind == "Bottleneck":
        out = [
            int(setting(f"block_group{group}_block0_conv3", "filters")) for group in (1, 2, 3, 4)
        ]
        filters = [number // 4 for number in out]
    found = {
        "encoder": "",
        "resnet_depth": depths[0],
        "width_multiplier": _width(filters),
        "bottleneck_width": 1.0 if inner == filters else _width(inner) / _width(filters),
        "sk_ratio": 0.0,
        "se_ratio": 0.0,
        "stem": _stem(layers),
        "stem_padding": 2 if "stem_pad" in layers else 1,
        "norm": "batch",
        "pool_padding": "symmetric" if "initial_max_pool_pad" in layers else "same",
        "first_shortcut": "projection" if f"{first}_shortcut_conv" in layers else "identity",
        "input_norm": _input_norm(layers),
        "image_channels": _channels(layers[native.IMAGES].settings),
    }
    last = "block_group4_block0"
    if f"{last}_sk_squeeze" in layers:
        found["sk_ratio"] = _ratio(int(setting(f"{last}_sk_squeeze", "filters")), inner[3], 32)
    elif f"{last}_shortcut_pool" in layers:
        found["sk_ratio"] = 0.0625  # basic blocks: only the shortcuts tell that there are any
    if f"{last}_se_squeeze" in layers:
        found["se_ratio"] = _ratio(int(setting(f"{last}_se_squeeze", "filters")), filters[3], 1)
    if layers["stem_norm"].kind == "GroupNormalization":
        found["norm"] = "layer" if setting("stem_norm", "groups") == 1 else "group"
    else:
        found["batch_norm_decay"] = float(setting("stem_norm", "momentum"))
    if native.Z in layers:
        found.update(_head_settings(layers))
    return found


def _head_settings(layers):
    """The settings of the projection head, whose last layer is there."""
    dense = [name for name in layers if re.fullmatch(r"proj_head_dense\d", name)]
    normalized = layers[native.Z].kind not in ("Dense", "Identity")
    if layers[native.Z].kind == "Identity":
        return {"proj_head_mode": "none"}
    depth = len(dense) + (not normalized)
    last = f"proj_head_dense{depth}" if normalized else native.Z
    hidden = "proj_head_norm1" in layers
    return {
        "proj_head_mode": "nonlinear" if depth > 1 else "linear",
        "num_proj_layers": depth,
        "proj_out_dim": int(layers[last].settings["units"]),
        "proj_bn": "all" if normalized else "hidden" if hidden else "none",
    }


def _width(filters):
    """A width multiplier that gives these filters of the four groups."""
    for group, number in reversed(list(enumerate(filters))):
        width = number / (64 * 2**group)
        if [max(1, round(64 * 2**i * width)) for i in range(4)] == filters:
            return width
    raise DataError(f"holds no ResNet of ours: its groups have {filters} filters.")


def _ratio(gate, filters, least):
    """A ratio with max(int(filters * ratio), least) == gate; the published one if it fits."""
    for ratio in (0.0625, gate / filters, (gate + 0.5) / filters):
        if max(int(filters * ratio), least) == gate:
            return ratio
    raise DataError(f"holds no ResNet of ours: a gate has {gate} channels for {filters} filters.")


def _channels(settings):
    shape = settings.get("batch_shape", settings.get("batch_input_shape"))
    return int(shape[-1])


def _check_size(model, layers, size):
    """Refuses layers that need more numbers than the file holds, before they take memory."""
    kind, blocks = BLOCKS[model.resnet_depth]
    numbers = 0  # of the larger kernels
    filters = 0
    for group, count in enumerate(blocks):
        filters = max(1, round(64 * 2**group * model.width_multiplier))
        inner = max(1, round(64 * 2**group * model.width_multiplier * model.bottleneck_width))
        basic = kind.expansion == 1
        numbers += count * (9 * filters**2 if basic else 9 * inner**2 + 4 * inner * filters)
    features = filters * kind.expansion
    if native.Z in layers and model.proj_head_mode != "none":
        hidden = model.num_proj_layers - 1 if model.proj_head_mode == "nonlinear" else 0
        numbers += features * (hidden * features + model.proj_out_dim)
    if native.LOGITS in layers:
        numbers += int(layers[native.LOGITS].settings["units"])
    if 2 * numbers > size:  # two bytes each at least
        raise DataError("holds fewer numbers than its layers need: it is cut off; copy it again.")


def _stem(layers):
    if "stem_conv1" in layers or "MaxPooling2D" == layers["initial_max_pool"].kind:
        return "imagenet"
    return "strided" if "initial_conv_pad" in layers else "small"


def _input_norm(layers):
    """The input_norm whose scale the layer `standardize` has."""
    if "standardize" not in layers:
        return "none"
    scale = layers["standardize"].settings["scale"]
    for name, norm in INPUT_NORMS.items():
        if norm is not None and _same([1.0 / deviation for deviation in norm[1]], scale):
            return name
    raise DataError(f"standardizes its images by {scale}, which no network of ours does.")


def _layer_read(layers, head):
    """Which output of the head the classifier reads."""
    name = (*layers[native.LOGITS].inputs, "")[0]
    depth = 0 if head is None else head.depth
    known = {native.H: 0, **{f"z{i}": i for i in range(1, depth)}, native.Z: depth}
    if name not in known:
        raise DataError(f"has a classifier {native.LOGITS} that reads {name or 'nothing'}.")
    return known[name]


def _check(node, layers):
    """Refuses a layer that is not what our network has in its place."""
    stored = layers.get(node.name)
    wrong = "is missing"
    if stored is not None:
        different = [
            name
            for name, value in node.settings.items()
            if name not in _FREE and not _same(value, stored.settings.get(name))
        ]
        if stored.kind != node.kind:
            wrong = f"is a {stored.kind}, not a {node.kind}"
        elif stored.inputs != node.inputs:
            wrong = f"reads {', '.join(stored.inputs)}, not {', '.join(node.inputs)}"
        elif different:
            name = different[0]
            wrong = f"has {name}={stored.settings.get(name)}, not {node.settings[name]}"
        else:
            return
    raise DataError(
        f"holds another network than ours: its layer {node.name} {wrong}; give a file with the "
        "layers that were exported."
    )


def _same(one, other):
    """Whether settings are equal, numbers up to rounding."""
    if isinstance(one, (list, tuple)):
        return (
            isinstance(other, (list, tuple))
            and len(one) == len(other)
            and all(map(_same, one, other))
        )
    if isinstance(one, float):
        return isinstance(other, (int, float)) and math.isclose(one, other, rel_tol=1e-6)
    return one == other


def run_folder_of(path: str) -> str:
    """RUN of RUN/converted/STEP/encoder.keras; else the folder that the file lies in."""
    folder = os.path.dirname(path)
    above = os.path.dirname(folder)
    return os.path.dirname(above) if os.path.basename(above) == "converted" else folder
