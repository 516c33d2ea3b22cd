"""Gaussian blur of float images in [..., height, 3, width] layout, one sigma per image.

Any number of channels may stand where 3 is written.

The kernel is 10 % of the image height (paper appendix A): k = height // 10, radius int(k / 2),
2 * radius + 1 normalised taps. Beyond the border lies zero ('SAME' padding), or the image mirrored
about its outermost pixels, as in torchvision. Two forms of the same arithmetic: banded matrices for
devices that multiply matrices, shifted sums for a CPU.
"""

from simclr_tf.stack import tf
from simclr_tf.views.products import matmul


def radius_of(image_size):
    """Taps on each side of the centre: 11 for 224 pixels, 1 for 32, 0 (no blur) below 20."""
    return image_size // 10 // 2


def gaussian_taps(sigma, radius):
    """Normalised taps at distance 0 ... radius: float32 [..., radius + 1] for sigma [...]."""
    distance = tf.range(radius + 1, dtype=tf.float32)
    taps = tf.exp(-tf.square(distance / tf.expand_dims(sigma, -1)) / 2.0)
    return taps / (2.0 * tf.reduce_sum(taps, axis=-1, keepdims=True) - taps[..., :1])


def by_matrices(images, sigma, applied, radius, mirrored=False):
    """Blurs a batch by two banded matrix products.

    Args:
        images: float32 [n, s, 3, s].
        sigma: float32 [n], in pixels.
        applied: bool [n]; where False the matrix is the identity.
        radius: int.
        mirrored: mirror the image at its border.
    Returns:
        float32 [n, s, 3, s].
    """
    n = tf.shape(images)[0]
    size, channels = (images.shape[-1], images.shape[-2])
    place = tf.range(size)
    to, at = place[:, None], place[None, :]
    taps = tf.where(applied[:, None], gaussian_taps(sigma, radius), tf.one_hot(0, radius + 1))
    taps = tf.pad(taps, [[0, 0], [0, 1]])  # the last entry: too far away

    def tap(distance):
        return tf.gather(taps, tf.minimum(distance, radius + 1), axis=1)

    band = tap(tf.abs(to - at))  # [n, s, s], symmetric unless mirrored
    if mirrored:  # pixel k lies also at -k and at 2 (s - 1) - k, the outermost ones only once
        far = radius + 1
        band += tap(tf.where(at > 0, to + at, far))
        band += tap(tf.where(at < size - 1, 2 * (size - 1) - to - at, far))
    rows = tf.reshape(images, [n, size * channels, size])
    across = matmul(rows, band, transpose_b=True) if mirrored else matmul(rows, band)
    down = matmul(band, tf.reshape(across, [n, size, channels * size]))
    return tf.reshape(down, [n, size, channels, size])


def along(image, axis, sigma, radius, mirrored=False):
    """Blurs one image along one axis by sums of shifted copies.

    A compiled program must store the result before the other axis is blurred (`forms` makes two
    steps of a loop of it): XLA would otherwise compute the first pass anew for each tap.

    Args:
        image: float32 [s, 3, s].
        axis: 0 or 2.
        sigma: float32 [], in pixels.
        radius: int.
        mirrored: mirror the image at its border.
    Returns:
        float32 [s, 3, s].
    """
    size = image.shape[axis]
    taps = gaussian_taps(sigma, radius)
    sides = [[radius, radius] if a == axis else [0, 0] for a in range(3)]
    padded = tf.pad(image, sides, "REFLECT" if mirrored else "CONSTANT")

    def shifted(start):
        index = [slice(None)] * 3
        index[axis] = slice(start, start + size)
        return padded[tuple(index)]

    blurred = taps[0] * shifted(radius)
    for step in range(1, radius + 1):
        blurred += taps[step] * (shifted(radius - step) + shifted(radius + step))
    return blurred
