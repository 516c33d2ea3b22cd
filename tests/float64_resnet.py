"""The official bottleneck ResNet with selective kernels in float64, from its variables alone.

Shares no code with simclr_tf: layers are taken in the order of the numbers in their names.
"""

import re

import numpy as np

from simclr_tf.stack import tf


class _Layers:
    """Hands out convolutions and BatchNormalization layers in order of creation."""

    def __init__(self, values):
        found = {}
        for name, value in values.items():
            *_, layer, leaf = name.split("/")
            kind = re.sub(r"_\d+$", "", layer)
            number = int((re.findall(r"_(\d+)$", layer) or [0])[0])
            found.setdefault(kind, {}).setdefault(number, {})[leaf] = np.float64(value)
        order = {kind: [layers[n] for n in sorted(layers)] for kind, layers in found.items()}
        self.kernels = iter(order["conv2d"])
        self.norms = iter(order["sync_batch_normalization"])
        self.dense = iter(order["dense"])

    def convolve(self, x, strides=1):
        kernel = next(self.kernels)["kernel"]
        if strides > 1:
            size = kernel.shape[0] - 1
            x = tf.pad(x, [[0, 0], *[[size // 2, size - size // 2]] * 2, [0, 0]])
        return tf.nn.conv2d(x, kernel, strides, "VALID" if strides > 1 else "SAME")

    def normalize(self, x, relu=True):
        norm = next(self.norms)
        scale = norm["gamma"] / np.sqrt(norm["moving_variance"] + 1e-5)
        x = (x - norm["moving_mean"]) * scale + norm.get("beta", 0.0)
        return tf.nn.relu(x) if relu else x


def _selective(layers, x, strides):
    x = layers.normalize(layers.convolve(x, strides))
    one, two = tf.split(x, 2, axis=-1)
    gate = tf.reduce_mean(one + two, [1, 2], keepdims=True)
    gate = layers.convolve(layers.normalize(layers.convolve(gate)))
    weight = tf.sigmoid(gate[..., : one.shape[-1]] - gate[..., one.shape[-1] :])
    return one * weight + two * (1 - weight)


def _block(layers, x, strides, first):
    shortcut = x
    if first:
        if strides > 1:
            x = tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]])
        pooled = tf.nn.avg_pool2d(x, 2, strides, "SAME" if strides == 1 else "VALID")
        x = shortcut
        shortcut = layers.normalize(layers.convolve(pooled), relu=False)
    x = layers.normalize(layers.convolve(x))
    x = _selective(layers, x, strides)
    return tf.nn.relu(layers.normalize(layers.convolve(x), relu=False) + shortcut)


def outputs_of_r50_sk(values, images):
    """{official key: float64 array}; values: {official variable name: array}."""
    layers = _Layers(values)
    found = {}
    x = layers.normalize(layers.convolve(np.float64(images), 2))
    x = layers.normalize(layers.convolve(x))
    found["initial_conv"] = x = layers.convolve(x)
    x = tf.nn.max_pool2d(layers.normalize(x), 3, 2, "SAME")
    found["initial_max_pool"] = x
    for group, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            x = _block(layers, x, 2 if group and not block else 1, not block)
        found[f"block_group{group + 1}"] = x
    found["final_avg_pool"] = found["proj_head_input"] = h = tf.reduce_mean(x, [1, 2])
    z = h
    for last in (False, False, True):
        z = layers.normalize(z @ next(layers.dense)["kernel"], relu=not last)
    found["proj_head_output"] = z
    classifier = next(layers.dense)
    found["logits_sup"] = h @ classifier["kernel"] + classifier["bias"]
    return {key: np.asarray(value) for key, value in found.items()}
