"""The ResNet encoder f: images -> h (arXiv:2002.05709, section 2.1 and appendix B.1)."""

from typing import Any, Dict, Optional

from simclr_tf.errors import SettingsError
from simclr_tf.models.blocks import BasicBlock, BlockGroup, BlockShape, Bottleneck, Stem
from simclr_tf.models.layers import Parts
from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import keras, tf

BLOCKS = {
    10: (BasicBlock, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
    200: (Bottleneck, (3, 24, 36, 3)),
}
STEMS = ("imagenet", "small", "strided")
SHORTCUTS = ("projection", "identity")
INPUT_NORMS = {  # mean and deviation per channel of images in [0, 1]
    "none": None,
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


class ResNet(keras.Model):
    """f: images float [b, h, w, 3] in [0, 1] -> h float32 [b, feature_dim].

    As in the official code: no bias in convolutions, kernels start as a truncated normal of
    variance 1 / fan_in, and the last scale of every residual branch starts at 0.

    Args:
        depth: number of layers: 10, 18, 34, 50, 101, 152 or 200.
        width_multiplier: factor on the number of channels; fractions are allowed.
        sk_ratio: selective kernels (SimCLR v2, with the ResNet-D stem and shortcuts); 0 is off.
        se_ratio: squeeze-and-excitation; 0 is off.
        stem: "imagenet" (7x7 stride 2, then pooling), "small" (3x3, no pooling, for 32x32) or
            "strided" (3x3 stride 2, no pooling).
        norm: "batch", "group" (32 groups) or "layer".
        pool_padding: padding of the imagenet stem's pooling: "same" (TensorFlow) or "symmetric"
            (torchvision).
        first_shortcut: "projection" in the first block of every group, as in the official code, or
            "identity" where the first group keeps its number of channels (depths 10, 18 and 34),
            as in torchvision.
        bottleneck_width: factor on the inner channels of bottleneck blocks alone; 2 is
            torchvision's wide_resnet.
        stem_padding: zeros on every side of the image in the small stem: 1, or 2 as in
            solo-learn.
        input_norm: "none", or the data set whose mean per channel is subtracted first, and by
            whose deviation is divided: "imagenet" as in torchvision, "cifar10" or "cifar100".
        global_bn: BatchNormalization statistics over all replicas.
        batch_norm_decay: decay of the moving averages, in [0, 1].
        seed: of the initial kernels.
        name: of the model.
    Attributes:
        feature_dim: d.
        stem: the layers before the block groups.
        groups: the four block groups, a list.
    Raises:
        SettingsError: unknown depth, stem, norm, first_shortcut or input_norm.
    """

    def __init__(
        self,
        depth: int = 50,
        width_multiplier: float = 1.0,
        *,
        sk_ratio: float = 0.0,
        se_ratio: float = 0.0,
        stem: str = "imagenet",
        norm: str = "batch",
        pool_padding: str = "same",
        first_shortcut: str = "projection",
        bottleneck_width: float = 1.0,
        stem_padding: int = 1,
        input_norm: str = "none",
        global_bn: bool = True,
        batch_norm_decay: float = 0.9,
        seed: int = 0,
        name: Optional[str] = "resnet",
    ):
        if depth not in BLOCKS:
            known = ", ".join(str(key) for key in BLOCKS)
            raise SettingsError(f"resnet_depth={depth} is not known: give one of {known}.")
        if stem not in STEMS:
            raise SettingsError(f"stem={stem} is not known: give one of {', '.join(STEMS)}.")
        if input_norm not in INPUT_NORMS:
            known = ", ".join(INPUT_NORMS)
            raise SettingsError(f"input_norm={input_norm} is not known: give one of {known}.")
        if first_shortcut not in SHORTCUTS:
            known = ", ".join(SHORTCUTS)
            raise SettingsError(f"first_shortcut={first_shortcut} is not known: give one of {known}.")  # fmt: skip
        super().__init__(name=name)
        self._settings = {
            "depth": depth,
            "width_multiplier": width_multiplier,
            "sk_ratio": sk_ratio,
            "se_ratio": se_ratio,
            "stem": stem,
            "norm": norm,
            "pool_padding": pool_padding,
            "first_shortcut": first_shortcut,
            "bottleneck_width": bottleneck_width,
            "stem_padding": stem_padding,
            "input_norm": input_norm,
            "global_bn": global_bn,
            "batch_norm_decay": batch_norm_decay,
            "seed": seed,
        }
        self._input_norm = INPUT_NORMS[input_norm]
        parts = Parts(seed=seed, norm=norm, batch_norm_decay=batch_norm_decay, global_bn=global_bn)
        kind, blocks = BLOCKS[depth]
        filters = [max(1, round(64 * 2**i * width_multiplier)) for i in range(4)]
        self.stem = Stem(
            stem,
            filters[0],
            parts.under("stem"),
            sk_ratio=sk_ratio,
            pool_padding=pool_padding,
            padding=stem_padding,
            name="stem",
        )
        keeps_channels = kind.expansion == 1  # the first group gets what the stem gives
        self.groups = []
        for i in range(4):
            group = f"block_group{i + 1}"
            shape = BlockShape(
                filters=filters[i],
                strides=2 if i else 1,
                project=i > 0 or not keeps_channels or first_shortcut == "projection",
                sk_ratio=sk_ratio,
                se_ratio=se_ratio,
                inner=max(1, round(64 * 2**i * width_multiplier * bottleneck_width)),
            )
            self.groups.append(BlockGroup(kind, blocks[i], shape, parts.under(group), name=group))
        self.feature_dim = filters[3] * kind.expansion

    @plain_python
    def endpoints(self, images: tf.Tensor, training: Optional[bool] = None) -> Dict[str, tf.Tensor]:
        """Every named stage, under the names of the official releases.

        Args:
            images: float [b, h, w, c] in [0, 1].
            training: use batch statistics in BatchNormalization and update its moving averages.
        Returns:
            dict: `initial_conv` (before BN) and `initial_max_pool` [b, h', w', c],
            `block_group1` ... `block_group4` [b, h', w', c], `final_avg_pool` float32 [b, d].
        """
        initial_conv, outputs = self.stem(self.standardised(images), training=training)
        found = {"initial_conv": initial_conv, "initial_max_pool": outputs}
        for i, group in enumerate(self.groups):
            outputs = group(outputs, training=training)
            found[f"block_group{i + 1}"] = outputs
        found["final_avg_pool"] = tf.reduce_mean(tf.cast(outputs, tf.float32), [1, 2])
        return found

    def standardised(self, images: tf.Tensor) -> tf.Tensor:
        """What the stem sees: float32 if the input is normalized, else the images themselves."""
        if self._input_norm is None:
            return images
        mean, deviation = self._input_norm
        return (tf.cast(images, tf.float32) - mean) / deviation

    @plain_python
    def call(self, images: tf.Tensor, training: Optional[bool] = None) -> tf.Tensor:
        return self.endpoints(images, training=training)["final_avg_pool"]

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        return {"name": self.name, **self._settings}
