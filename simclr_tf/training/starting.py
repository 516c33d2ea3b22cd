"""The weights and views that a training with labels starts from."""

from simclr_tf import config as settings_of
from simclr_tf.models.build import build_encoder, build_head

# how the pretraining cropped, beside flip and crop_area_min, which are settings of other modes too
CROP = ("aug_impl", "crop_area_max", "crop_aspect_min", "crop_aspect_max", "resize")
# of the pretraining's views, what training with labels keeps unless the user says otherwise: crop
# and flip, and the ranges of colour and blur, which are off by default
KEPT_VIEWS = frozenset(CROP) | {
    "flip", "crop_area_min", "jitter_prob", "brightness", "contrast", "saturation", "hue",
    "grayscale_prob", "blur_prob", "blur_sigma_min", "blur_sigma_max",
}  # fmt: skip


def random_parts(config):
    """(encoder, head) with random weights of config.Finetune; call it in the strategy's scope."""
    encoder = build_encoder(config.model, config.data.image_size, config.run.seed)
    return encoder, build_head(config.model, encoder.feature_dim, config.run.seed)


def no_head(encoder):
    """A projection head without layers, for releases that come without their head."""
    model = settings_of.Model(proj_head_mode="none")
    return build_head(model, encoder.feature_dim)
