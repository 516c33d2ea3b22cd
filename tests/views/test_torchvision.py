"""--aug_impl=torchvision against torchvision's formulas, written in float64 NumPy.

The formulas were compared with torchvision 0.29.1 at the same factors: 1e-6 at most.
"""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.stack import tf
from simclr_tf.views import blur, color, device, draws, geometry, host

VIEWS = config.Views(aug_impl="torchvision")
LUMA = np.array([0.2989, 0.587, 0.114])
SEED = 3


def grey(image):
    return (image * LUMA).sum(-1, keepdims=True)


def blend(image, other, factor):
    return np.clip(factor * image + (1 - factor) * other, 0, 1)


def turn_hue(image, delta):
    """Through HSV, as in torchvision's `adjust_hue` of tensors."""
    high = image.max(-1)
    chroma = high - image.min(-1)
    some = np.where(chroma > 0, chroma, 1)
    red, green, blue = (((high - image[..., c]) / some) for c in range(3))
    hue = np.where(image[..., 1] == high, 2 + red - blue, 4 + green - red)
    hue = np.where(image[..., 0] == high, blue - green, hue)
    hue = (hue / 6 + 1 + delta) % 1.0
    s = chroma / np.where(high > 0, high, 1)
    sector = np.floor(hue * 6)
    f = hue * 6 - sector
    p, q, t = high * (1 - s), high * (1 - s * f), high * (1 - s * (1 - f))
    corners = [(high, t, p), (q, high, p), (p, high, t), (p, q, high), (t, p, high), (high, p, q)]
    found = np.zeros_like(image)
    for i, corner in enumerate(corners):
        found = np.where((sector % 6 == i)[..., None], np.stack(corner, -1), found)
    return np.clip(found, 0, 1)


def smooth(image, sigma, radius):
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    size = len(image)
    padded = np.pad(image, [(radius, radius), (radius, radius), (0, 0)], mode="reflect")
    rows = sum(t * padded[k : k + size] for k, t in enumerate(taps))
    return sum(t * rows[:, k : k + size] for k, t in enumerate(taps))


def resize_line(source, target, kind):
    """[target, source] weights of an antialiased resize."""
    scale = source / target
    centre = scale * (np.arange(target) + 0.5)
    x = np.abs((np.arange(source) + 0.5 - centre[:, None]) / max(scale, 1.0))
    if kind == "bilinear":
        weight = np.maximum(1 - x, 0)
    else:
        near = (1.5 * x - 2.5) * x * x + 1
        far = ((-0.5 * x + 2.5) * x - 4) * x + 2
        weight = np.where(x < 1, near, np.where(x < 2, far, 0))
    return weight / weight.sum(1, keepdims=True)


def resize(image, size, kind):
    down = resize_line(image.shape[0], size, kind)
    across = resize_line(image.shape[1], size, kind)
    return np.einsum("ih,jw,hwc->ijc", down, across, image)


def jitter(image, factors, order):
    """The four operators of ColorJitter by their numbers in `draws`."""
    for code in order:
        if code == draws.BRIGHTNESS:
            image = np.clip(image * factors[0], 0, 1)
        elif code == draws.CONTRAST:
            image = blend(image, grey(image).mean(), factors[1])
        elif code == draws.SATURATION:
            image = blend(image, grey(image), factors[2])
        else:
            image = turn_hue(image, factors[3])
    return image


def photo(height=24, width=24, seed=0):
    random = np.random.default_rng(seed)
    image = random.uniform(size=(height, width, 3))
    image[:3] = image[:3, :, :1]  # grey pixels
    image[3] = 0.0
    return image


def ours(operator, image, *factor):
    planes = operator(tf.transpose(tf.constant(image, tf.float32), [0, 2, 1]), *factor)
    return tf.transpose(planes, [0, 2, 1]).numpy()


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.8])
def test_contrast_and_saturation_blend_with_grey(factor):
    image = photo()
    got = np.clip(ours(color.blend_contrast, image, factor), 0, 1)
    np.testing.assert_allclose(got, blend(image, grey(image).mean(), factor), atol=1e-5)
    got = np.clip(ours(color.blend_saturation, image, factor), 0, 1)
    np.testing.assert_allclose(got, blend(image, grey(image), factor), atol=1e-5)


@pytest.mark.parametrize("delta", [-0.5, -0.13, 0.0, 0.2, 0.5])
def test_hue_is_that_of_hsv(delta):
    image = photo()
    np.testing.assert_allclose(ours(color.hue, image, delta), turn_hue(image, delta), atol=1e-5)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("size", [40, 64])
def test_both_forms_of_blur_mirror_the_border(sigma, size):
    image = photo(size, size)
    radius = blur.radius_of(size)
    want = smooth(image, sigma, radius)
    planes = tf.transpose(tf.constant(image, tf.float32), [0, 2, 1])
    shifted = planes
    for axis in (0, 2):
        shifted = blur.along(shifted, axis, tf.constant(sigma), radius, mirrored=True)
    np.testing.assert_allclose(tf.transpose(shifted, [0, 2, 1]), want, atol=1e-5)
    both = blur.by_matrices(
        tf.stack([planes, planes]), tf.fill([2], sigma), tf.constant([True, False]), radius, True
    )
    both = tf.transpose(both, [0, 1, 3, 2])
    np.testing.assert_allclose(both[0], want, atol=1e-5)
    np.testing.assert_allclose(both[1], image, atol=1e-5)


@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
@pytest.mark.parametrize("window", [(0, 0, 50, 40), (3, 5, 31, 29), (10, 10, 7, 9)])
def test_device_and_host_resize_with_antialias(kind, window):
    y, x, high, long = window
    image = photo(50, 40)
    pixels = np.round(255 * image)
    want = resize(pixels[y : y + high, x : x + long], 16, kind)
    boxes = tf.constant([window])
    got = geometry.crop_resize(
        pixels[None].astype("uint8"), boxes, np.array([False]), 16, kind, True
    )
    np.testing.assert_allclose(tf.transpose(got[0], [0, 2, 1]), want, atol=255e-5)
    views = config.Views(aug_impl="torchvision", resize=kind)
    crops = host.host_crops(tf.constant(pixels, tf.uint8), boxes, {}, SEED, views, 16)
    assert np.abs(np.float64(crops[0]) - np.clip(want, 0, 255)).max() <= 0.5 + 255e-5


@pytest.mark.parametrize("form", ["switch", "select"])
def test_whole_views_are_those_of_torchvision(form):
    """Crop, jitter, grayscale and blur at the drawn factors; 1e-5."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 48, 40, 3)).astype("uint8")
    batch = {
        "images": tf.constant(images),
        "id": tf.range(6, dtype=tf.int64) * 7 + 1,
        "epoch": tf.fill([6], 4),
    }
    rows = draws.rows_of(batch, 2)
    drawn = draws.draw(VIEWS, SEED, rows)
    assert np.any(drawn.jitter) and np.any(drawn.grayscale) and np.any(drawn.blur)
    boxes = geometry.windows(draws.window_uniforms(SEED, rows), 48, 40, VIEWS).numpy()
    got = device.make_views(VIEWS, 24, SEED, form=form)(batch).numpy()
    for i, (y, x, high, long) in enumerate(boxes):
        image = images[i % 6, y : y + high, x : x + long] / 255
        image = np.clip(resize(image, 24, "bicubic"), 0, 1)
        image = image[:, ::-1] if drawn.flip[i] else image
        factors = np.float64(drawn.factors[i])
        if drawn.jitter[i]:
            image = jitter(image, factors, drawn.order[i].numpy())
        if drawn.grayscale[i]:
            image = np.repeat(grey(image), 3, axis=-1)
        if drawn.blur[i]:
            image = smooth(image, factors[draws.BLUR], blur.radius_of(24))
        np.testing.assert_allclose(got[i], np.clip(image, 0, 1), atol=1e-5)


def test_a_run_of_an_earlier_version_keeps_its_operators():
    stored = config.build_stored(config.Pretrain, {"aug_impl": "torchvision"})
    assert not stored.views.as_torchvision
    assert config.Views(aug_impl="torchvision").as_torchvision
    assert not config.Views().as_torchvision
