"""AutoAugment: the operators against Pillow and tensorflow-addons, the draws against the tables."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from simclr_tf import config, stack
from simclr_tf.data import info, source
from simclr_tf.errors import SettingsError
from simclr_tf.stack import tf
from simclr_tf.views import batches, device, draws, host, policy

try:
    ADDONS = stack.load_addons("the test") is not None
except SettingsError:
    ADDONS = False
needs_addons = pytest.mark.skipif(not ADDONS, reason="tensorflow-addons has no release here")
S = 20


def image():
    coarse = np.random.default_rng(0).integers(20, 230, (5, 5, 3)).astype("uint8")
    return np.asarray(Image.fromarray(coarse).resize((S, S), Image.Resampling.BICUBIC))


def apply(name, magnitude):
    return policy.make_operators(S)[name](tf.constant(image()), tf.constant(magnitude)).numpy()


PILLOW = {
    ("Brightness", -0.5): lambda im: ImageEnhance.Brightness(im).enhance(0.55),
    ("Color", 0.7): lambda im: ImageEnhance.Color(im).enhance(1.63),
    ("Contrast", 1.0): lambda im: ImageEnhance.Contrast(im).enhance(1.9),
    ("Sharpness", 0.5): lambda im: ImageEnhance.Sharpness(im).enhance(1.45),
    ("Posterize", 7 / 9): lambda im: ImageOps.posterize(im, 5),
    ("Solarize", 5 / 9): lambda im: ImageOps.solarize(im, 114),
    ("AutoContrast", 0.0): lambda im: ImageOps.autocontrast(im),
    ("Equalize", 0.0): lambda im: ImageOps.equalize(im),
    ("Invert", 0.0): lambda im: ImageOps.invert(im),
}


@pytest.mark.parametrize("name, magnitude", PILLOW)
def test_colours_are_those_of_pillow(name, magnitude):
    want = np.float32(PILLOW[name, magnitude](Image.fromarray(image())))
    np.testing.assert_allclose(apply(name, magnitude), want, atol=2)


def test_shifts_shears_and_rotations_move_pixels_and_leave_grey():
    shift = int(150 / 331 * S * 7 / 9)
    moved = apply("TranslateX", 7 / 9)
    np.testing.assert_array_equal(moved[:, shift:], image()[:, :-shift])
    assert (moved[:, :shift] == 128).all()
    moved = apply("TranslateY", -7 / 9)
    np.testing.assert_array_equal(moved[:-shift], image()[shift:])
    assert (moved[-shift:] == 128).all()
    y, x = np.mgrid[:S, :S]
    sheared = apply("ShearX", 0.9)
    source_x = np.rint(x + 0.27 * y).astype(int)
    inside = source_x < S
    np.testing.assert_array_equal(sheared[inside], image()[y[inside], source_x[inside]])
    assert (sheared[~inside] == 128).all()
    turned = apply("Rotate", 0.5)
    angle = np.radians(15)
    c = (S - 1) / 2
    from_x = np.rint(c + np.cos(angle) * (x - c) - np.sin(angle) * (y - c)).astype(int)
    from_y = np.rint(c + np.sin(angle) * (x - c) + np.cos(angle) * (y - c)).astype(int)
    inside = (from_x >= 0) & (from_x < S) & (from_y >= 0) & (from_y < S)
    same = (turned[inside] == image()[from_y[inside], from_x[inside]]).all(-1)
    assert same.mean() > 0.97 and (turned[~inside] == 128).all()


@pytest.mark.parametrize("name", sorted(policy.POLICIES))
def test_operators_are_drawn_as_the_tables_say(name):
    n = 20000
    table = [line.split() for line in policy.POLICIES[name].strip().splitlines()]
    assert len(table) == 25 and all(len(line) == 6 for line in table)
    rows = draws.Rows(tf.zeros([n], tf.int32), tf.range(n, dtype=tf.int64), tf.zeros([n], tf.int32))
    codes, _, signs = policy._draw(config.Views(auto_augment=name), 3, rows)
    want = np.zeros(len(policy.NAMES))
    for line in table:
        for at in (0, 3):
            want[policy.NAMES.index(line[at])] += float(line[at + 1]) / 25
    got = np.bincount(np.ravel(codes), minlength=15)[:14] / n
    np.testing.assert_allclose(got, want, atol=0.015)
    assert abs(np.mean(signs)) < 0.02


def test_batches_of_small_and_large_images_get_the_policy():
    views = config.Views(auto_augment="cifar10", operators="", flip=False)
    images = np.random.default_rng(0).integers(0, 256, (12, S, S, 3)).astype("uint8")
    small = source.ArraySource(info.Facts("t", 12, (), "0", (S, S, 3)), images, np.zeros(12))
    batch = next(iter(batches.train_batches(small, views, S, 12, seed=5)))
    assert batch["images"].shape == (12, 2, S, S, 3)
    one = {name: batch[name][3:4] for name in ("id", "epoch")}
    plain = config.Views(operators="", flip=False)
    example = {name: v[0] for name, v in {**one, **host.window_draws(one, 5, plain)}.items()}
    image = images[int(one["id"][0])]
    windows = host.windows_of(example, plain)
    distorted = host.host_crops(image, windows(S, S), example, 5, views, S)
    np.testing.assert_array_equal(distorted, batch["images"][3])
    whole = batches.train_batches(small, plain, S, 12, seed=5)
    crops = device.make_views(plain, S, 5, once=True)(next(iter(whole))).numpy()
    seen = device.make_views(views, S, 5, once=True)(batch).numpy()
    changed = np.abs(seen - crops).max(axis=(1, 2, 3)) > 0.01
    assert 0.5 < changed.mean() < 1.0  # some sub-policies draw nothing


@needs_addons
def test_the_operators_are_those_of_tensorflow_addons():
    """Bit for bit, on a picture, on noise and on flat colours, with magnitudes of both signs."""
    tfa = stack.load_addons("the test").image
    rng = np.random.default_rng(4)
    noise = rng.integers(0, 256, (S, S, 3)).astype("uint8")
    flat = np.full((S, S, 3), 7, np.uint8)
    own = policy.make_operators(S)
    far = 150 / 331 * S

    def blend(degenerate, image, m):
        image = np.float32(image)
        mixed = degenerate + np.float32(1 + 0.9 * m) * (image - degenerate)
        return np.clip(mixed, 0, 255).astype("uint8")

    def shear(image, x, y):
        transform = tf.constant([1, x, 0, y, 1, 0, 0, 0], tf.float32)
        return tfa.transform(image, transform, fill_value=128)

    def translate(image, x, y):
        return tfa.translate(image, [float(int(x)), float(int(y))], fill_value=128)

    theirs = {
        "ShearX": lambda image, m: shear(image, 0.3 * m, 0),
        "ShearY": lambda image, m: shear(image, 0, 0.3 * m),
        "TranslateX": lambda image, m: translate(image, far * m, 0),
        "TranslateY": lambda image, m: translate(image, 0, far * m),
        "Rotate": lambda image, m: tfa.rotate(image, m * np.pi / 6, fill_value=128),
        "Equalize": lambda image, m: tfa.equalize(image),
        "Sharpness": lambda image, m: blend(
            tfa.sharpness(tf.cast(image, tf.float32), 0.0).numpy(), image, m
        ),
    }
    for pixels in (image(), noise, flat):
        for name, other in theirs.items():
            for m in (-1.0, -0.4, 0.0, 0.7):
                found = own[name](tf.constant(pixels), tf.constant(m)).numpy()
                # tfa's sine and cosine are of float32 radians, too
                want = np.asarray(other(tf.constant(pixels), np.float32(m)))
                same = (found == want).mean()
                assert same == 1.0, (name, m, same)


def test_a_policy_and_the_device_resize_contradict_each_other():
    with pytest.raises(SettingsError, match="give resize_on=host"):
        config.Views(auto_augment="imagenet", resize_on="device")
