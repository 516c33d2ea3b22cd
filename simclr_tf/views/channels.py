"""Images that are not RGB: what a run and its views make of their number of channels."""

import dataclasses
import logging

from simclr_tf.errors import DataError, SettingsError

RGB = 3
_LOG = logging.getLogger(__name__)


def adopt(config, given, info):
    """A config for training on images from nothing: the encoder takes their channels.

    Args:
        config: config with the sections model and views.
        given: names of the settings that the user gave.
        info: data.info.SourceInfo of the images.
    Returns:
        the same kind of config; its views without colour operators unless the images are RGB.
    Raises:
        SettingsError: `--image_channels` says something else.
    """
    asked = config.model.image_channels
    if "image_channels" in given and asked != info.channels:
        raise SettingsError(
            f"image_channels={asked}, but the images of {info.name} have {info.channels}; leave "
            "it out."
        )
    model = dataclasses.replace(config.model, image_channels=info.channels)
    return restrict(dataclasses.replace(config, model=model), info.channels)


def restrict(config, channels):
    """A config with a section views, without colour operators unless `channels` is 3; says so."""
    if channels == RGB:
        return config
    _LOG.info(
        "the images have %d channel%s, not RGB, so colour jitter, grayscale and AutoAugment are "
        "switched off",
        channels,
        "s" * (channels > 1),
    )
    return dataclasses.replace(config, views=without_color(config.views))


def check(info, model):
    """Refuses images that an encoder cannot take.

    Args:
        info: SourceInfo or Source of the images; model: config.Model of the encoder.
    Raises:
        DataError: their numbers of channels differ.
    """
    if info.channels != model.image_channels:
        raise DataError(
            f"the images of {info.name} have {info.channels} channels, but the checkpoint was "
            f"trained on {model.image_channels}; give images of the same kind."
        )


def without_color(views):
    """The views of images with other than three channels.

    Colour jitter and grayscale are off, AutoAugment too, whose policies mix both in. Crop, flip,
    blur, rotation and shear stay, and so do the study operators, which see one channel at a time.

    Args:
        views: config.Views.
    Returns:
        the same kind of config.
    """
    return dataclasses.replace(views, color_jitter_strength=0.0, auto_augment="none")
