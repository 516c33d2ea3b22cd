"""A frozen ResNet in half precision, its BatchNormalization folded into the convolutions.

In inference mode BatchNormalization multiplies each channel and adds to it. Both can be done to the
kernel of the convolution before it, once: y = conv(x, kernel * scale) + offset. TensorFlow does so
by itself in float32 (there, folding gains 2 %), but not in bfloat16, where it also rounds every
float32 kernel anew in each call. Measured with ResNet-18, `python -m benchmarks.embed`.
"""

from typing import Any, Callable, Optional

from simclr_tf.models.layers import Convolution, SelectiveKernel, pad_symmetrically
from simclr_tf.models.normalization import BatchNormalization
from simclr_tf.models.resnet import ResNet
from simclr_tf.stack import keras, tf

_Layer = Callable[[tf.Tensor], tf.Tensor]


def can_fold(encoder: keras.Model) -> bool:
    """Whether `FoldedResNet` takes this encoder, and is faster."""
    if not isinstance(encoder, ResNet) or encoder.compute_dtype == "float32":
        return False
    return isinstance(encoder.stem.norm.norm, BatchNormalization)


class FoldedResNet:
    """f in inference mode: images float [b, s, s, c] in [0, 1] -> h float32 [b, d].

    The weights are those of the moment in which it is made: later changes of the encoder are not
    seen.

    Args:
        encoder: built ResNet with BatchNormalization, see `can_fold`.
    """

    def __init__(self, encoder: ResNet):
        self._dtype = encoder.compute_dtype
        self._standardised = encoder.standardised
        self._stem = self._stem_of(encoder.stem)
        self._blocks = [self._block_of(block) for group in encoder.groups for block in group.blocks]

    def __call__(self, images: tf.Tensor, training: Optional[bool] = None) -> tf.Tensor:
        if training:
            raise ValueError("a folded encoder is frozen; call it with training=False.")
        x = self._standardised(tf.cast(images, self._dtype))
        x = self._stem(tf.cast(x, self._dtype))
        for block in self._blocks:
            x = block(x)
        return tf.reduce_mean(tf.cast(x, tf.float32), [1, 2])

    def _stem_of(self, stem: Any) -> _Layer:
        layers = self._in_order([*stem.layers, stem.norm])
        return lambda x: stem.pooled(layers(stem.padded(x)))

    def _block_of(self, block: Any) -> _Layer:
        branch = self._in_order(block.branch)
        shortcut = None if block.shortcut is None else self._shortcut_of(block.shortcut)
        return lambda x: block.joined(branch(x), x if shortcut is None else shortcut(x))

    def _shortcut_of(self, layer: Any) -> _Layer:
        convolve = self._folded(layer.convolution, layer.norm)
        return lambda x: convolve(layer.pooled(x))

    def _in_order(self, layers: Any) -> _Layer:
        """Convolutions, each with its normalization behind it, and selective kernels."""
        steps = []
        waiting = list(layers)
        while waiting:
            layer = waiting.pop(0)
            if isinstance(layer, Convolution):
                steps.append(self._folded(layer, waiting.pop(0)))
            else:
                steps.append(self._selective_kernel(layer))

        def run(x):
            for step in steps:
                x = step(x)
            return x

        return run

    def _selective_kernel(self, layer: SelectiveKernel) -> _Layer:
        streams = self._folded(layer.streams, layer.streams_norm)
        squeeze = self._folded(layer.squeeze, layer.squeeze_norm)
        return lambda x: layer.mixed(streams(x), squeeze)

    def _folded(self, convolution: Convolution, normalized: Any) -> _Layer:
        """One convolution with its normalization and ReLU."""
        norm = normalized.norm
        gamma, beta = norm.scale_and_offset()
        scale = gamma * tf.math.rsqrt(norm.moving_variance + norm.epsilon)
        kernel = tf.cast(convolution.kernel * scale, self._dtype)
        offset = tf.cast(beta - norm.moving_mean * scale, self._dtype)
        size = convolution.kernel_size[0]
        strides = convolution.strides[0]
        padding = convolution.padding.upper()

        def run(x):
            x = tf.nn.conv2d(pad_symmetrically(x, size, strides), kernel, strides, padding)
            x = tf.nn.bias_add(x, offset)
            return tf.nn.relu(x) if normalized.relu else x

        return run
