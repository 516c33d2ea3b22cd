"""Lengths of rows, where a zero row stays zero."""

from simclr_tf.stack import tf

EPSILON = 1e-12  # the official l2-norm


def unit_rows(z):
    """float32 z [m, p] with rows of length 1; a zero row stays zero."""
    return tf.math.l2_normalize(z, -1, EPSILON)


def inverse_norms(z):
    """The factors [m] that unit_rows multiplies the rows of z float32 [m, p] with."""
    return tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(z), -1), EPSILON))
