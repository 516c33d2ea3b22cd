"""Residual blocks of the ResNet family (post-activation, "v1", arXiv:1512.03385)."""

import dataclasses
from typing import Optional, Type

from simclr_tf.models.layers import Parts, SelectiveKernel, SqueezeExcitation, run_in_order
from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import keras, tf


@dataclasses.dataclass(frozen=True)
class BlockShape:
    """What one block looks like.

    Attributes:
        filters: channels of the inner convolutions; a bottleneck ends with four times as many.
        strides: stride of the block.
        project: its shortcut is a projection, as in the first block of a group.
        sk_ratio: selective kernels; 0 is off.
        se_ratio: squeeze-and-excitation; 0 is off.
        inner: channels of the inner convolutions of a bottleneck; None: `filters`.
    """

    filters: int
    strides: int
    project: bool
    sk_ratio: float
    se_ratio: float
    inner: Optional[int] = None


class Shortcut(keras.layers.Layer):
    """Projection to `out` channels: 1x1 convolution with the stride, normalized, no ReLU.

    With selective kernels it is that of ResNet-D: 2x2 average pooling, then the convolution
    without stride.
    """

    def __init__(self, out: int, shape: BlockShape, parts: Parts, *, name: Optional[str] = None):
        super().__init__(name=name)
        self.strides = strides = shape.strides
        self.pool = None
        if shape.sk_ratio:
            padding = "same" if strides == 1 else "valid"
            self.pool = keras.layers.AveragePooling2D(2, strides, padding=padding)
        self.convolution = parts.convolution("conv", out, 1, 1 if self.pool else strides)
        self.norm = parts.normalized("conv_norm", relu=False)

    @plain_python
    def call(self, inputs, training=None):
        return self.norm(self.convolution(self.pooled(inputs)), training=training)

    def pooled(self, inputs):
        """What the convolution sees."""
        if self.pool is None:
            return inputs
        if self.strides > 1:
            inputs = tf.pad(inputs, [[0, 0], [0, 1], [0, 1], [0, 0]])
        return self.pool(inputs)


class Block(keras.layers.Layer):
    """Branch + shortcut, then ReLU; subclasses make the branch.

    Args:
        shape: BlockShape.
        parts: Parts.
        name: of the layer.
    """

    expansion = 1  # output channels = expansion * filters

    def __init__(self, shape: BlockShape, parts: Parts, *, name: Optional[str] = None):
        super().__init__(name=name)
        out = shape.filters * self.expansion
        self.shortcut = None
        if shape.project:
            self.shortcut = Shortcut(out, shape, parts.under("shortcut"), name="shortcut")
        self.branch = self.make_branch(shape, parts)
        self.attention = None
        if shape.se_ratio:
            width = max(1, int(shape.filters * shape.se_ratio))
            self.attention = SqueezeExcitation(out, width, parts.under("se"), name="se")

    def make_branch(self, shape, parts):
        """The layers of the branch in order."""
        raise NotImplementedError

    @plain_python
    def call(self, inputs, training=None):
        shortcut = inputs
        if self.shortcut is not None:
            shortcut = self.shortcut(inputs, training=training)
        return self.joined(run_in_order(self.branch, inputs, training), shortcut)

    def joined(self, outputs, shortcut):
        """The output of the branch, weighted by attention if there is one, and the shortcut."""
        if self.attention is not None:
            outputs = self.attention(outputs)
        return tf.nn.relu(outputs + shortcut)


class BasicBlock(Block):
    """Two 3x3 convolutions (ResNet-18 and 34)."""

    def make_branch(self, shape, parts):
        return [
            parts.convolution("conv1", shape.filters, 3, shape.strides),
            parts.normalized("conv1_norm"),
            parts.convolution("conv2", shape.filters, 3),
            parts.normalized("conv2_norm", relu=False, zero_gamma=True),
        ]


class Bottleneck(Block):
    """1x1, 3x3 (with the stride), 1x1 to four times the channels (ResNet-50 and deeper)."""

    expansion = 4

    def make_branch(self, shape, parts):
        filters = shape.filters if shape.inner is None else shape.inner
        strides = shape.strides
        middle = [
            parts.convolution("conv2", filters, 3, strides),
            parts.normalized("conv2_norm"),
        ]
        if shape.sk_ratio:
            inner = parts.under("sk")
            middle = [SelectiveKernel(filters, strides, inner, sk_ratio=shape.sk_ratio, name="sk")]
        return [
            parts.convolution("conv1", filters, 1),
            parts.normalized("conv1_norm"),
            *middle,
            parts.convolution("conv3", 4 * shape.filters, 1),
            parts.normalized("conv3_norm", relu=False, zero_gamma=True),
        ]


class BlockGroup(keras.layers.Layer):
    """Blocks of one resolution; the first has the stride and the projection.

    Args:
        kind: BasicBlock or Bottleneck.
        blocks: number of blocks.
        shape: BlockShape of the first block.
        parts: Parts.
        name: of the layer.
    """

    def __init__(
        self,
        kind: Type[Block],
        blocks: int,
        shape: BlockShape,
        parts: Parts,
        *,
        name: Optional[str] = None,
    ):
        super().__init__(name=name)
        later = dataclasses.replace(shape, strides=1, project=False)
        self.blocks = []
        for i in range(blocks):
            block = f"block{i}"
            self.blocks.append(kind(later if i else shape, parts.under(block), name=block))

    @plain_python
    def call(self, inputs, training=None):
        for block in self.blocks:
            inputs = block(inputs, training=training)
        return inputs


class Stem(keras.layers.Layer):
    """The layers in front of the block groups.

    imagenet: 7x7 stride 2, BN, ReLU, 3x3 max pooling stride 2; with selective kernels three 3x3
    convolutions instead of the 7x7 (ResNet-D). small: 3x3 stride 1, BN, ReLU, no pooling.
    strided: as small with stride 2.

    Args:
        kind: "imagenet", "small" or "strided".
        filters: output channels.
        parts: Parts.
        sk_ratio: selective kernels; 0 is off.
        pool_padding: "same", or "symmetric": one row and column on every side, as torchvision.
        padding: rows and columns of zeros on every side of the image, of the small stem only.
        name: of the layer.
    """

    def __init__(
        self,
        kind: str,
        filters: int,
        parts: Parts,
        *,
        sk_ratio: float = 0.0,
        pool_padding: str = "same",
        padding: int = 1,
        name: Optional[str] = None,
    ):
        super().__init__(name=name)
        self.margin = padding - 1 if kind == "small" else 0  # the convolution pads one itself
        if kind == "small":
            self.layers = [parts.convolution("conv", filters, 3)]
        elif kind == "strided":
            self.layers = [parts.convolution("conv", filters, 3, 2)]
        elif sk_ratio:
            half = max(1, filters // 2)
            self.layers = [
                parts.convolution("conv1", half, 3, 2),
                parts.normalized("conv1_norm"),
                parts.convolution("conv2", half, 3),
                parts.normalized("conv2_norm"),
                parts.convolution("conv3", filters, 3),
            ]
        else:
            self.layers = [parts.convolution("conv", filters, 7, 2)]
        self.norm = parts.normalized("norm")
        self.pool = None
        self.pads_pool = pool_padding == "symmetric"
        if kind == "imagenet":
            padding = "valid" if self.pads_pool else "same"
            self.pool = keras.layers.MaxPooling2D(3, 2, padding=padding)

    @plain_python
    def call(self, images, training=None):
        """Returns the last convolution before BN, and the input of the first block group."""
        initial_conv = run_in_order(self.layers, self.padded(images), training)
        return initial_conv, self.pooled(self.norm(initial_conv, training=training))

    def padded(self, images):
        """What the first convolution sees."""
        if not self.margin:
            return images
        sides = [self.margin, self.margin]
        return tf.pad(images, [[0, 0], sides, sides, [0, 0]])

    def pooled(self, outputs):
        """What the first block group sees of the last normalized convolution."""
        if self.pool is None:
            return outputs
        if self.pads_pool:  # with zeros: after ReLU they never win over a pixel
            outputs = tf.pad(outputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return self.pool(outputs)
