"""What SimCLR has to beat on the same splits: raw pixels, and the encoder before training."""

import importlib.util

import numpy as np

from simclr_tf.models.build import build_encoder
from simclr_tf.stack import tf

PIXEL_SIDE = 16
COLOR_LEVELS = 8  # of each channel, in the histogram of colours
HOG_SIDE = 64
HOG_FEATURES = 7 * 7 * 4 * 9
MOST_AXES = 256  # principal axes of raw pixels that the linear classifier sees


def pixel_features(images):
    """Raw pixels as features; images above 16x16 are averaged down to it.

    Args:
        images: float [b, s, s, c] in [0, 1].
    Returns:
        float32 [b, d] in [0, 1], d = c * min(s, 16)^2.
    """
    images = tf.cast(images, tf.float32)
    if images.shape[1] > PIXEL_SIDE:
        images = tf.image.resize(images, [PIXEL_SIDE, PIXEL_SIDE], method="area")
    return tf.reshape(images, [-1, images.shape[1] * images.shape[2] * images.shape[3]])


def color_histogram(images):
    """Shares of the pixels in 8 x 8 x 8 boxes of colours, as their square roots.

    Args:
        images: float [b, s, s, 3] in [0, 1].
    Returns:
        float32 [b, 512], rows of length 1.
    """
    level = tf.cast(tf.clip_by_value(images * COLOR_LEVELS, 0, COLOR_LEVELS - 1), tf.int32)
    box = (level[..., 0] * COLOR_LEVELS + level[..., 1]) * COLOR_LEVELS + level[..., 2]
    box = tf.reshape(box, [-1, images.shape[1] * images.shape[2]])
    rows = tf.shape(box)[0]
    boxes = COLOR_LEVELS**3
    places = tf.reshape(tf.range(rows)[:, None] * boxes + box, [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(places, tf.float32), places, rows * boxes)
    shares = tf.reshape(counts, [rows, boxes]) / tf.cast(tf.shape(box)[1], tf.float32)
    return tf.ensure_shape(tf.sqrt(shares), [None, boxes])


def has_hog():
    """Whether scikit-image is installed, which computes the histograms of oriented gradients."""
    return importlib.util.find_spec("skimage") is not None


def hog_features(images):
    """Histograms of oriented gradients (Dalal and Triggs, 2005), by scikit-image.

    Images are resized to 64 x 64: 8 x 8 cells of 9 directions, blocks of 2 x 2 cells.

    Args:
        images: float [b, s, s, 3] in [0, 1].
    Returns:
        float32 [b, 1764].
    """
    images = tf.image.resize(tf.cast(images, tf.float32), [HOG_SIDE, HOG_SIDE], "area" if images.shape[1] > HOG_SIDE else "bilinear")  # fmt: skip
    found = tf.numpy_function(_hog, [images], tf.float32)
    return tf.ensure_shape(found, [images.shape[0], HOG_FEATURES])


def handmade(channels):
    """{name: function} of the features of RGB images that people thought of; {} of other images.

    Args:
        channels: of the images.
    """
    if channels != 3:
        return {}
    return {"color": color_histogram, **({"hog": hog_features} if has_hog() else {})}


def _hog(images):
    from skimage.feature import hog

    cell = HOG_SIDE // 8
    rows = [
        hog(image, pixels_per_cell=(cell, cell), cells_per_block=(2, 2), channel_axis=-1)
        for image in images
    ]
    return np.asarray(rows, np.float32)


def untrained_encoder(model, image_size, seed):
    """The encoder as it is before training, in its strongest form.

    Two choices favour this baseline. The scales that start at zero (the last BatchNormalization
    of every residual branch) are set to one: at zero all residual branches are off, and what is
    left is a much weaker net. The statistics stay at mean 0 and variance 1: measured on the data,
    they make every layer of a random net spread its input further, which loses accuracy. On the
    digits (ResNet-18, width 0.25, one label per class, mean of three seeds) the four combinations
    give 0.50 for this one, 0.27 for measured statistics, and with the scales at zero 0.27 and,
    with measured statistics, 0.31.

    Args:
        model: config.Model.
        image_size: pixels.
        seed: int, of the initial kernels.
    Returns:
        built Keras model, images float [b, s, s, 3] -> h float [b, d]; use `training=False`.
    """
    encoder = build_encoder(model, image_size, seed)
    for part in encoder.submodules:
        if hasattr(part, "moving_variance") and part.gamma is not None:
            part.gamma.assign(tf.ones_like(part.gamma))
    return encoder


class Standardiser:
    """(h - mean) / deviation per feature, with statistics of unlabelled training features.

    Works on tensors and NumPy arrays [b, d]. Deviations below a tenth of their root mean square
    are raised to it, so that features that hardly ever vary do not explode when they do.
    """

    def __init__(self, features):
        """Args: features: float [n, d] of training images."""
        features = np.asarray(features, np.float64)
        deviation = features.std(axis=0)
        floor = 0.1 * np.sqrt(np.mean(deviation**2)) or 1.0
        self.mean = features.mean(axis=0).astype(np.float32)
        self.deviation = np.maximum(deviation, floor).astype(np.float32)

    def __call__(self, features):
        return (features - self.mean) / self.deviation


class PrincipalAxes:
    """Rotates standardised features to the axes of most variance, and drops the others.

    A rotation changes neither a distance nor a penalty on weights, so a linear classifier loses
    only what the dropped axes held.

    Args:
        features: float [n, d] of training images.
        most: axes kept at most.
    """

    def __init__(self, features, most=MOST_AXES):
        features = np.asarray(features, np.float64)
        _, axes = np.linalg.eigh(features.T @ features)
        self.axes = axes[:, ::-1][:, :most].astype(np.float32)

    def __call__(self, features):
        """float [m, d] -> float32 [m, min(d, most)]."""
        return np.asarray(features, np.float32) @ self.axes
