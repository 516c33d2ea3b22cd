"""Views of images in memory, for notebooks and for other people's pipelines."""

import dataclasses
from typing import Any, Optional

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.stack import tf
from simclr_tf.views import channels, device

_OF_THE_INPUT_PIPELINE = ("auto_augment", "augment_on", "resize_on", "canvas_size")


def make_views(
    images: Any,
    *,
    num_views: int = 2,
    image_size: Optional[int] = None,
    seed: int = 0,
    step: int = 0,
    **settings: Any,
) -> tf.Tensor:
    """Random views of a batch of images, as SimCLR trains on them (arXiv:2002.05709, appendix A).

    Every view is a function of (seed, step, position in the batch, number of the view): the same
    arguments give the same views on every machine. Works in eager mode, in `tf.function` and in
    `tf.data.Dataset.map`; the first call with a shape compiles.

        views = simclr_tf.make_views(images, image_size=32, color_jitter_strength=0.5)
        first, second = tf.split(views, 2)

    Args:
        images: uint8, or float in [0, 1] (rounded to 255 levels), [n, h, w, c]; static shape.
            With other than three channels colour distortion is off.
        num_views: v, views of each image, from 1 to 64.
        image_size: s, side of the views in pixels; default is the shorter side of the images.
        seed: an int from 0 to 2**31 - 1.
        step: an int from 0 to 2**31 - 1; another one gives other views.
        **settings: of `config.Views`, such as crop_area_min, color_jitter_strength, use_blur,
            operators; the names and defaults of the command line.
    Returns:
        float32 [v * n, s, s, c] in [0, 1]: all first views, then all second views, and so on.
    Raises:
        SettingsError: images of another shape, kind or range, an unknown setting, or one that
            works in the input pipeline only.
    """
    images = _as_uint8(images)
    _, height, width, depth = images.shape
    _check_number("num_views", num_views, 1, 64)
    _check_number("seed", seed, 0, 2**31 - 1)
    size = min(height, width) if image_size is None else image_size
    _check_number("image_size", size, 1, 2**15)
    if not tf.is_tensor(step):
        _check_number("step", step, 0, 2**31 - 1)
    views = _views_from(settings)
    if depth != channels.RGB:
        views = channels.without_color(views)
    count = images.shape[0]
    batch = {
        "images": images,
        "id": tf.range(count, dtype=tf.int64),
        "epoch": tf.fill([count], tf.cast(step, tf.int32)),
    }
    return device.make_views(views, size, seed, num_views)(batch)


def _views_from(settings):
    known = [field.name for field in dataclasses.fields(config.Views)]
    known = [name for name in known if name not in _OF_THE_INPUT_PIPELINE]
    for name in settings:
        if name in _OF_THE_INPUT_PIPELINE:
            raise SettingsError(
                f"{name} works in the input pipeline of a training, not on arrays; leave it out."
            )
        if name not in known:
            raise SettingsError(f"unknown setting {name}; known: {', '.join(sorted(known))}.")
    return config.Views(**settings)


def _check_number(name, value, low, high):
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingsError(f"{name}={value!r} is not allowed: give an int from {low} to {high}.")


def _as_uint8(images):
    """uint8 [n, h, w, c] of what `make_views` takes."""
    images = tf.convert_to_tensor(images)
    if images.shape.rank != 4 or None in images.shape.as_list() or 0 in images.shape.as_list():
        raise SettingsError(
            f"images have shape {images.shape}; give [n, h, w, c] with static sizes above 0, such "
            "as images[None] for one image."
        )
    if images.dtype == tf.uint8:
        return images
    if not images.dtype.is_floating:
        raise SettingsError(
            f"images are {images.dtype.name}; give uint8, or float in [0, 1], such as "
            "images.astype('uint8')."
        )
    images = tf.cast(images, tf.float32)
    if tf.executing_eagerly():
        low = float(tf.reduce_min(images))
        high = float(tf.reduce_max(images))
        if not (0.0 <= low and high <= 1.0):
            raise SettingsError(
                f"float images range from {low:.4g} to {high:.4g}; divide them so that they are "
                "in [0, 1], or give uint8."
            )
    return tf.cast(tf.round(tf.clip_by_value(images, 0.0, 1.0) * 255.0), tf.uint8)
