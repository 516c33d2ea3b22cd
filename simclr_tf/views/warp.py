"""Small rotations and shears, for images such as handwriting, whose slant has no meaning.

Not part of the paper's recipe: off unless asked for.
"""

import math

from simclr_tf import streams
from simclr_tf.stack import tf
from simclr_tf.views import draws, rng


def wanted(views):
    """Whether config.Views asks for a warp."""
    return views.rotate_degrees > 0 or views.shear > 0


def draw(views, seed, rows, u=None):
    """Uniform angles and shears of n views.

    Args:
        views: config.Views.
        seed: int.
        rows: draws.Rows.
        u: float32 [n, 2], the draws "warp" of streams.VIEW, if they are made already.
    Returns:
        float32 [n], radians, and float32 [n], columns per row.
    """
    if u is None:
        first, count = streams.VIEW["warp"]
        u = rng.uniforms(seed, *rows, first=first, count=count)
    u = 2.0 * u - 1.0
    u *= tf.cast(draws.distorted(views, rows), tf.float32)[:, None]
    return u[:, 0] * (views.rotate_degrees * math.pi / 180.0), u[:, 1] * views.shear


def warp(images, angle, shear):
    """Rotates about the centre, then shears along the rows; bilinear, edges are continued.

    Args:
        images: float32 [n, s, s, c].
        angle: float32 [n], radians, counter-clockwise.
        shear: float32 [n]: a row one pixel further down moves this many columns to the right.
    Returns:
        float32 [n, s, s, c].
    """
    n, height, width, channels = images.shape
    middle_y = (height - 1) / 2.0
    middle_x = (width - 1) / 2.0
    y = (tf.range(height, dtype=tf.float32) - middle_y)[None, :, None]
    x = (tf.range(width, dtype=tf.float32) - middle_x)[None, None, :]
    cos = tf.cos(angle)[:, None, None]
    sin = tf.sin(angle)[:, None, None]
    x = x - shear[:, None, None] * y  # where each target pixel comes from: the inverse map
    from_y = tf.clip_by_value(sin * x + cos * y + middle_y, 0.0, height - 1.0)
    from_x = tf.clip_by_value(cos * x - sin * y + middle_x, 0.0, width - 1.0)
    top = tf.floor(from_y)
    left = tf.floor(from_x)
    down = (from_y - top)[..., None]
    right = (from_x - left)[..., None]
    top = tf.cast(top, tf.int32)
    left = tf.cast(left, tf.int32)
    below = tf.minimum(top + 1, height - 1)
    beside = tf.minimum(left + 1, width - 1)
    flat = tf.reshape(images, [n, height * width, channels])

    def pixel(row, column):
        return tf.gather(flat, row * width + column, axis=1, batch_dims=1)

    upper = pixel(top, left) * (1.0 - right) + pixel(top, beside) * right
    lower = pixel(below, left) * (1.0 - right) + pixel(below, beside) * right
    return upper * (1.0 - down) + lower * down
