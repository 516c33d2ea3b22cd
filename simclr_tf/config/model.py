"""The encoder and the projection head."""

import dataclasses

from simclr_tf.config.fields import Section, setting
from simclr_tf.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class Model(Section):
    """The encoder f and the projection head g."""

    encoder: str = setting("", "Your own encoder instead of a ResNet: package.module:function that returns a Keras model (images to vectors), or applications:NAME of keras.applications.", basic=True)  # fmt: skip
    image_channels: int = setting(3, "Channels of the images. Rarely needed: .npy files say how many they have, all others are RGB.", minimum=1, maximum=16)  # fmt: skip
    resnet_depth: int = setting(50, "Layers of the ResNet. 10 (one block per stage) is not in the paper; it is for trials on a small machine.", basic=True, allowed=(10, 18, 34, 50, 101, 152, 200))  # fmt: skip
    width_multiplier: float = setting(1.0, "Factor on the number of channels, such as 2 or 0.25.", basic=True, above=0.0, maximum=16.0)  # fmt: skip
    sk_ratio: float = setting(0.0, "Selective kernels (SimCLR v2): 0.0625 as published; 0 is off.", minimum=0.0, maximum=1.0)  # fmt: skip
    se_ratio: float = setting(0.0, "Squeeze-and-excitation ratio; 0 is off.", minimum=0.0, maximum=1.0)  # fmt: skip
    stem: str = setting("auto", "First layers of the ResNet. small: 3x3 convolution without pooling; strided: the same with stride 2, a quarter of the work; imagenet: 7x7 and pooling; auto: small up to image_size 32.", allowed=("auto", "small", "strided", "imagenet"))  # fmt: skip
    norm: str = setting("batch", "Normalization of ResNet and head. batch: as in the paper; group (32 groups) and layer see one image at a time, which suits small batches and --cached_batch_size.", allowed=("batch", "group", "layer"))  # fmt: skip
    pool_padding: str = setting("same", "Padding of the pooling in the imagenet stem. same: as in the official code; symmetric: as in torchvision.", allowed=("same", "symmetric"))  # fmt: skip
    first_shortcut: str = setting("projection", "Shortcut of the first block of a ResNet-10, 18 or 34. projection: as in the official code; identity: as in torchvision.", allowed=("projection", "identity"))  # fmt: skip
    bottleneck_width: float = setting(1.0, "Factor on the inner channels of bottleneck blocks alone; 2 is torchvision's wide_resnet.", above=0.0, maximum=16.0)  # fmt: skip
    stem_padding: int = setting(1, "Zeros on every side of the image in the small stem. 1 keeps the size; 2 is solo-learn's ResNet for CIFAR.", allowed=(1, 2))  # fmt: skip
    input_norm: str = setting("none", "Input scaling of the ResNet. none: images in [0, 1]; imagenet: standardized with ImageNet's mean and deviation per channel, as in torchvision; cifar10, cifar100: with theirs.", allowed=("none", "imagenet", "cifar10", "cifar100"))  # fmt: skip
    global_bn: bool = setting(True, "Compute BatchNormalization statistics over all replicas.")
    batch_norm_decay: float = setting(0.9, "Decay of the moving averages of BatchNormalization.", minimum=0.0, maximum=1.0)  # fmt: skip
    proj_head_mode: str = setting("nonlinear", "Projection head: nonlinear (as in the paper), linear or none.", allowed=("none", "linear", "nonlinear"))  # fmt: skip
    num_proj_layers: int = setting(2, "Layers of the nonlinear head: 2 in SimCLR v1, 3 in SimCLR v2.", minimum=1, maximum=4)  # fmt: skip
    proj_out_dim: int = setting(128, "Length of the projection z.", minimum=1)
    proj_bn: str = setting("all", "Layers of the head with BatchNormalization: all (as in the official code), hidden, or none. Hidden layers without it have biases.", allowed=("all", "hidden", "none"))  # fmt: skip

    def check(self):
        if self.bottleneck_width != 1 and self.resnet_depth < 50:
            raise SettingsError(
                f"bottleneck_width={self.bottleneck_width:g} is for resnet_depth 50 and deeper; "
                f"resnet_depth={self.resnet_depth} has no bottleneck blocks, give "
                "width_multiplier instead."
            )
