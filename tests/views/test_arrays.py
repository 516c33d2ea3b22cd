"""make_views on arrays: shapes, kinds, randomness, refusals."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.stack import tf
from simclr_tf.views import device
from simclr_tf.views.arrays import make_views

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 18, 24, 3)).astype("uint8")


def test_views_are_those_of_the_train_step():
    batch = {
        "images": tf.constant(IMAGES),
        "id": tf.range(3, dtype=tf.int64),
        "epoch": tf.fill([3], 7),
    }
    want = device.make_views(config.Views(color_jitter_strength=0.5), 16, 4, 3)(batch)
    got = make_views(IMAGES, num_views=3, image_size=16, seed=4, step=7, color_jitter_strength=0.5)
    assert got.shape == (9, 16, 16, 3) and got.dtype == tf.float32
    np.testing.assert_array_equal(got, want)


def test_kinds_of_images_give_the_same_views():
    want = make_views(IMAGES)
    assert want.shape == (6, 18, 18, 3)
    np.testing.assert_array_equal(make_views(IMAGES / 255.0), want)
    np.testing.assert_array_equal(make_views(tf.constant(IMAGES)), want)
    mapped = tf.data.Dataset.from_tensors(IMAGES).map(lambda images: make_views(images))
    np.testing.assert_array_equal(next(iter(mapped)), want)


def test_seed_and_step_choose_the_views():
    one = make_views(IMAGES)
    for other in (make_views(IMAGES, seed=1), make_views(IMAGES, step=1)):
        assert np.abs(one - other).mean(axis=(1, 2, 3)).min() > 0.01
    np.testing.assert_array_equal(
        make_views(IMAGES, step=tf.constant(1)), make_views(IMAGES, step=1)
    )


def test_images_of_one_channel_keep_it():
    assert make_views(IMAGES[..., :1], num_views=1, image_size=8).shape == (3, 8, 8, 1)


@pytest.mark.parametrize(
    "images, settings, message",
    [
        (IMAGES[0], {}, r"shape \(18, 24, 3\); give \[n, h, w, c\]"),
        (IMAGES.astype("int32"), {}, "images are int32; give uint8"),
        (IMAGES.astype("float32"), {}, "float images range from 0 to 255; divide them"),
        (IMAGES, {"colour": 1.0}, "unknown setting colour; known: "),
        (IMAGES, {"resize_on": "host"}, "resize_on works in the input pipeline"),
        (IMAGES, {"num_views": 0}, "num_views=0 is not allowed: give an int from 1 to 64"),
        (IMAGES, {"seed": -1}, "seed=-1 is not allowed"),
        (IMAGES, {"crop_area_min": 2.0}, "crop_area_min=2.0 is not allowed"),
    ],
)
def test_wrong_arguments_are_refused(images, settings, message):
    with pytest.raises(SettingsError, match=message):
        make_views(images, **settings)
