"""The study operators against their definitions, the asymmetric setting, chosen orders."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from simclr_tf import config, streams
from simclr_tf.errors import SettingsError
from simclr_tf.stack import tf
from simclr_tf.views import device, draws, operators, rng

N = 6
S = 20
SEED = 5
ALL = "crop,rotate,cutout,color,noise,sobel,solarize,equalize,blur,motion_blur"


def images():
    """float32 [N, S, S, 3]: multiples of 1 / 255, one image of a single colour."""
    levels = np.random.default_rng(0).integers(0, 256, (N, S, S, 3))
    levels[1] = 77
    levels[2, :, :10] = 200
    return (levels / 255.0).astype("float32")


def rows(n=N):
    ids = tf.range(n, dtype=tf.int64)
    return draws.Rows(tf.zeros([n], tf.int32), ids, tf.zeros([n], tf.int32))


def apply(name, views=config.Views(), drawn=None):
    """The operator on `images()`, back in [n, s, s, 3], and what was drawn."""
    drawn = operators.draw(views, SEED, rows(), S).of(name) if drawn is None else drawn
    planes = tf.transpose(images(), [0, 1, 3, 2])
    function = operators.OPERATORS[name].function
    run = tf.function(lambda planes: function(planes, drawn, views), jit_compile=True)
    return tf.transpose(run(planes), [0, 1, 3, 2]).numpy(), drawn


def batch(b=4):
    levels = np.random.default_rng(1).integers(0, 256, (b, S, S, 3)).astype("uint8")
    ids = tf.range(b, dtype=tf.int64)
    return {"images": tf.constant(levels), "id": ids, "epoch": tf.zeros([b], tf.int32)}


def test_rotate_turns_by_quarters():
    got, drawn = apply("rotate")
    quarters = np.floor(drawn.u[:, 0].numpy() * 4).astype(int)
    assert len(set(quarters)) > 1
    for image, result, k in zip(images(), got, quarters):
        np.testing.assert_array_equal(result, np.rot90(image, k))


def test_every_quarter_is_drawn_equally_often():
    u = operators.draw(config.Views(), SEED, rows(4000), S).of("rotate").u[:, 0].numpy()
    shares = np.bincount((u * 4).astype(int)) / 4000
    np.testing.assert_allclose(shares, 0.25, atol=0.03)


def test_cutout_blackens_one_square():
    got, drawn = apply("cutout", config.Views(cutout_size=0.4))
    for image, result, (row, column) in zip(images(), got, drawn.u.numpy()):
        top = int(row * S) - 4
        left = int(column * S) - 4
        want = image.copy()
        want[max(top, 0) : top + 8, max(left, 0) : left + 8] = 0
        np.testing.assert_array_equal(result, want)


def test_sobel_is_the_magnitude_of_tf_image():
    edges = tf.image.sobel_edges(tf.constant(images()))
    want = np.minimum(np.sqrt(np.sum(np.square(edges), axis=-1)) / 4, 1)
    np.testing.assert_allclose(apply("sobel")[0], want, atol=1e-5)


def test_solarize_is_that_of_pillow():
    got, _ = apply("solarize", config.Views(solarize_threshold=128 / 255))
    for image, result in zip(images(), got):
        want = ImageOps.solarize(Image.fromarray(np.uint8(np.round(image * 255))), 128)
        np.testing.assert_allclose(result * 255, want, atol=1e-3)


def test_equalize_is_that_of_pillow():
    for image, result in zip(images(), apply("equalize")[0]):
        want = ImageOps.equalize(Image.fromarray(np.uint8(np.round(image * 255))))
        np.testing.assert_allclose(result * 255, want, atol=1e-3)


def test_noise_is_gaussian_with_the_drawn_deviation():
    keys = rng.keys(SEED, *rows(), first=streams.VIEW["operator_keys"].first)
    normal = rng.normals(keys, 60000).numpy()
    np.testing.assert_allclose(normal.mean(1), 0, atol=0.02)
    np.testing.assert_allclose(normal.std(1), 1, atol=0.02)
    quantiles = np.quantile(normal, [0.025, 0.25, 0.75, 0.975])
    np.testing.assert_allclose(quantiles, [-1.96, -0.6745, 0.6745, 1.96], atol=0.02)
    assert np.abs(np.corrcoef(normal) - np.eye(N)).max() < 0.02
    got, drawn = apply("noise", config.Views(noise_sigma_max=0.1))
    sigma = 0.1 * drawn.u[1, 0].numpy()  # of the image of one colour, far from 0 and 1
    np.testing.assert_allclose((got[1] - images()[1]).std(), sigma, rtol=0.1)


def test_motion_blur_is_the_mean_along_a_line():
    got, drawn = apply("motion_blur")
    reach = 1
    for image, result, u in zip(images(), got, drawn.u[:, 0].numpy()):
        want = np.zeros_like(image)
        for step in range(-reach, reach + 1):
            dy = np.round(step * np.sin(np.pi * u))
            dx = np.round(step * np.cos(np.pi * u))
            y = np.clip(np.arange(S) + int(dy), 0, S - 1)
            x = np.clip(np.arange(S) + int(dx), 0, S - 1)
            want += image[y][:, x] / (2 * reach + 1)
        np.testing.assert_allclose(result, want, atol=1e-5)


def test_crop_is_a_resized_window():
    got, drawn = apply("crop")
    for image, result, (y, x, high, long) in zip(images(), got, drawn.boxes.numpy()):
        want = tf.image.resize(image[y : y + high, x : x + long], [S, S], "bicubic")
        np.testing.assert_allclose(result, np.clip(want, 0, 1), atol=5e-6)


@pytest.mark.parametrize(
    "operators",
    [
        ALL,
        pytest.param("noise,blur", marks=pytest.mark.slow),
        pytest.param("motion_blur,crop,color", marks=[pytest.mark.slow, pytest.mark.one_stack]),
    ],
)
def test_both_forms_agree_on_every_operator(operators):
    views = config.Views(operators=operators, study_prob=0.6)
    first, second = (
        device.make_views(views, S, SEED, form=form)(batch()) for form in ("switch", "select")
    )
    # equalize and solarize have steps: a rounding error may move single pixels
    gap = np.abs(first - second)
    assert np.quantile(gap, 0.99) < 5e-6 and gap.mean() < 1e-3


def test_operators_run_in_the_order_given():
    plain = {"flip": False, "study_prob": 1.0, "crop_area_min": 1.0, "crop_aspect_min": 1.0}
    plain.update(crop_aspect_max=1.0, noise_sigma_max=0.0)

    def made(operators):
        views = config.Views(operators=operators, **plain)
        return device.make_views(views, S, SEED, num_views=1, once=True)(batch()).numpy()

    whole = batch()["images"].numpy() / np.float32(255)
    np.testing.assert_allclose(made("noise"), whole, atol=1e-5)
    inverted = np.where(whole >= 0.5, 1 - whole, whole)
    np.testing.assert_allclose(made("solarize"), inverted, atol=1e-5)
    cut = made("cutout")
    np.testing.assert_allclose(
        made("cutout,solarize"), np.where(cut >= 0.5, 1 - cut, cut), atol=1e-5
    )
    assert np.abs(made("rotate,cutout") - made("cutout,rotate")).max() > 0.1


def test_asymmetric_views_share_the_crop_and_only_the_first_is_distorted():
    views = config.Views(operators="color,blur,cutout", asymmetric=True)
    first, second = tf.split(device.make_views(views, S, SEED, once=True)(batch()), 2)
    bare = config.Views(operators="", asymmetric=True)
    same, crop = tf.split(device.make_views(bare, S, SEED, once=True)(batch()), 2)
    np.testing.assert_allclose(second, crop, atol=2e-6)
    np.testing.assert_allclose(same, crop, atol=2e-6)
    assert np.abs(first - crop).mean(axis=(1, 2, 3)).min() > 0.01


@pytest.mark.parametrize("operators", ["color,colour", "blur,blur"])
def test_wrong_operators_are_refused(operators):
    with pytest.raises(SettingsError, match="give any of color, blur, crop"):
        config.Views(operators=operators)
