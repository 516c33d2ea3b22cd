"""The evaluation preprocessing: the same image, always the same pixels."""

from simclr_tf.stack import tf

CROP_SHARE = 0.875  # of the shorter side: 224 / 256 (paper appendix B.5)
SMALL_IMAGE = 32  # up to this side nothing is cropped away


def eval_image(image, image_size):
    """The centre of an image, resized (PAPER.md 1.4).

    Above 32 pixels: the central square of 0.875 of the shorter side, bicubic, as in the official
    code. Up to 32 pixels the official code neither crops nor resizes and fails at any other
    stored size; here such images give their largest central square, resized (bicubic,
    antialiased when shrinking).

    Args:
        image: uint8 [h, w, 3].
        image_size: int, side of the result.
    Returns:
        float32 [image_size, image_size, 3] in [0, 1].
    """
    shape = tf.shape(image)
    short = tf.minimum(shape[0], shape[1])
    small = image_size <= SMALL_IMAGE
    side = short if small else _rounded(short)
    top, left = ((shape[axis] - side + 1) // 2 for axis in (0, 1))
    square = tf.cast(image[top : top + side, left : left + side], tf.float32) / 255.0

    def resize():
        return tf.image.resize(square, [image_size] * 2, "bicubic", antialias=small)

    if small:
        square = tf.cond(side == image_size, lambda: square, resize)
    else:
        square = resize()
    return tf.clip_by_value(tf.ensure_shape(square, [image_size, image_size, 3]), 0.0, 1.0)


def _rounded(short):
    return tf.cast(tf.math.rint(CROP_SHARE * tf.cast(short, tf.float32)), tf.int32)
