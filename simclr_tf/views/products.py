"""Matrix products in float32 on devices whose fast products are not."""

from simclr_tf import stack
from simclr_tf.stack import tf


def matmul(a, b, transpose_b=False):
    """`tf.matmul` of float32, on accelerators by parts that their fast products keep."""
    if not stack.accelerated():
        return tf.matmul(a, b, transpose_b=transpose_b)
    return in_parts(a, b, transpose_b)


def in_parts(a, b, transpose_b=False):
    """The three large products of bfloat16 parts; what is left out is 2**-14 of a * b."""
    a_high, a_low = split(a)
    b_high, b_low = split(b)
    small = tf.matmul(a_low, b_high, transpose_b=transpose_b)
    small += tf.matmul(a_high, b_low, transpose_b=transpose_b)
    return small + tf.matmul(a_high, b_high, transpose_b=transpose_b)


def split(x):
    """float32 x as high + low, exactly; `high` has the bits that bfloat16 keeps.

    The bits are masked: XLA may drop a cast to bfloat16 and back.
    """
    bits = tf.bitwise.bitwise_and(tf.bitcast(x, tf.int32), tf.constant(-(2**16), tf.int32))
    high = tf.bitcast(bits, tf.float32)
    return high, x - high
