"""The ResNet encoder f: images -> h (PAPER.md 1.7)."""

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
STEMS = ("imagenet", "small")
INPUT_NORMS = {  # mean and deviation per channel of images in [0, 1]
    "none": None,
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class ResNet(keras.Model):
    """f: images float [b, h, w, 3] in [0, 1] -> h float32 [b, feature_dim].

    As in the official code: no bias in convolutions, kernels start as a truncated normal of
    variance 1 / fan_in, and the last scale of every residual branch starts at 0.

    Args:
        depth: 10, 18, 34, 50, 101, 152 or 200.
        width_multiplier: factor on the channels; fractions are allowed.
        sk_ratio: selective kernels (SimCLR v2, with the ResNet-D stem and shortcuts); 0 is off.
        se_ratio: squeeze-and-excitation; 0 is off.
        stem: "imagenet" or "small".
        **kwargs: norm ("batch"): "batch", "group" or "layer". global_bn (True):
            BatchNormalization statistics over all replicas. batch_norm_decay (0.9): decay of the
            moving averages. seed (0): of the initial kernels. pool_padding ("same", or
            "symmetric") and input_norm ("none", or "imagenet") make it the network of
            torchvision, see config.Model. Others go to keras.Model.
    Attributes:
        feature_dim: d.
    Raises:
        SettingsError: unknown depth, stem or norm.
    """

    def __init__(
        self, depth=50, width_multiplier=1.0, sk_ratio=0.0, se_ratio=0.0, stem="imagenet", **kwargs
    ):
        if depth not in BLOCKS:
            known = ", ".join(str(key) for key in BLOCKS)
            raise SettingsError(f"resnet_depth={depth} is not known: give one of {known}.")
        if stem not in STEMS:
            raise SettingsError(f"stem={stem} is not known: give one of {', '.join(STEMS)}.")
        self._settings = {
            "depth": depth,
            "width_multiplier": width_multiplier,
            "sk_ratio": sk_ratio,
            "se_ratio": se_ratio,
            "stem": stem,
            "norm": kwargs.pop("norm", "batch"),
            "global_bn": kwargs.pop("global_bn", True),
            "batch_norm_decay": kwargs.pop("batch_norm_decay", 0.9),
            "seed": kwargs.pop("seed", 0),
            "pool_padding": kwargs.pop("pool_padding", "same"),
            "input_norm": kwargs.pop("input_norm", "none"),
        }
        super().__init__(**{"name": "resnet", **kwargs})
        self._make_layers(self._settings)

    def _make_layers(self, settings):
        norm = {
            "kind": settings["norm"],
            "momentum": settings["batch_norm_decay"],
            "global_statistics": settings["global_bn"],
        }
        parts = Parts(norm, settings["seed"])
        sk_ratio = settings["sk_ratio"]
        se_ratio = settings["se_ratio"]
        kind, blocks = BLOCKS[settings["depth"]]
        filters = [max(1, round(64 * 2**i * settings["width_multiplier"])) for i in range(4)]
        self.stem = Stem(
            settings["stem"], filters[0], sk_ratio, parts.under("stem"),
            settings["pool_padding"], name="stem",
        )  # fmt: skip
        self.groups = []
        for i in range(4):
            name = f"block_group{i + 1}"
            shape = BlockShape(filters[i], 2 if i else 1, True, sk_ratio, se_ratio)
            group = BlockGroup(kind, blocks[i], shape, parts.under(name), name=name)
            self.groups.append(group)
        self.feature_dim = filters[3] * kind.expansion

    @plain_python
    def endpoints(self, images, training=None):
        """Every named stage, under the names of the official releases.

        Returns:
            dict: `initial_conv` (before BN) and `initial_max_pool` [b, h', w', c],
            `block_group1` ... `block_group4` [b, h', w', c], `final_avg_pool` float32 [b, d].
        """
        if INPUT_NORMS[self._settings["input_norm"]] is not None:
            mean, deviation = INPUT_NORMS[self._settings["input_norm"]]
            images = (tf.cast(images, tf.float32) - mean) / deviation
        initial_conv, outputs = self.stem(images, training=training)
        found = {"initial_conv": initial_conv, "initial_max_pool": outputs}
        for i, group in enumerate(self.groups):
            outputs = group(outputs, training=training)
            found[f"block_group{i + 1}"] = outputs
        found["final_avg_pool"] = tf.reduce_mean(tf.cast(outputs, tf.float32), [1, 2])
        return found

    @plain_python
    def call(self, images, training=None):
        return self.endpoints(images, training=training)["final_avg_pool"]

    def get_config(self):
        return {"name": self.name, **self._settings}
