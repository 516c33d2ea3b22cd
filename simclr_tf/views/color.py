"""Colour operators on float images in [..., height, 3, width] layout.

That layout keeps rows of one channel together, which both XLA:CPU and the two matrix products of
`geometry` are fastest with. Each operator agrees with the `tf.image` operator of the same name at equal
factors (tests/views/test_color.py), also for values outside [0, 1] left by bicubic resizing. The
hue and saturation of tf.image go through HSV; here they are closed forms without branches. Two more
are those of torchvision, which blends with grey (tests/views/test_torchvision.py).

Factors are scalars, or float32 [n, 1, 1, 1] for images [n, height, 3, width].
"""

from simclr_tf.stack import tf

_LUMA = (0.2989, 0.5870, 0.1140)  # tf.image.rgb_to_grayscale


def scale_brightness(images, factor):
    """Multiplies; the brightness of SimCLR v2."""
    return images * factor


def shift_brightness(images, delta):
    """Adds; `tf.image.adjust_brightness`, the brightness of the paper and of SimCLR v1."""
    return images + delta


def contrast(images, factor):
    """Scales the distance to the mean of each channel; `tf.image.adjust_contrast`."""
    mean = tf.reduce_mean(images, axis=(-3, -1), keepdims=True)
    return (images - mean) * factor + mean


def blend_contrast(images, factor):
    """Scales the distance to the mean of the luma; torchvision's `adjust_contrast`."""
    mean = tf.reduce_mean(_luma(images), axis=(-3, -1), keepdims=True)
    return (images - mean) * factor + mean


def blend_saturation(images, factor):
    """Scales the distance to the luma of each pixel; torchvision's `adjust_saturation`."""
    luma = _luma(images)
    return (images - luma) * factor + luma


def saturation(images, factor):
    """Scales S of HSV, at most to 1; `tf.image.adjust_saturation`."""
    high = tf.reduce_max(images, axis=-2, keepdims=True)
    chroma = high - tf.reduce_min(images, axis=-2, keepdims=True)
    full = high / tf.where(chroma > 0, chroma, 1.0)  # the factor at which S reaches 1
    return high - (high - images) * tf.maximum(tf.minimum(factor, full), 0.0)


def hue(images, delta):
    """Turns H of HSV by `delta`, in turns; `tf.image.adjust_hue`."""
    red, green, blue = (images[..., c : c + 1, :] for c in range(3))
    high = tf.maximum(tf.maximum(red, green), blue)
    low = tf.minimum(tf.minimum(red, green), blue)
    chroma = high - low
    unit = 1.0 / tf.where(chroma > 0, chroma, 1.0)
    sixths = tf.where(
        red == high,
        (green - blue) * unit,
        tf.where(green == high, 2.0 + (blue - red) * unit, 4.0 + (red - green) * unit),
    )
    turned = sixths + 6.0 * delta
    channels = []
    for offset in (0.0, 4.0, 2.0):
        place = turned + offset
        place = place - 6.0 * tf.floor(place / 6.0)
        channels.append(low + chroma * tf.clip_by_value(tf.abs(place - 3.0) - 1.0, 0.0, 1.0))
    return tf.concat(channels, axis=-2)


def _luma(images):
    """[..., height, 1, width]."""
    return sum(images[..., c : c + 1, :] * _LUMA[c] for c in range(3))


def grayscale(images):
    """Luma in all three channels; `tf.image.rgb_to_grayscale`."""
    return tf.concat([_luma(images)] * 3, axis=-2)


def operators(views):
    """The four operators of colour jitter, in the order in which `draws` numbers them."""
    if views.as_torchvision:
        return scale_brightness, blend_contrast, blend_saturation, hue
    brightness = shift_brightness if views.aug_impl == "simclr_v1" else scale_brightness
    return brightness, contrast, saturation, hue
