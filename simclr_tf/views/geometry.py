"""Random resized crops: where the windows lie, and crop + resize + flip as two matrix products."""

import math

from simclr_tf.stack import tf
from simclr_tf.views.products import matmul

_TABLE = 1024.0  # TensorFlow's ResizeBicubic rounds sample positions to 1 / 1024 pixel
_EPSILON = 1e-7


def windows(uniforms, height, width, views):
    """Draws crop windows.

    The simclr dialects follow the kernel of `tf.image.sample_distorted_bounding_box` (uniform
    aspect ratio, then uniform height between its limits; paper appendix A),
    torchvision its RandomResizedCrop (uniform area, uniform logarithm of the aspect ratio). The
    first try that fits is taken; if none does, the fallback of that library.

    Args:
        uniforms: pair of float32 [n, tries, 2] and [n, 2] in [0, 1).
        height, width: int32 [] or [n], size of the images.
        views: config.Views.
    Returns:
        int32 [n, 4]: y, x, height, width of the window in pixels.
    """
    tries, place = uniforms
    tall = tf.cast(tf.reshape(height, [-1, 1]), tf.float32)  # [1 or n, 1]
    wide = tf.cast(tf.reshape(width, [-1, 1]), tf.float32)
    law = _torchvision_try if views.aug_impl == "torchvision" else _simclr_try
    fits, high, long = law(tries, tall, wide, views)  # [n, tries] each
    first = tf.argmax(tf.cast(fits, tf.int32), axis=1, output_type=tf.int32)
    chosen = tf.one_hot(first, fits.shape[1])
    found = tf.reduce_any(fits, axis=1, keepdims=True)  # [n, 1]
    spare_high, spare_long = _fallback(tall, wide, views)
    high = tf.where(found, tf.reduce_sum(chosen * high, axis=1, keepdims=True), spare_high)
    long = tf.where(found, tf.reduce_sum(chosen * long, axis=1, keepdims=True), spare_long)
    y = _corner(place[:, :1], tall - high, views)
    x = _corner(place[:, 1:], wide - long, views)
    y = tf.where(found, y, (tall - high) // 2.0)
    x = tf.where(found, x, (wide - long) // 2.0)
    return tf.cast(tf.concat([y, x, high, long], axis=1), tf.int32)


def _simclr_try(u, tall, wide, views):
    aspect = views.crop_aspect_min + u[..., 0] * (views.crop_aspect_max - views.crop_aspect_min)
    area = tall * wide
    area_min = views.crop_area_min * area
    area_max = views.crop_area_max * area
    low = tf.round(tf.sqrt(area_min / aspect))
    top = tf.round(tf.sqrt(area_max / aspect))
    narrow = tf.floor((wide + (0.5 - _EPSILON)) / aspect)  # highest window that is not too wide
    narrow -= tf.cast(tf.round(narrow * aspect) > wide, tf.float32)
    top = tf.where(tf.round(top * aspect) > wide, narrow, top)
    top = tf.minimum(top, tall)
    low = tf.minimum(low, top)
    high = low + tf.floor(u[..., 1] * (top - low + 1.0))
    high += tf.cast(high * tf.round(high * aspect) < area_min, tf.float32)
    high -= tf.cast(high * tf.round(high * aspect) > area_max, tf.float32)
    long = tf.round(high * aspect)
    covered = high * long
    fits = (covered >= area_min) & (covered <= area_max) & (high <= tall) & (long <= wide)
    fits &= covered >= views.covered_min * area
    return fits & (high > 0) & (long > 0), high, long


def _torchvision_try(u, tall, wide, views):
    share = views.crop_area_min + u[..., 1] * (views.crop_area_max - views.crop_area_min)
    low = math.log(views.crop_aspect_min)
    top = math.log(views.crop_aspect_max)
    aspect = tf.exp(low + u[..., 0] * (top - low))
    area = share * tall * wide
    high = tf.round(tf.sqrt(area / aspect))
    long = tf.round(tf.sqrt(area * aspect))
    return (high > 0) & (long > 0) & (high <= tall) & (long <= wide), high, long


def _fallback(tall, wide, views):
    """torchvision: the largest centred window of an allowed aspect ratio; simclr: the image."""
    if views.aug_impl != "torchvision":
        return tall, wide
    narrow = tf.round(wide / views.crop_aspect_min)
    flat = tf.round(tall * views.crop_aspect_max)
    return tf.minimum(tall, narrow), tf.minimum(wide, flat)


def _corner(u, room, views):
    """Offset in [0, room]; the last one is never drawn by the op that simclr uses."""
    choices = room + 1.0 if views.aug_impl == "torchvision" else tf.maximum(room, 1.0)
    return tf.minimum(tf.floor(u * choices), room)


def resize_matrix(start, length, source, target, kind, antialias=False):
    """The linear map from a line of pixels to its resized window.

    Equals `tf.image.resize(line[start : start + length], target, kind, antialias=antialias)`:
    half-pixel centres, weights outside the window dropped and the rest renormalised. With
    antialias, which is that of torchvision and Pillow, a window that shrinks widens its kernel.

    Args:
        start, length: int32 [n], the window.
        source, target: int, pixels of the line and of the result.
        kind: "bicubic" (Keys, a = -0.5) or "bilinear".
        antialias: average over all pixels that a target pixel covers.
    Returns:
        float32 [n, target, source].
    """
    length_f = tf.cast(length, tf.float32)[:, None]
    place = (tf.range(target, dtype=tf.float32) + 0.5) * (length_f / float(target)) - 0.5
    if kind == "bicubic" and not antialias:
        whole = tf.floor(place)
        place = whole + tf.round((place - whole) * _TABLE) / _TABLE
    pixel = tf.range(source)[None, :] - start[:, None]  # [n, source], counted from the window
    inside = (pixel >= 0) & (pixel < length[:, None])
    distance = tf.abs(place[:, :, None] - tf.cast(pixel, tf.float32)[:, None, :])
    if antialias:
        distance /= tf.maximum(length_f / float(target), 1.0)[:, :, None]
    weight = _keys(distance) if kind == "bicubic" else tf.maximum(1.0 - distance, 0.0)
    weight = tf.where(inside[:, None, :], weight, 0.0)
    return weight / tf.reduce_sum(weight, axis=2, keepdims=True)


def _keys(distance):
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return tf.where(distance <= 1.0, near, tf.where(distance < 2.0, far, 0.0))


def crop_resize(images, boxes, flip, image_size, kind, antialias=False):
    """Crops, resizes and flips a batch of whole images by two matrix products.

    Args:
        images: uint8 or float32 [n, h, w, c].
        boxes: int32 [n, 4], see `windows`.
        flip: bool [n], left-right.
        image_size: int, s.
        kind: "bicubic" or "bilinear".
        antialias: see `resize_matrix`.
    Returns:
        float32 [n, s, c, s] on the scale of the input; bicubic weights may overshoot its range.
    """
    lines = tf.transpose(images, [0, 1, 3, 2])  # as uint8: a quarter of the bytes
    return resample(tf.cast(lines, tf.float32), boxes, flip, image_size, kind, antialias)


def resample(planes, boxes, flip, image_size, kind, antialias=False):
    """`crop_resize` for float32 [n, h, c, w]."""
    n, height, channels, width = planes.shape
    rows = resize_matrix(boxes[:, 0], boxes[:, 2], height, image_size, kind, antialias)  # [n, s, h]
    columns = resize_matrix(
        boxes[:, 1], boxes[:, 3], width, image_size, kind, antialias
    )  # [n, s, w]
    columns = tf.where(flip[:, None, None], columns[:, ::-1], columns)
    lines = tf.reshape(planes, [n, height * channels, width])
    across = matmul(lines, columns, transpose_b=True)  # [n, ch, s]
    across = tf.reshape(across, [n, height, channels * image_size])
    return tf.reshape(matmul(rows, across), [n, image_size, channels, image_size])
