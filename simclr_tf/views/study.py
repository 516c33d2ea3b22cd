"""The other operators of the paper's studies (section 3.1, appendix B.2), off by default.

The paper gives neither their sizes nor their strengths; the defaults of `config.Views` are ours.
Each function takes a batch float32 [n, s, c, s] in [0, 1], its `operators.OperatorDraws` and
config.Views, and returns the distorted batch; `forms` keeps it where the operator was drawn.

A new operator goes to the end of the file, see docs/contributing.md: the order gives each its
random numbers.
"""

import math

from simclr_tf.stack import tf
from simclr_tf.views import blur, geometry, operators, rng

_LEVELS = 256


@operators.register("crop", settings=("resize", "torchvision_ops"), window=True)
def crop(images, drawn, views):
    """A second random resized crop."""
    flip = tf.zeros_like(drawn.boxes[:, 0], tf.bool)
    size = images.shape[-1]
    exact = views.as_torchvision
    planes = geometry.resample(images, drawn.boxes, flip, size, views.resize, exact)
    return tf.clip_by_value(planes, 0.0, 1.0)


@operators.register("rotate", uniforms=1)
def rotate(images, drawn, views):
    """Turns by 0, 90, 180 or 270 degrees counter-clockwise."""
    del views
    quarter = tf.cast(drawn.u[:, 0] * 4.0, tf.int32)[:, None, None, None]
    turned = images
    for number in (1, 2, 3):
        turned = tf.where(quarter == number, _turn(images, number), turned)
    return turned


def _turn(images, quarters):
    if quarters == 2:
        return images[:, ::-1, :, ::-1]
    swapped = tf.transpose(images, [0, 3, 2, 1])
    return swapped[:, ::-1] if quarters == 1 else swapped[..., ::-1]


@operators.register("cutout", settings=("cutout_size",), uniforms=2)
def cutout(images, drawn, views):
    """Blackens a square whose centre lies anywhere in the image."""
    size = images.shape[-1]
    side = max(1, round(views.cutout_size * size))
    start = tf.cast(drawn.u * size, tf.int32) - side // 2  # [n, 2]
    place = tf.range(size)[None, None, :] - start[..., None]  # [n, 2, s]
    inside = (place >= 0) & (place < side)
    hole = inside[:, 0, :, None, None] & inside[:, 1, None, None, :]
    return tf.where(hole, 0.0, images)


@operators.register("noise", settings=("noise_sigma_max",), uniforms=1, key=True)
def noise(images, drawn, views):
    """Adds Gaussian noise of a random standard deviation."""
    channels, size = images.shape[-2:]
    field = rng.normals(drawn.keys, channels * size * size)
    sigma = (drawn.u[:, 0] * views.noise_sigma_max)[:, None, None, None]
    noisy = images + sigma * tf.reshape(field, [-1, size, channels, size])
    return tf.clip_by_value(noisy, 0.0, 1.0)


@operators.register("sobel")
def sobel(images, drawn, views):
    """Magnitude of `tf.image.sobel_edges` of each channel; a full step between pixels is 1."""
    del drawn, views
    size = images.shape[-1]
    padded = tf.pad(images, [[0, 0], [1, 1], [0, 0], [1, 1]], "REFLECT")
    smooth = (1.0, 2.0, 1.0)
    step = (-1.0, 0.0, 1.0)
    down = _filtered(_filtered(padded, 3, smooth, size), 1, step, size)
    across = _filtered(_filtered(padded, 3, step, size), 1, smooth, size)
    return tf.minimum(tf.sqrt(tf.square(down) + tf.square(across)) / 4.0, 1.0)


def _filtered(padded, axis, weights, size):
    index = [slice(None)] * 4
    total = 0.0
    for start, weight in enumerate(weights):
        index[axis] = slice(start, start + size)
        total += weight * padded[tuple(index)]
    return total


@operators.register("solarize", settings=("solarize_threshold",))
def solarize(images, drawn, views):
    """Inverts what is at least as bright as the threshold."""
    del drawn
    return tf.where(images >= views.solarize_threshold, 1.0 - images, images)


@operators.register("equalize")
def equalize(images, drawn, views):
    """Histogram equalisation of each channel in 256 levels, as `PIL.ImageOps.equalize`."""
    del drawn, views
    levels = tf.cast(tf.round(images * 255.0), tf.int32)
    n, _, channels, size = images.shape
    lines = tf.reshape(tf.transpose(levels, [0, 2, 1, 3]), [n * channels, size * size])
    equal = tf.cast(equalized_levels(lines), tf.float32) / 255.0
    return tf.transpose(tf.reshape(equal, [n, channels, size, size]), [0, 2, 1, 3])


def equalized_levels(lines):
    """Each line of levels int32 [m, pixels] from 0 to 255 with its histogram equalised."""
    m, pixels = lines.shape
    row = tf.range(m)[:, None] * _LEVELS
    counts = tf.math.unsorted_segment_sum(
        tf.ones_like(lines), lines + row, num_segments=m * _LEVELS
    )
    counts = tf.reshape(counts, [m, _LEVELS])
    brightest = tf.gather(counts, tf.reduce_max(lines, axis=1), axis=1, batch_dims=1)
    step = (pixels - brightest)[:, None] // (_LEVELS - 1)  # [m, 1]
    below = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.minimum((step // 2 + below) // tf.maximum(step, 1), _LEVELS - 1)
    table = tf.where(step > 0, table, tf.range(_LEVELS)[None, :])
    return tf.gather(table, lines, axis=1, batch_dims=1)


@operators.register("motion_blur", uniforms=1)
def motion_blur(images, drawn, views):
    """The mean along a line of a random direction, 10 % of the image long; edges continue."""
    del views
    size = images.shape[-1]
    reach = max(1, blur.radius_of(size))
    angle = math.pi * drawn.u[:, 0]
    place = tf.range(size)[None, :]

    def add(step, total):
        along = tf.cast(step - reach, tf.float32)
        down = tf.cast(tf.round(along * tf.sin(angle)), tf.int32)[:, None]
        across = tf.cast(tf.round(along * tf.cos(angle)), tf.int32)[:, None]
        rows = tf.clip_by_value(place + down, 0, size - 1)
        columns = tf.clip_by_value(place + across, 0, size - 1)
        moved = tf.gather(images, rows, axis=1, batch_dims=1)
        return step + 1, total + tf.gather(moved, columns, axis=3, batch_dims=1)

    count = 2 * reach + 1
    start = (0, tf.zeros_like(images))
    _, total = tf.while_loop(lambda step, _: step < count, add, start, maximum_iterations=count)
    return total / float(count)
