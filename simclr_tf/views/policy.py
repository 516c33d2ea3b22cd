"""AutoAugment (Cubuk et al., arXiv:1805.09501): learned policies instead of colour distortion.

Works on uint8 crops on the host, one after another. The operators compute what those of
tensorflow-addons compute, to which the tests compare them where it is installed. The
policies are the tables of that paper's appendix, with its magnitudes 0 to 9. Empty borders are
filled with grey. The flip of the recipe comes afterwards; that does not change the distribution,
because shears, translations and rotations go in both directions equally often.
"""

import math

from simclr_tf import config, streams
from simclr_tf.stack import tf
from simclr_tf.views import draws, rng, study

_GREY = 128
NAMES = (
    "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
    "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert",
)  # fmt: skip
_SIGNED = NAMES[:9]

# one sub-policy a line: operator, probability, magnitude, twice
POLICIES = {
    "imagenet": """
        Posterize .4 8 Rotate .6 9
        Solarize .6 5 AutoContrast .6 0
        Equalize .8 0 Equalize .6 0
        Posterize .6 7 Posterize .6 6
        Equalize .4 0 Solarize .2 4
        Equalize .4 0 Rotate .8 8
        Solarize .6 3 Equalize .6 0
        Posterize .8 5 Equalize 1 0
        Rotate .2 3 Solarize .6 8
        Equalize .6 0 Posterize .4 6
        Rotate .8 8 Color .4 0
        Rotate .4 9 Equalize .6 0
        Equalize 0 0 Equalize .8 0
        Invert .6 0 Equalize 1 0
        Color .6 4 Contrast 1 8
        Rotate .8 8 Color 1 2
        Color .8 8 Solarize .8 7
        Sharpness .4 7 Invert .6 0
        ShearX .6 5 Equalize 1 0
        Color .4 0 Equalize .6 0
        Equalize .4 0 Solarize .2 4
        Solarize .6 5 AutoContrast .6 0
        Invert .6 0 Equalize 1 0
        Color .6 4 Contrast 1 8
        Equalize .8 0 Equalize .6 0""",
    "cifar10": """
        Invert .1 0 Contrast .2 6
        Rotate .7 2 TranslateX .3 9
        Sharpness .8 1 Sharpness .9 3
        ShearY .5 8 TranslateY .7 9
        AutoContrast .5 0 Equalize .9 0
        ShearY .2 7 Posterize .3 7
        Color .4 3 Brightness .6 7
        Sharpness .3 9 Brightness .7 9
        Equalize .6 0 Equalize .5 0
        Contrast .6 7 Sharpness .6 5
        Color .7 7 TranslateX .5 8
        Equalize .3 0 AutoContrast .4 0
        TranslateY .4 3 Sharpness .2 6
        Brightness .9 6 Color .2 8
        Solarize .5 2 Invert 0 0
        Equalize .2 0 AutoContrast .6 0
        Equalize .2 0 Equalize .6 0
        Color .9 9 Equalize .6 0
        AutoContrast .8 0 Solarize .2 8
        Brightness .1 3 Color .7 0
        Solarize .4 5 AutoContrast .9 0
        TranslateY .9 9 TranslateY .7 9
        AutoContrast .9 0 Solarize .8 3
        Equalize .8 0 Invert .1 0
        TranslateY .7 9 AutoContrast .9 0""",
}


def wanted(views: config.Views) -> bool:
    """Whether config.Views asks for a policy."""
    return views.auto_augment != "none"


def distort(crops, views, seed, rows):
    """Applies the policy to the crops of n views.

    Args:
        crops: uint8 [n, s, s, 3].
        views: config.Views, whose `auto_augment` names the policy.
        seed: int.
        rows: draws.Rows of the n views.
    Returns:
        uint8 [n, s, s, 3].
    """
    drawn = _draw(views, seed, rows)
    operators = make_operators(crops.shape[1])

    def one(row):
        crop, codes, magnitudes, signs = row
        for i in range(2):
            branches = [
                lambda name=name, image=crop, i=i: operators[name](
                    image, magnitudes[i] * (signs[i] if name in _SIGNED else 1.0)
                )
                for name in NAMES
            ]
            branches.append(lambda image=crop: image)
            crop = tf.ensure_shape(tf.switch_case(codes[i], branches), crops.shape[1:])
        return crop

    return tf.map_fn(one, (crops, *drawn), fn_output_signature=tf.TensorSpec(crops.shape[1:], tf.uint8))  # fmt: skip


def _draw(views, seed, rows):
    """Two operators of each row: codes int32 [n, 2] (the last: none), magnitudes and signs."""
    table = [line.split() for line in POLICIES[views.auto_augment].split("\n")[1:]]
    codes = tf.constant([[NAMES.index(line[i]) for i in (0, 3)] for line in table])
    chances = tf.constant([[float(line[i]) for i in (1, 4)] for line in table])
    magnitudes = tf.constant([[float(line[i]) / 9.0 for i in (2, 5)] for line in table])
    first, count = streams.VIEW["auto_augment"]
    u = rng.uniforms(seed, *rows, first=first, count=count)
    place = tf.cast(u[:, 0] * len(table), tf.int32)
    applied = (u[:, 1:3] < tf.gather(chances, place)) & draws.distorted(views, rows)[:, None]
    codes = tf.where(applied, tf.gather(codes, place), len(NAMES))
    return codes, tf.gather(magnitudes, place), tf.where(u[:, 3:5] < 0.5, -1.0, 1.0)


def make_operators(size):
    """{name: function of uint8 [s, s, 3] and a magnitude float [] in 0 ... 1 (signed: -1 ... 1)}.

    Args:
        size: int, s.
    """
    return {**_moves(size), **_colors()}


def _moves(size):
    far = 150.0 / 331.0 * size
    middle = (size - 1) / 2.0

    def moved(image, across, down):
        """Pixel (x, y) of the result is the nearest one to (across, down) x (x, y, 1), or grey."""
        row = tf.stack([*across, *down, 0.0, 0.0])
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=image[None],
            transforms=row[None],
            output_shape=[size, size],
            fill_value=float(_GREY),
            interpolation="NEAREST",
            fill_mode="CONSTANT",
        )[0]

    def shear(image, x, y):
        return moved(image, (1.0, x, 0.0), (y, 1.0, 0.0))

    def translate(image, x, y):
        x, y = (tf.cast(tf.cast(one, tf.int32), tf.float32) for one in (x, y))  # towards zero
        return moved(image, (1.0, 0.0, -x), (0.0, 1.0, -y))

    def rotate(image, m):
        cos = tf.cos(m * math.pi / 6)
        sin = tf.sin(m * math.pi / 6)
        # about the middle of the image
        x = middle - (cos * middle - sin * middle)
        y = middle - (sin * middle + cos * middle)
        return moved(image, (cos, -sin, x), (sin, cos, y))

    return {
        "ShearX": lambda image, m: shear(image, 0.3 * m, 0.0),
        "ShearY": lambda image, m: shear(image, 0.0, 0.3 * m),
        "TranslateX": lambda image, m: translate(image, far * m, 0.0),
        "TranslateY": lambda image, m: translate(image, 0.0, far * m),
        "Rotate": rotate,
    }


def _colors():
    def blend(degenerate, image, m):
        plain = tf.cast(degenerate, tf.float32)
        image = tf.cast(image, tf.float32)
        return _to_uint8(plain + (1.0 + 0.9 * m) * (image - plain))

    def sharpness(image, m):
        return blend(_smoothed(image), image, m)

    def color(image, m):
        return blend(tf.image.rgb_to_grayscale(image), image, m)

    def contrast(image, m):
        gray = tf.cast(tf.image.rgb_to_grayscale(image), tf.float32)
        return blend(tf.round(tf.reduce_mean(gray)), image, m)

    return {
        "Brightness": lambda image, m: blend(0.0, image, m),
        "Color": color,
        "Contrast": contrast,
        "Sharpness": sharpness,
        "Posterize": _posterize,
        "Solarize": _solarize,
        "AutoContrast": lambda image, m: _auto_contrast(image),
        "Equalize": lambda image, m: _equalize(image),
        "Invert": lambda image, m: 255 - image,
    }


def _smoothed(image):
    """float32: the mean of a pixel (weight 5) and its eight neighbours; the border stays."""
    levels = tf.cast(image, tf.float32)
    weights = tf.constant([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13.0
    kernel = tf.tile(weights[:, :, None, None], [1, 1, image.shape[-1], 1])
    inner = tf.nn.depthwise_conv2d(levels[None], kernel, [1, 1, 1, 1], "VALID")[0]
    inside = tf.pad(tf.ones_like(inner, tf.bool), [[1, 1], [1, 1], [0, 0]])
    return tf.where(inside, tf.pad(inner, [[1, 1], [1, 1], [0, 0]]), levels)


def _equalize(image):
    """Histogram equalisation of each channel, as `PIL.ImageOps.equalize`."""
    planes = tf.cast(tf.transpose(image, [2, 0, 1]), tf.int32)
    equal = study.equalized_levels(tf.reshape(planes, [planes.shape[0], -1]))
    return tf.cast(tf.transpose(tf.reshape(equal, planes.shape), [1, 2, 0]), tf.uint8)


def _posterize(image, magnitude):
    """Keeps the highest 8 to 4 bits."""
    dropped = tf.cast(tf.round(4.0 * magnitude), tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(image, dropped), dropped)


def _solarize(image, magnitude):
    """Inverts what is at least as bright as 255 ... 0."""
    return tf.where(tf.cast(image, tf.float32) >= 255.0 * (1.0 - magnitude), 255 - image, image)


def _auto_contrast(image):
    """Stretches each channel to 0 ... 255."""
    levels = tf.cast(image, tf.float32)
    low, high = (f(levels, axis=(0, 1)) for f in (tf.reduce_min, tf.reduce_max))
    scale = tf.where(high > low, 255.0 / tf.where(high > low, high - low, 1.0), 1.0)
    stretched = (levels - tf.where(high > low, low, 0.0)) * scale
    return _to_uint8(stretched)


def _to_uint8(levels):
    return tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)
