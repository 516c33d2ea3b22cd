"""Encoder and head from the settings of the model."""

from typing import Optional, Tuple

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.custom import build_custom
from simclr_tf.models.head import ProjectionHead
from simclr_tf.models.resnet import ResNet
from simclr_tf.models.selection import layer_index
from simclr_tf.stack import keras, tf


def resolve_stem(model: config.Model, image_size: int) -> str:
    """ "small" or "imagenet": what `--stem=auto` means at this image size."""
    if model.stem != "auto":
        return model.stem
    return "small" if image_size <= 32 else "imagenet"


def build_encoder(model: config.Model, image_size: int, seed: int = 0) -> keras.Model:
    """The encoder f, with its variables.

    Args:
        model: config.Model.
        image_size: side of the square input in pixels.
        seed: of the initial kernels.
    Returns:
        Keras model, images float [b, image_size, image_size, c] in [0, 1] -> h float32 [b, d],
        c = `model.image_channels`, with the attribute `feature_dim` = d and the method `endpoints`.
    Raises:
        SettingsError: `--encoder` does not name a usable encoder, or the encoder or
            `--input_norm` needs RGB.
    """
    if model.encoder:
        return build_custom(
            model.encoder,
            image_size,
            seed=seed,
            global_bn=model.global_bn,
            channels=model.image_channels,
        )
    if model.input_norm != "none" and model.image_channels != 3:
        raise SettingsError(
            f"input_norm={model.input_norm} is for RGB, the images have {model.image_channels} "
            "channels; leave it out."
        )
    encoder = ResNet(
        depth=model.resnet_depth,
        width_multiplier=model.width_multiplier,
        sk_ratio=model.sk_ratio,
        se_ratio=model.se_ratio,
        stem=resolve_stem(model, image_size),
        norm=model.norm,
        pool_padding=model.pool_padding,
        first_shortcut=model.first_shortcut,
        bottleneck_width=model.bottleneck_width,
        stem_padding=model.stem_padding,
        input_norm=model.input_norm,
        global_bn=model.global_bn,
        batch_norm_decay=model.batch_norm_decay,
        seed=seed,
    )
    encoder.build((None, image_size, image_size, model.image_channels))
    return encoder


def build_head(
    model: config.Model, feature_dim: Optional[int] = None, seed: int = 0
) -> ProjectionHead:
    """The projection head g.

    Args:
        model: config.Model.
        feature_dim: width of h; if given, the head is returned with its variables.
        seed: of the initial kernels.
    Returns:
        Keras model, h float [b, feature_dim] -> z float32 [b, proj_out_dim].
    """
    head = ProjectionHead(
        mode=model.proj_head_mode,
        num_layers=model.num_proj_layers,
        out_dim=model.proj_out_dim,
        global_bn=model.global_bn,
        batch_norm_decay=model.batch_norm_decay,
        batch_norm=model.proj_bn,
        norm=model.norm,
        seed=seed,
    )
    if feature_dim is not None:
        head(tf.zeros([1, feature_dim]))
    return head


def build_parts(
    pretrain: config.Pretrain, num_classes: int, probe_layer: int = 0
) -> Tuple[keras.Model, ProjectionHead, Optional[LinearClassifier]]:
    """Built encoder, head and probe of a config.Pretrain.

    Args:
        pretrain: config.Pretrain.
        num_classes: of the probe; 0 without labels.
        probe_layer: the layer of `head.outputs` that the probe reads, see `selection.layer_index`.
    Returns:
        encoder, head, and the probe or None.
    """
    size = pretrain.data.image_size
    seed = pretrain.run.seed
    encoder = build_encoder(pretrain.model, size, seed)
    head = build_head(pretrain.model, encoder.feature_dim, seed)  # no image needs to go through
    if not (num_classes and pretrain.training.lineareval_while_pretraining):
        return encoder, head, None
    probe = LinearClassifier(num_classes, seed=seed)
    probe(tf.zeros([1, head.widths(encoder.feature_dim)[layer_index(head, probe_layer)]]))
    return encoder, head, probe
