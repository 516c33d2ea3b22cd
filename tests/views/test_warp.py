"""Small rotations and shears against their definition and against SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from simclr_tf import config
from simclr_tf.stack import tf
from simclr_tf.views import device, warp


def images(n=3, s=9):
    return np.random.default_rng(0).random((n, s, s, 3)).astype(np.float32)


@pytest.mark.parametrize("degrees, shear", [(0.0, 0.0), (20.0, 0.0), (-35.0, 0.3), (90.0, -0.2)])
def test_it_is_the_bilinear_affine_map(degrees, shear):
    x = images()
    angle = np.full(3, np.deg2rad(degrees), np.float32)
    got = tf.function(warp.warp, jit_compile=True)(x, angle, np.full(3, shear, np.float32))
    a = np.deg2rad(degrees)
    matrix = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    matrix = matrix @ np.array([[1.0, 0.0], [-shear, 1.0]])
    offset = 4.0 - matrix @ np.array([4.0, 4.0])
    for image, result in zip(x, got.numpy()):
        for c in range(3):
            want = ndimage.affine_transform(
                image[..., c].astype(np.float64), matrix, offset, order=1, mode="nearest"
            )
            np.testing.assert_allclose(result[..., c], want, atol=1e-5)


def test_a_quarter_turn_is_counter_clockwise():
    x = images()
    got = warp.warp(x, np.full(3, np.pi / 2, np.float32), np.zeros(3, np.float32))
    np.testing.assert_allclose(got, np.rot90(x, axes=(1, 2)), atol=1e-5)


def test_draws_fill_their_range_and_leave_the_recipe_alone():
    views = config.Views(rotate_degrees=20.0, shear=0.3, use_blur=False)
    ids = np.arange(4000)
    batch = {
        "images": np.random.default_rng(1).integers(0, 256, (4000, 8, 8, 3), dtype=np.uint8),
        "id": tf.constant(ids, tf.int64),
        "epoch": tf.zeros(4000, tf.int32),
    }
    rows = device.d.rows_of(batch, 1)
    angle, shear = (x.numpy() for x in warp.draw(views, 0, rows))
    assert abs(np.abs(angle).max() - np.deg2rad(20)) < 1e-3 and abs(angle.mean()) < 0.01
    assert abs(np.abs(shear).max() - 0.3) < 1e-3 and abs(np.corrcoef(angle, shear)[0, 1]) < 0.06
    few = {name: value[:16] for name, value in batch.items()}
    plain = device.make_views(config.Views(use_blur=False), 16, 0, once=True)(few)
    warped = device.make_views(views, 16, 0, once=True)(few)
    np.testing.assert_allclose(
        warped, warp.warp(plain, *warp.draw(views, 0, device.d.rows_of(few, 2))), atol=1e-5
    )
