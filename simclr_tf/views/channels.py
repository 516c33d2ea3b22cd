"""The recipe for images that are not RGB: everything but the operators that need three colours."""

import dataclasses


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
