"""The encoder and the projection head."""

import dataclasses

from simclr_tf.config.fields import Section, setting


@dataclasses.dataclass(frozen=True)
class Model(Section):
    """The encoder f and the projection head g."""

    encoder: str = setting("", "Your own encoder instead of a ResNet: package.module:function that returns a Keras model (images to vector), or applications:NAME of keras.applications.")  # fmt: skip
    image_channels: int = setting(3, "Channels of the images; it need not be given: .npy files tell it, all others are RGB.", minimum=1, maximum=16)  # fmt: skip
    resnet_depth: int = setting(50, "Layers of the ResNet encoder; 10 (one block per stage) is not of the paper, for trials on a small machine.", allowed=(10, 18, 34, 50, 101, 152, 200))  # fmt: skip
    width_multiplier: float = setting(1.0, "Factor on the number of channels; fractions such as 0.25 are allowed.", above=0.0, maximum=16.0)  # fmt: skip
    sk_ratio: float = setting(0.0, "Selective kernels (SimCLR v2): 0.0625 turns them on, 0 off.", minimum=0.0, maximum=1.0)  # fmt: skip
    se_ratio: float = setting(0.0, "Squeeze-and-excitation ratio; 0 is off.", minimum=0.0, maximum=1.0)  # fmt: skip
    stem: str = setting("auto", "auto: small (3x3, no pooling) up to image_size 32, else imagenet (7x7, pooling).", allowed=("auto", "small", "imagenet"))  # fmt: skip
    norm: str = setting("batch", "Normalization of the ResNet and the head: batch (the paper), group (32 groups) or layer; the latter two see one image at a time, which suits small batches and --cached_batch_size.", allowed=("batch", "group", "layer"))  # fmt: skip
    pool_padding: str = setting("same", "Padding of the imagenet stem's pooling: same (TensorFlow, as the official code) or symmetric (torchvision).", allowed=("same", "symmetric"))  # fmt: skip
    input_norm: str = setting("none", "What the ResNet does to images in [0, 1] first: none, or imagenet: subtract ImageNet's mean per channel and divide by its deviation, as torchvision.", allowed=("none", "imagenet"))  # fmt: skip
    global_bn: bool = setting(True, "BatchNormalization statistics over all replicas.")
    batch_norm_decay: float = setting(0.9, "Decay of the BatchNormalization moving averages.", minimum=0.0, maximum=1.0)  # fmt: skip
    proj_head_mode: str = setting("nonlinear", "Projection head.", allowed=("none", "linear", "nonlinear"))  # fmt: skip
    num_proj_layers: int = setting(2, "Layers of the nonlinear head: 2 in the paper (v1), 3 in SimCLR v2.", minimum=1, maximum=4)  # fmt: skip
    proj_out_dim: int = setting(128, "Size of the projection z.", minimum=1)
    proj_bn: str = setting("all", "BatchNormalization of the head: after all layers (as the official code), after the hidden ones, or none (hidden layers then have biases).", allowed=("all", "hidden", "none"))  # fmt: skip
