"""Convolutions and attention layers of the ResNet family."""

import zlib
from typing import Optional

from simclr_tf.models.norms import make_norm
from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import keras, tf


def kernel_seed(seed: int, name: str) -> int:
    """Seed of one kernel, int31: a function of the seed of the run and the name of the layer."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


class Parts:
    """Makes the layers of one network: common normalization, seeds from the layers' names.

    Args:
        seed: of the initial kernels.
        norm: "batch", "group" or "layer", see `norms.make_norm`.
        batch_norm_decay: decay of the moving averages of BatchNormalization.
        global_bn: BatchNormalization statistics over all replicas.
        path: name of the parent layer.
    """

    def __init__(
        self,
        *,
        seed: int,
        norm: str = "batch",
        batch_norm_decay: float = 0.9,
        global_bn: bool = True,
        path: str = "",
    ):
        self.seed = seed
        self.norm = norm
        self.batch_norm_decay = batch_norm_decay
        self.global_bn = global_bn
        self.path = path

    def under(self, name: str) -> "Parts":
        """The same for the layers of the child `name`."""
        return Parts(
            seed=self.seed,
            norm=self.norm,
            batch_norm_decay=self.batch_norm_decay,
            global_bn=self.global_bn,
            path=f"{self.path}/{name}",
        )

    def convolution(
        self,
        name: str,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        *,
        use_bias: bool = False,
    ) -> "Convolution":
        """A convolution whose initial kernel follows from the seed and its path."""
        seed = kernel_seed(self.seed, f"{self.path}/{name}")
        return Convolution(filters, kernel_size, strides, use_bias=use_bias, seed=seed, name=name)

    def normalized(self, name: str, *, relu: bool = True, zero_gamma: bool = False) -> "Normalized":
        """A normalization, then ReLU if `relu`; with `zero_gamma` its scale starts at 0."""
        norm = make_norm(
            self.norm,
            momentum=self.batch_norm_decay,
            global_statistics=self.global_bn,
            gamma_initializer="zeros" if zero_gamma else "ones",
            name="norm",
        )
        return Normalized(norm, relu=relu, name=name)


class Convolution(keras.layers.Conv2D):
    """Conv2D padded and initialised as in the official code.

    Stride 1 pads SAME. Larger strides pad k - 1 rows and columns symmetrically (floor before, ceil
    after), so the sampling grid does not depend on the parity of the input size. Kernels start as
    a truncated normal of variance 1 / fan_in.

    Args:
        filters: output channels.
        kernel_size: side of the square kernel.
        strides: in both directions.
        use_bias: add a bias per channel.
        seed: of the initial kernel.
        name: of the layer.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        *,
        use_bias: bool = False,
        seed: Optional[int] = None,
        name: Optional[str] = None,
    ):
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding="same" if strides == 1 else "valid",
            use_bias=use_bias,
            kernel_initializer=keras.initializers.VarianceScaling(seed=seed),
            name=name,
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
        norm: layer of `norms.make_norm`.
        relu: apply ReLU.
        name: of the layer.
    """

    def __init__(self, norm: keras.layers.Layer, *, relu: bool = True, name: Optional[str] = None):
        super().__init__(name=name)
        self.relu = relu
        self.norm = norm

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
    """Two 3x3 streams mixed by learned per-channel attention (SK, arXiv:1903.06586).

    Args:
        filters: output channels.
        strides: stride of the convolution.
        parts: Parts.
        sk_ratio: width of the gate as a share of `filters`; at least 32 channels.
        name: of the layer.
    """

    def __init__(
        self,
        filters: int,
        strides: int,
        parts: Parts,
        *,
        sk_ratio: float,
        name: Optional[str] = None,
    ):
        super().__init__(name=name)
        self.streams = parts.convolution("streams", 2 * filters, 3, strides)
        self.streams_norm = parts.normalized("streams_norm")
        self.squeeze = parts.convolution("squeeze", max(int(filters * sk_ratio), 32), 1)
        self.squeeze_norm = parts.normalized("squeeze_norm")
        self.gate = parts.convolution("gate", 2 * filters, 1)

    @plain_python
    def call(self, inputs, training=None):
        def squeeze(pooled):
            return self.squeeze_norm(self.squeeze(pooled), training=training)

        both = self.streams_norm(self.streams(inputs), training=training)
        return self.mixed(both, squeeze)

    def mixed(self, both, squeeze):
        """The two streams, float [b, h, w, 2c], mixed by the gates behind `squeeze`."""
        streams = tf.stack(tf.split(both, 2, axis=-1))  # [2, b, h, w, c]
        pooled = tf.reduce_mean(tf.reduce_sum(streams, axis=0), [1, 2], keepdims=True)
        gates = self.gate(squeeze(pooled))
        gates = tf.nn.softmax(tf.stack(tf.split(gates, 2, axis=-1)), axis=0)  # [2, b, 1, 1, c]
        return tf.reduce_sum(streams * gates, axis=0)


class SqueezeExcitation(keras.layers.Layer):
    """Channel attention on the residual branch (SE; in the official code, off by default).

    Args:
        filters: output channels of the branch.
        width: channels of the bottleneck of the gate.
        parts: Parts.
        name: of the layer.
    """

    def __init__(self, filters: int, width: int, parts: Parts, *, name: Optional[str] = None):
        super().__init__(name=name)
        self.squeeze = parts.convolution("squeeze", width, 1, use_bias=True)
        self.excite = parts.convolution("excite", filters, 1, use_bias=True)

    @plain_python
    def call(self, inputs):
        pooled = tf.reduce_mean(inputs, [1, 2], keepdims=True)
        return inputs * tf.sigmoid(self.excite(tf.nn.relu(self.squeeze(pooled))))
