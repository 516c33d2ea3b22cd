"""Each colour operator against tf.image at equal factors, on values that overshoot [0, 1]."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.stack import tf
from simclr_tf.views import blur, color

TOLERANCE = 2e-5


def photo_and_noise():
    """float32 [2, 24, 20, 3]: smooth and random, from -0.1 to 1.1, with some grey pixels."""
    rng = np.random.default_rng(0)
    smooth = np.linspace(-0.1, 1.1, 24 * 20 * 3).reshape(24, 20, 3)
    noise = rng.uniform(-0.1, 1.1, (24, 20, 3))
    noise[:4] = noise[:4, :, :1]
    noise[4] = 0.0
    return np.stack([smooth, noise]).astype("float32")


def ours(operator, images, *factor):
    planes = operator(tf.transpose(images, [0, 1, 3, 2]), *factor)
    return tf.transpose(planes, [0, 1, 3, 2])


@pytest.mark.parametrize("factor", [0.0, 0.2, 0.9, 1.0, 1.8, 3.0])
def test_contrast_and_saturation_are_those_of_tf_image(factor):
    images = photo_and_noise()
    want = tf.image.adjust_contrast(images, factor)
    np.testing.assert_allclose(ours(color.contrast, images, factor), want, atol=TOLERANCE)
    want = tf.image.adjust_saturation(images, factor)
    np.testing.assert_allclose(ours(color.saturation, images, factor), want, atol=TOLERANCE)


@pytest.mark.parametrize("delta", [-0.5, -0.2, -0.03, 0.0, 0.11, 0.2, 0.5])
def test_hue_and_brightness_are_those_of_tf_image(delta):
    images = photo_and_noise()
    np.testing.assert_allclose(
        ours(color.hue, images, delta), tf.image.adjust_hue(images, delta), atol=TOLERANCE
    )
    want = tf.image.adjust_brightness(images, delta)
    np.testing.assert_allclose(ours(color.shift_brightness, images, delta), want, atol=TOLERANCE)


def test_grayscale_is_that_of_tf_image():
    images = photo_and_noise()
    want = tf.repeat(tf.image.rgb_to_grayscale(images), 3, axis=-1)
    np.testing.assert_allclose(ours(color.grayscale, images), want, atol=TOLERANCE)


def test_the_dialects_differ_in_brightness():
    image = tf.fill([2, 3, 2], 0.5)
    v1 = color.operators(config.Views(aug_impl="simclr_v1"))[0]
    v2 = color.operators(config.Views())[0]
    np.testing.assert_allclose(v1(image, 0.3), np.full([2, 3, 2], 0.8), atol=1e-6)
    np.testing.assert_allclose(v2(image, 0.3), np.full([2, 3, 2], 0.15), atol=1e-6)
    torchvision = config.Views(aug_impl="torchvision")
    assert color.operators(torchvision)[0] is v2
    assert color.operators(torchvision)[1:3] == (color.blend_contrast, color.blend_saturation)
    before = config.Views(aug_impl="torchvision", torchvision_ops=False)
    assert color.operators(before) == color.operators(config.Views())


def test_factors_may_differ_from_image_to_image():
    images = photo_and_noise()
    for operator in (color.contrast, color.saturation, color.hue, color.scale_brightness):
        both = ours(operator, images, tf.reshape([0.3, 1.4], [2, 1, 1, 1]))
        alone = [ours(operator, images[i : i + 1], f)[0] for i, f in enumerate((0.3, 1.4))]
        np.testing.assert_allclose(both, alone, atol=1e-6)


@pytest.mark.parametrize(
    "size, taps",  # golden numbers of the official kernel at sigma 1
    [(32, [0.451863, 0.274069]), (224, [0.398942, 0.241971, 0.053991])],
)
def test_gaussian_taps_are_golden(size, taps):
    radius = blur.radius_of(size)
    got = blur.gaussian_taps(tf.constant([1.0]), radius)[0].numpy()
    np.testing.assert_allclose(got[: len(taps)], taps, atol=1e-6)
    np.testing.assert_allclose(got[0] + 2 * got[1:].sum(), 1.0, atol=1e-6)


def test_kernel_is_a_tenth_of_the_image():
    assert [2 * blur.radius_of(size) + 1 for size in (224, 96, 64, 32, 16)] == [23, 9, 7, 3, 1]


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_both_forms_of_blur_equal_a_depthwise_convolution(sigma):
    size = 40
    radius = 2
    image = np.random.default_rng(1).uniform(size=(1, size, size, 3)).astype("float32")
    taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    kernel = np.repeat(kernel[:, :, None, None], 3, axis=2).astype("float32")
    want = tf.nn.depthwise_conv2d(image, kernel, [1, 1, 1, 1], "SAME")
    planes = tf.transpose(image, [0, 1, 3, 2])
    shifted = planes[0]
    for axis in (0, 2):
        shifted = blur.along(shifted, axis, tf.constant(sigma), radius)
    np.testing.assert_allclose(tf.transpose(shifted, [0, 2, 1]), want[0], atol=1e-6)
    both = tf.concat([planes, planes], 0)
    product = blur.by_matrices(both, tf.fill([2], sigma), tf.constant([True, False]), radius)
    product = tf.transpose(product, [0, 1, 3, 2])
    np.testing.assert_allclose(product[0], want[0], atol=1e-6)
    np.testing.assert_allclose(product[1], image[0], atol=1e-6)
