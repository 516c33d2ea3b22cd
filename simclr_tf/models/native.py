"""Our networks as graphs of plain Keras layers, which any Keras builds without code of ours.

`draw` walks a built encoder, head and classifier and lists layers of `keras.layers` that compute
the same, each with a name, its settings, and the variables that its weights come from. `build`
makes a model of a list with any Keras. Reading goes the other way: `Node.assign` writes weights of
such a layer back into our variables.

Three of our layers have no plain counterpart. A convolution with stride becomes ZeroPadding2D and
Conv2D. Squeeze-and-excitation becomes pooling, two convolutions and a product. Of selective kernels
every convolution over both streams becomes two, one for each stream, and the softmax of their two
gates a sigmoid of the difference.
"""

import dataclasses
import re
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from simclr_tf.errors import SettingsError
from simclr_tf.models.layers import Convolution, Normalized, SelectiveKernel
from simclr_tf.models.norms import GroupNormalization
from simclr_tf.models.resnet import INPUT_NORMS, ResNet
from simclr_tf.stack import keras

INPUTS = {"unit": 1.0, "uint8": 1.0 / 255.0}  # what pixels are multiplied with to be in [0, 1]
OUTPUTS = ("h", "z", "logits")
IMAGES = "images"
H = "final_avg_pool"
Z = "proj_head_output"
LOGITS = "logits_sup"
_LAST = "channels_last"
_NAME = re.compile(r"_(\d{1,5})px$")


@dataclasses.dataclass(frozen=True)
class Weight:
    """One array of a layer: a variable of ours, or a part of one.

    Attributes:
        variable: ours.
        channels: (first, last + 1) along the last axis, or None for all.
    """

    variable: Any
    channels: Optional[Tuple[int, int]] = None

    @property
    def shape(self) -> Tuple[int, ...]:
        """Of the array."""
        shape = tuple(self.variable.shape)
        return shape if self.channels is None else (*shape[:-1], -np.subtract(*self.channels))

    def read(self) -> np.ndarray:
        """The values, float32."""
        values = self.variable.numpy()
        return values if self.channels is None else values[..., slice(*self.channels)]

    def assign(self, values: np.ndarray) -> None:
        """Writes values of the same shape into the variable."""
        if self.channels is not None:
            whole = self.variable.numpy()
            whole[..., slice(*self.channels)] = values
            values = whole
        self.variable.assign(values)


@dataclasses.dataclass(frozen=True)
class Node:
    """One layer.

    Attributes:
        name: of the layer.
        kind: its class in `keras.layers`.
        inputs: names of the layers that it reads.
        settings: arguments of the class, as JSON gives them back.
        weights: of the layer, in the order of its `get_weights`.
    """

    name: str
    kind: str
    inputs: Tuple[str, ...]
    settings: Dict[str, Any]
    weights: Tuple[Weight, ...] = ()


@dataclasses.dataclass
class Graph:
    """Layers in the order in which they are made.

    Attributes:
        name: of the model.
        nodes: Nodes; the first is the input.
        outputs: {"h", "z", "logits": name of a layer}, those that the model returns.
    """

    name: str
    nodes: List[Node] = dataclasses.field(default_factory=list)
    outputs: Dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, name, kind, *inputs, weights=(), **settings):
        """Adds a layer and returns its name."""
        self.nodes.append(Node(name, kind, inputs, settings, tuple(weights)))
        return name

    def convolution(self, name, layer, x, channels=None):
        """A Convolution; channels: (first, last + 1) of its output, or None for all."""
        size = layer.kernel_size[0]
        strides = layer.strides[0]
        total = size - 1 if strides > 1 else 0
        if total:
            sides = [total // 2, total - total // 2]
            x = self.add(
                f"{name}_pad", "ZeroPadding2D", x, padding=[sides, sides], data_format=_LAST
            )
        weights = [layer.kernel, *([layer.bias] if layer.use_bias else [])]
        return self.add(
            name,
            "Conv2D",
            x,
            weights=[Weight(weight, channels) for weight in weights],
            filters=layer.filters if channels is None else channels[1] - channels[0],
            kernel_size=[size, size],
            strides=[strides, strides],
            padding="same" if strides == 1 else "valid",
            data_format=_LAST,
            dilation_rate=[1, 1],
            groups=1,
            activation="linear",
            use_bias=layer.use_bias,
        )

    def norm(self, name, layer, x, channels=None):
        """A layer of `norms.make_norm`; `channels` as above, of BatchNormalization only."""
        leaves = [layer.gamma, layer.beta]
        settings = {"epsilon": layer.epsilon, "center": layer.center, "scale": layer.scale}
        if isinstance(layer, GroupNormalization):
            kind = "GroupNormalization"
            settings["groups"] = layer.groups
        else:
            kind = "BatchNormalization"
            settings["momentum"] = layer.momentum
            leaves += [layer.moving_mean, layer.moving_variance]
        weights = [Weight(leaf, channels) for leaf in leaves if leaf is not None]
        return self.add(name, kind, x, weights=weights, **settings)

    def normalized(self, name, layer, x, channels=None, relu=""):
        """A Normalized called `name`_norm; relu: name of its ReLU instead of `name`_relu."""
        x = self.norm(f"{name}_norm", layer.norm, x, channels)
        return self.add(relu or f"{name}_relu", "ReLU", x) if layer.relu else x

    def pool(self, name, x):
        """The mean over height and width, [b, 1, 1, c]."""
        return self.add(name, "GlobalAveragePooling2D", x, data_format=_LAST, keepdims=True)

    def half(self, name, x, second, filters):
        """The first or second half of 2 * filters channels, at any height and width."""
        x = self.add(f"{name}_channels_first", "Permute", x, dims=[3, 1, 2])
        sides = [filters, 0] if second else [0, filters]
        x = self.add(f"{name}_half", "Cropping2D", x, cropping=[sides, [0, 0]], data_format=_LAST)
        return self.add(name, "Permute", x, dims=[2, 3, 1])


def model_name(settings: Dict[str, Any]) -> str:
    """Name of the model, which also says the image size: `simclr_resnet50_224px`."""
    return f"simclr_resnet{settings['resnet_depth']}_{settings['image_size']}px"


def image_size_in(name: str) -> Optional[int]:
    """The image size that a name of `model_name` says, or None."""
    found = _NAME.search(name)
    return int(found.group(1)) if found and int(found.group(1)) else None


def check_encoder(encoder: keras.Model) -> None:
    """Refuses an encoder of the user's, whose layers need not be plain ones.

    Raises:
        SettingsError: it is no ResNet of ours.
    """
    if not isinstance(encoder, ResNet):
        raise SettingsError(
            "a .keras file of plain layers can be written of our ResNets only, and this encoder is "
            "one of your own (--encoder); export a SavedModel, or save your own Keras model."
        )


def draw(
    name: str,
    encoder: ResNet,
    head: Optional[keras.layers.Layer] = None,
    classifier: Optional[keras.layers.Layer] = None,
    *,
    pixels: str = "unit",
    layers: Tuple[int, int] = (0, 0),
    wanted: Tuple[str, ...] = ("h",),
) -> Graph:
    """The plain layers of a network.

    Args:
        name: of the model.
        encoder: built ResNet.
        head: built ProjectionHead, or None to leave it out.
        classifier: built LinearClassifier, or None to leave it out.
        pixels: key of INPUTS.
        layers: which outputs of the head are h and what the classifier reads; 0 is the encoder's.
        wanted: outputs of the model, of OUTPUTS.
    Returns:
        Graph.
    """
    graph = Graph(name)
    channels = encoder.stem.layers[0].kernel.shape[2]
    x = graph.add(IMAGES, "InputLayer", batch_shape=[None, None, None, int(channels)])
    x = graph.add("rescaling", "Rescaling", x, scale=INPUTS[pixels], offset=0.0)
    standardized = INPUT_NORMS[encoder.get_config()["input_norm"]]
    if standardized is not None:
        mean, deviation = standardized
        x = graph.add(
            "standardize",
            "Rescaling",
            x,
            scale=[1.0 / d for d in deviation],
            offset=[-m / d for m, d in zip(mean, deviation)],
        )
    x = _stem(graph, encoder.stem, x)
    for i, group in enumerate(encoder.groups):
        prefix = f"block_group{i + 1}"
        for j, block in enumerate(group.blocks):
            last = j == len(group.blocks) - 1
            x = _block(graph, f"{prefix}_block{j}", block, x, prefix if last else "")
    found = [graph.add(H, "GlobalAveragePooling2D", x, data_format=_LAST, keepdims=False)]
    if head is not None:
        found += _head(graph, head, found[0])
    graph.outputs = {"h": found[layers[0]]}
    if head is not None:
        graph.outputs["z"] = Z
    if classifier is not None:
        weights = [Weight(classifier.dense.kernel), Weight(classifier.dense.bias)]
        graph.outputs["logits"] = _dense(graph, LOGITS, weights, found[layers[1]])
    graph.outputs = {name: graph.outputs[name] for name in OUTPUTS if name in wanted}
    return graph


def _stem(graph, stem, x):
    if stem.margin:
        sides = [stem.margin, stem.margin]
        x = graph.add("stem_pad", "ZeroPadding2D", x, padding=[sides, sides], data_format=_LAST)
    *first, last = stem.layers
    for layer, number in zip(first, (1, 1, 2, 2)):
        name = f"stem_conv{number}"
        plain = isinstance(layer, Convolution)
        x = graph.convolution(name, layer, x) if plain else graph.normalized(name, layer, x)
    x = graph.convolution("initial_conv", last, x)
    end = "initial_max_pool"
    x = graph.normalized("stem", stem.norm, x, relu="" if stem.pool is not None else end)
    if stem.pool is None:
        return x
    if stem.pads_pool:
        sides = [1, 1]
        x = graph.add(f"{end}_pad", "ZeroPadding2D", x, padding=[sides, sides], data_format=_LAST)
    return graph.add(
        end,
        "MaxPooling2D",
        x,
        pool_size=[3, 3],
        strides=[2, 2],
        padding="valid" if stem.pads_pool else "same",
        data_format=_LAST,
    )


def _block(graph, name, block, x, end):
    """end: name of the last ReLU instead of `name`."""
    shortcut = x
    if block.shortcut is not None:
        shortcut = _shortcut(graph, f"{name}_shortcut", block.shortcut, x)
    for layer in block.branch:
        if isinstance(layer, SelectiveKernel):
            x = _selective_kernel(graph, f"{name}_sk", layer, x)
        elif isinstance(layer, Normalized):
            x = graph.normalized(f"{name}_{layer.name[: -len('_norm')]}", layer, x)
        else:
            x = graph.convolution(f"{name}_{layer.name}", layer, x)
    if block.attention is not None:
        x = _squeeze_excitation(graph, f"{name}_se", block.attention, x)
    return graph.add(end or name, "ReLU", graph.add(f"{name}_add", "Add", x, shortcut))


def _shortcut(graph, name, shortcut, x):
    if shortcut.pool is not None:
        strides = shortcut.strides
        if strides > 1:
            sides = [0, 1]
            x = graph.add(
                f"{name}_pad", "ZeroPadding2D", x, padding=[sides, sides], data_format=_LAST
            )
        x = graph.add(
            f"{name}_pool",
            "AveragePooling2D",
            x,
            pool_size=[2, 2],
            strides=[strides, strides],
            padding="same" if strides == 1 else "valid",
            data_format=_LAST,
        )
    x = graph.convolution(f"{name}_conv", shortcut.convolution, x)
    return graph.normalized(f"{name}_conv", shortcut.norm, x)


def _squeeze_excitation(graph, name, layer, x):
    gate = graph.convolution(f"{name}_squeeze", layer.squeeze, graph.pool(f"{name}_pool", x))
    gate = graph.add(f"{name}_squeeze_relu", "ReLU", gate)
    gate = graph.convolution(f"{name}_excite", layer.excite, gate)
    gate = graph.add(f"{name}_gate", "Activation", gate, activation="sigmoid")
    return graph.add(f"{name}_scale", "Multiply", x, gate)


def _selective_kernel(graph, name, layer, x):
    filters = layer.streams.filters // 2
    halves = {"a": (0, filters), "b": (filters, 2 * filters)}
    if isinstance(layer.streams_norm.norm, GroupNormalization):  # its groups may span both
        x = graph.convolution(f"{name}_streams", layer.streams, x)
        x = graph.normalized(f"{name}_streams", layer.streams_norm, x)
        streams = [
            graph.half(f"{name}_{half}", x, bool(channels[0]), filters)
            for half, channels in halves.items()
        ]
    else:
        streams = []
        for half, channels in halves.items():
            stream = graph.convolution(f"{name}_{half}_conv", layer.streams, x, channels)
            stream = graph.normalized(
                f"{name}_{half}_conv", layer.streams_norm, stream, channels, relu=f"{name}_{half}"
            )
            streams.append(stream)
    pooled = graph.pool(f"{name}_pool", graph.add(f"{name}_sum", "Add", *streams))
    squeezed = graph.convolution(f"{name}_squeeze", layer.squeeze, pooled)
    squeezed = graph.normalized(f"{name}_squeeze", layer.squeeze_norm, squeezed)
    scores = [
        graph.convolution(f"{name}_{half}_score", layer.gate, squeezed, channels)
        for half, channels in halves.items()
    ]
    gated = []
    for half, stream, pair in zip(halves, streams, (scores, scores[::-1])):
        gate = graph.add(f"{name}_{half}_difference", "Subtract", *pair)
        gate = graph.add(f"{name}_{half}_gate", "Activation", gate, activation="sigmoid")
        gated.append(graph.add(f"{name}_{half}_scale", "Multiply", stream, gate))
    return graph.add(f"{name}_mix", "Add", *gated)


def _head(graph, head, h):
    """Names of the outputs of the layers, those of `ProjectionHead.outputs` behind h."""
    x = graph.add("proj_head_input", "Identity", h)
    found = []
    for i, (dense, norm) in enumerate(zip(head.dense, head.norms)):
        last = i == head.depth - 1
        weights = [Weight(dense.kernel), *([Weight(dense.bias)] if dense.use_bias else [])]
        plain = last and norm is None
        x = _dense(graph, Z if plain else f"proj_head_dense{i + 1}", weights, x)
        if norm is not None:
            x = graph.norm(Z if last else f"proj_head_norm{i + 1}", norm, x)
        if not last:
            x = graph.add(f"z{i + 1}", "ReLU", x)
        found.append(x)
    return found or [graph.add(Z, "Identity", x)]


def _dense(graph, name, weights, x):
    return graph.add(
        name,
        "Dense",
        x,
        weights=weights,
        units=int(weights[0].shape[-1]),
        activation="linear",
        use_bias=len(weights) == 2,
    )


def build(graph: Graph, library: Any) -> Any:
    """The model of a graph, with its weights.

    Args:
        graph: Graph.
        library: a module with the API of Keras, 2 or 3.
    Returns:
        functional float32 model; it returns h alone, or a dictionary of several outputs.
    """
    made = {}
    for node in graph.nodes:
        if node.kind == "InputLayer":
            shape = node.settings["batch_shape"][1:]
            made[node.name] = library.Input(shape, name=node.name, dtype="float32")
            continue
        layer = getattr(library.layers, node.kind)(name=node.name, dtype="float32", **node.settings)
        found = [made[name] for name in node.inputs]
        made[node.name] = layer(found if len(found) > 1 else found[0])
        if node.weights:
            layer.set_weights([weight.read() for weight in node.weights])
    outputs = {output: made[name] for output, name in graph.outputs.items()}
    alone = outputs["h"] if list(outputs) == ["h"] else outputs
    return library.Model(made[IMAGES], alone, name=graph.name)
