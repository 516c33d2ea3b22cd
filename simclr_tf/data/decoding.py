"""Encoded bytes -> upright RGB. Runs in tf.data, on the host.

| format | how |
|---|---|
| JPEG, 8 bit: grey, YCbCr, CMYK, YCCK, progressive | TensorFlow; EXIF orientation applied |
| PNG: palette; grey and RGB of 8 or 16 bit (the high byte is kept); alpha over white | TensorFlow |
| BMP, 24 bit uncompressed | TensorFlow |
| other BMP; grey PNG below 8 bit; GIF (first frame; transparency over white) | Pillow |

The format is told by the first bytes, never by the file name. The few formats that need Pillow
run as Python on the host: correct everywhere, but one at a time.
"""

import io

import numpy as np

from simclr_tf.data.exif import jpeg_orientation
from simclr_tf.stack import tf

_WHITE = 255


def decode(image):
    """An image as upright RGB.

    Args:
        image: string [], an encoded image; or uint8 [h, w, c] with 1, 3 or 4 channels, already
            decoded.
    Returns:
        uint8 [h, w, 3].
    Raises:
        tf.errors.InvalidArgumentError: not an image, damaged, or of an unknown format.
    """
    image = tf.convert_to_tensor(image)
    if image.dtype != tf.string:
        return _rgb(image)
    is_jpeg = tf.strings.substr(image, 0, 3) == b"\xff\xd8\xff"
    decoded = tf.cond(is_jpeg, lambda: _decode_jpeg(image), lambda: _decode_other(image))
    decoded.set_shape([None, None, 3])
    return decoded


def _rgb(image):
    channels = image.shape[-1]
    if channels == 1:
        return tf.repeat(image, 3, axis=-1)
    return _over_white(image) if channels == 4 else image


def _over_white(image):
    """uint8 [h, w, 4] -> uint8 [h, w, 3]: transparent parts show white, as on a web page."""
    color, alpha = image[..., :3], image[..., 3:]

    def blend():
        wide, opacity = tf.cast(color, tf.int32), tf.cast(alpha, tf.int32)
        mixed = wide * opacity + _WHITE * (255 - opacity)
        return tf.cast((mixed + 127) // 255, tf.uint8)

    return tf.cond(tf.reduce_all(alpha == 255), lambda: color, blend)


def _decode_jpeg(encoded):
    return upright(tf.io.decode_jpeg(encoded, channels=3), jpeg_orientation(encoded))


def _decode_other(encoded):
    head = tf.io.decode_raw(tf.strings.substr(encoded, 0, 34), tf.uint8)
    head = tf.pad(head, [[0, 34 - tf.size(head)]])
    # TensorFlow leaves grey of 1, 2 and 4 bit unscaled, and reads only 24 bit BMP faithfully.
    packed_grey = (head[24] < 8) & (head[25] == 0)
    is_png = tf.reduce_all(head[:4] == tuple(b"\x89PNG")) & ~packed_grey
    is_plain_bmp = tf.reduce_all(tf.gather(head, [0, 1, 28, 29, 30]) == (*b"BM", 24, 0, 0))

    def with_pillow():
        decoded = tf.numpy_function(_decode_with_pillow, [encoded], tf.uint8, stateful=False)
        return tf.ensure_shape(decoded, [None, None, 3])

    def bmp():
        return tf.cond(is_plain_bmp, lambda: tf.io.decode_bmp(encoded, channels=3), with_pillow)

    return tf.cond(is_png, lambda: _over_white(tf.io.decode_png(encoded, channels=4)), bmp)


def _decode_with_pillow(encoded):
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "BMP", "DIB", "GIF")) as image:
            image.seek(0)
            colored = ImageOps.exif_transpose(image).convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"not a JPEG, PNG, BMP or GIF image: {error}") from error
    white = Image.new("RGBA", colored.size, (_WHITE,) * 4)
    return np.asarray(Image.alpha_composite(white, colored).convert("RGB"), np.uint8)


def upright(image, orientation):
    """Turns an image so that its EXIF orientation becomes 1.

    Args:
        image: uint8 [h, w, c].
        orientation: int32 [], 1 to 8 as in EXIF; anything else leaves the image as it is.
    """

    def turn():
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        # After the transposition (5 to 8): which axes still run backwards.
        rows = tf.reduce_any(orientation == [3, 4, 7, 8])
        columns = tf.reduce_any(orientation == [2, 3, 6, 7])
        turned = tf.cond(rows, lambda: turned[::-1], lambda: turned)
        return tf.cond(columns, lambda: turned[:, ::-1], lambda: turned)

    turned = tf.cond((orientation >= 2) & (orientation <= 8), turn, lambda: image)
    turned.set_shape([None, None, image.shape[-1]])
    return turned
