"""Convolutions and attention layers of the ResNet family."""

import zlib

from simclr_tf.models.norms import make_norm
from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import keras, tf


def kernel_seed(seed, name):
    """Seed of one kernel, int31: a function of the seed of the run and the name of the layer."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


class Parts:
    """Makes the layers of one network: common normalization, seeds from the layers' names.

    Args:
        norm: dict of arguments of make_norm.
        seed: int, of the initial kernels.
        path: name of the parent layer.
    """

    def __init__(self, norm, seed, path=""):
        self.norm = norm
        self.seed = seed
        self.path = path

    def under(self, name):
        """The same for the layers of the child `name`."""
        return Parts(self.norm, self.seed, f"{self.path}/{name}")

    def convolution(self, name, filters, kernel_size, strides=1, use_bias=False):
        seed = kernel_seed(self.seed, f"{self.path}/{name}")
        return Convolution(filters, kernel_size, strides, use_bias=use_bias, seed=seed, name=name)

    def normalized(self, name, relu=True, zero_gamma=False):
        return Normalized(self.norm, relu, zero_gamma, name=name)


class Convolution(keras.layers.Conv2D):
    """Conv2D padded and initialised as in the official code (PAPER.md 1.7).

    Stride 1 pads SAME. Larger strides pad k - 1 rows and columns symmetrically (floor before, ceil
    after), so the sampling grid does not depend on the parity of the input size. Kernels start as
    a truncated normal of variance 1 / fan_in.
    """

    def __init__(self, filters, kernel_size, strides=1, seed=None, **kwargs):
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding="same" if strides == 1 else "valid",
            kernel_initializer=keras.initializers.VarianceScaling(seed=seed),
            **kwargs,
        )

    @plain_python
    def call(self, inputs):
        return super().call(pad_symmetrically(inputs, self.kernel_size[0], self.strides[0]))


def pad_symmetrically(images, kernel_size, strides):
    """Zero padding [b, h, w, c] -> [b, h + k - 1, w + k - 1, c]; nothing at stride 1 or k = 1."""
    total = kernel_size - 1
    if strides == 1 or total == 0:
        return images
    sides = [total // 2, total - total // 2]
    return tf.pad(images, [[0, 0], sides, sides, [0, 0]])


class Normalized(keras.layers.Layer):
    """Normalization, then ReLU if `relu`.

    Args:
        norm: dict of arguments of make_norm.
        relu: apply ReLU.
        zero_gamma: start the scale at 0 (the last layer of a residual branch).
    """

    def __init__(self, norm, relu=True, zero_gamma=False, **kwargs):
        super().__init__(**kwargs)
        start = "zeros" if zero_gamma else "ones"
        self.relu = relu
        self.norm = make_norm(gamma_initializer=start, name="norm", **norm)

    @plain_python
    def call(self, inputs, training=None):
        outputs = self.norm(inputs, training=training)
        return tf.nn.relu(outputs) if self.relu else outputs


def run_in_order(layers, inputs, training):
    """Applies convolutions and normalizations one after the other."""
    for layer in layers:
        plain = isinstance(layer, Convolution)
        inputs = layer(inputs) if plain else layer(inputs, training=training)
    return inputs


class SelectiveKernel(keras.layers.Layer):
    """Two 3x3 streams mixed by learned per-channel attention (SK, PAPER.md 1.7).

    Args:
        filters: output channels.
        strides: stride of the convolution.
        sk_ratio: width of the gate as a share of `filters`; at least 32 channels.
        parts: Parts.
    """

    def __init__(self, filters, strides, sk_ratio, parts, **kwargs):
        super().__init__(**kwargs)
        self.streams = parts.convolution("streams", 2 * filters, 3, strides)
        self.streams_norm = parts.normalized("streams_norm")
        self.squeeze = parts.convolution("squeeze", max(int(filters * sk_ratio), 32), 1)
        self.squeeze_norm = parts.normalized("squeeze_norm")
        self.gate = parts.convolution("gate", 2 * filters, 1)

    @plain_python
    def call(self, inputs, training=None):
        both = self.streams_norm(self.streams(inputs), training=training)
        streams = tf.stack(tf.split(both, 2, axis=-1))  # [2, b, h, w, c]
        pooled = tf.reduce_mean(tf.reduce_sum(streams, axis=0), [1, 2], keepdims=True)
        gates = self.gate(self.squeeze_norm(self.squeeze(pooled), training=training))
        gates = tf.nn.softmax(tf.stack(tf.split(gates, 2, axis=-1)), axis=0)  # [2, b, 1, 1, c]
        return tf.reduce_sum(streams * gates, axis=0)


class SqueezeExcitation(keras.layers.Layer):
    """Channel attention on the residual branch (SE; in the official code, off by default).

    Args:
        filters: output channels of the branch.
        width: channels of the bottleneck of the gate.
        parts: Parts.
    """

    def __init__(self, filters, width, parts, **kwargs):
        super().__init__(**kwargs)
        self.squeeze = parts.convolution("squeeze", width, 1, use_bias=True)
        self.excite = parts.convolution("excite", filters, 1, use_bias=True)

    @plain_python
    def call(self, inputs):
        pooled = tf.reduce_mean(inputs, [1, 2], keepdims=True)
        return inputs * tf.sigmoid(self.excite(tf.nn.relu(self.squeeze(pooled))))
