"""The evaluation preprocessing: the same image, always the same pixels."""

from simclr_tf.data import decoding
from simclr_tf.stack import tf

CROP_SHARE = 0.875  # of the shorter side: 224 / 256 (paper appendix B.5)
SMALL_IMAGE = 32  # up to this side nothing is cropped away


def eval_image(image, image_size):
    """The centre of an image, resized (paper, appendix B.5).

    Above 32 pixels: the central square of 0.875 of the shorter side, bicubic, as in the official
    code. Up to 32 pixels the official code neither crops nor resizes and fails at any other
    stored size; here such images give their largest central square, resized (bicubic,
    antialiased when shrinking).

    Args:
        image: uint8 [h, w, c].
        image_size: int, side of the result.
    Returns:
        float32 [image_size, image_size, c] in [0, 1].
    """
    top, left, side = _square(tf.shape(image), image_size)
    return _resized(image[top : top + side, left : left + side], image_size)


def eval_encoded(image, image_size, channels=3):
    """`eval_image` of an image that may still be encoded; the same pixels, in less time.

    Of a plain JPEG only the part that is used is decoded.

    Args:
        image: string [] or uint8 [h, w, c], see `decoding.decode`.
        image_size: int, side of the result.
        channels: c, see `decoding.decode`.
    Returns:
        float32 [image_size, image_size, c] in [0, 1].
    Raises:
        tf.errors.InvalidArgumentError: see `decoding.decode`.
    """
    if image.dtype != tf.string or channels != 3:
        return eval_image(decoding.decode(image, channels), image_size)

    def part():
        shape = tf.io.extract_jpeg_shape(image)
        top, left, side = _square(shape, image_size)
        width = tf.minimum(side + decoding.NEXT_COLUMNS, shape[1] - left)
        window = [top, left, side, width]
        return tf.image.decode_and_crop_jpeg(image, window, channels=3)[:, :side]

    def whole():
        decoded = decoding.decode(image)
        top, left, side = _square(tf.shape(decoded), image_size)
        return decoded[top : top + side, left : left + side]

    return _resized(tf.cond(decoding.is_plain_jpeg(image), part, whole), image_size)


def _square(shape, image_size):
    """(top, left, side) of the part of an image that is used."""
    short = tf.minimum(shape[0], shape[1])
    side = short if image_size <= SMALL_IMAGE else _rounded(short)
    top, left = ((shape[axis] - side + 1) // 2 for axis in (0, 1))
    return top, left, side


def _resized(square, image_size):
    """uint8 [side, side, c] -> float32 [image_size, image_size, c] in [0, 1]."""
    side = tf.shape(square)[0]
    small = image_size <= SMALL_IMAGE
    channels = square.shape[-1]
    square = tf.cast(square, tf.float32) / 255.0

    def resize():
        return tf.image.resize(square, [image_size] * 2, "bicubic", antialias=small)

    if small:
        square = tf.cond(side == image_size, lambda: square, resize)
    else:
        square = resize()
    return tf.clip_by_value(tf.ensure_shape(square, [image_size, image_size, channels]), 0.0, 1.0)


def _rounded(short):
    return tf.cast(tf.math.rint(CROP_SHARE * tf.cast(short, tf.float32)), tf.int32)
