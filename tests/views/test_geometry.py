"""Windows against the distributions of the reference laws, crop + resize against tf.image."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.stack import tf
from simclr_tf.views import draws, geometry

DEFAULT = config.Views()


def drawn_windows(views, height, width, n=20000):
    rows = draws.Rows(tf.zeros([n], tf.int32), tf.range(n, dtype=tf.int64), tf.zeros([n], tf.int32))
    return geometry.windows(draws.window_uniforms(0, rows), height, width, views).numpy()


def op_windows(height, width, n=4000):
    """The op of the official code, one draw at a time."""
    box = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])

    def one(i):
        start, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            [height, width, 3], box, tf.stack([i, 7]), 0.1, (0.75, 4 / 3), (0.08, 1.0), 100
        )
        return tf.concat([start[:2], size[:2]], 0)

    return tf.function(lambda: tf.map_fn(one, tf.range(n)))().numpy()


def largest_gap(first, second):
    """Kolmogorov-Smirnov distance of two samples."""
    places = np.union1d(first, second)
    at = [np.searchsorted(np.sort(s), places, side="right") / len(s) for s in (first, second)]
    return np.abs(at[0] - at[1]).max()


@pytest.mark.parametrize("height, width", [(32, 32), (375, 500)])
def test_simclr_windows_follow_the_official_op(height, width):
    ours = drawn_windows(DEFAULT, height, width)
    theirs = op_windows(height, width)
    columns = [lambda w, c=c: w[:, c] for c in range(4)] + [
        lambda w: w[:, 2] * w[:, 3],
        lambda w: w[:, 3] / w[:, 2],
    ]
    for c, column in enumerate(columns):
        pair = [w[:, c] if c < 4 else column(w) for w in (ours, theirs)]
        assert largest_gap(*pair) < 1.95 * np.sqrt(1 / 20000 + 1 / 4000)  # p = 0.001


def test_simclr_area_has_the_known_quantiles():
    windows = drawn_windows(DEFAULT, 224, 224)
    area = windows[:, 2] * windows[:, 3] / 224**2
    assert area.min() >= 0.1  # min_object_covered, not crop_area_min
    np.testing.assert_allclose(area.mean(), 0.42, atol=0.01)
    quantiles = np.quantile(area, [0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(quantiles, [0.14, 0.22, 0.39, 0.61, 0.76], atol=0.012)
    np.testing.assert_allclose((windows[:, 3] / windows[:, 2]).mean(), 1.04, atol=0.01)


def test_torchvision_area_has_the_known_quantiles():
    windows = drawn_windows(config.Views(aug_impl="torchvision"), 224, 224)
    area = windows[:, 2] * windows[:, 3] / 224**2
    assert 0.075 < area.min() < 0.1
    np.testing.assert_allclose(area.mean(), 0.48, atol=0.01)
    quantiles = np.quantile(area, [0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(quantiles, [0.16, 0.28, 0.48, 0.68, 0.80], atol=0.012)
    aspect = np.log(windows[:, 3] / windows[:, 2])
    np.testing.assert_allclose(aspect.mean(), 0.0, atol=0.005)


@pytest.mark.parametrize("aug_impl", ["simclr_v2", "torchvision"])
@pytest.mark.parametrize("height, width", [(8, 8), (1, 1), (5, 300), (33, 7)])
def test_windows_lie_inside_images_of_any_shape(aug_impl, height, width):
    views = config.Views(aug_impl=aug_impl, crop_area_min=0.25)
    y, x, high, long = drawn_windows(views, height, width, 2000).T
    assert (y >= 0).all() and (x >= 0).all() and (high >= 1).all() and (long >= 1).all()
    assert (y + high <= height).all() and (x + long <= width).all()


def test_fallback_when_no_window_fits():
    wide = drawn_windows(config.Views(aug_impl="torchvision", crop_area_min=0.99), 10, 40, 50)
    np.testing.assert_array_equal(wide, np.tile([0, 13, 10, 13], [50, 1]))
    whole = drawn_windows(config.Views(crop_area_min=0.99), 10, 40, 50)
    np.testing.assert_array_equal(whole, np.tile([0, 0, 10, 40], [50, 1]))


def test_size_may_differ_from_row_to_row():
    rows = draws.Rows(tf.zeros([6], tf.int32), tf.range(6, dtype=tf.int64), tf.zeros([6], tf.int32))
    uniforms = draws.window_uniforms(0, rows)
    heights = tf.constant([20, 30, 40, 50, 60, 70])
    widths = tf.constant([70, 60, 50, 40, 30, 20])
    together = geometry.windows(uniforms, heights, widths, DEFAULT)
    for i in range(6):
        alone = geometry.windows(uniforms, heights[i], widths[i], DEFAULT)
        np.testing.assert_array_equal(together[i], alone[i])


@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
@pytest.mark.parametrize("source, target", [((32, 32), 32), ((8, 8), 16), ((40, 25), 12)])
def test_crop_resize_equals_slicing_and_tf_image_resize(kind, source, target):
    images = np.random.default_rng(0).integers(0, 256, (12, *source, 3)).astype("uint8")
    boxes = drawn_windows(DEFAULT, *source, n=12)
    flip = np.arange(12) % 2 == 1
    got = geometry.crop_resize(images, tf.constant(boxes), flip, target, kind)
    got = tf.transpose(got, [0, 1, 3, 2]).numpy() / 255
    for image, (y, x, high, long), turned, view in zip(images, boxes, flip, got):
        crop = image[y : y + high, x : x + long].astype("float32") / 255
        want = tf.image.resize(crop, [target, target], kind).numpy()
        np.testing.assert_allclose(view, want[:, ::-1] if turned else want, atol=5e-6)
