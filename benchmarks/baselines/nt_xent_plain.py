"""NT-Xent as the official code computes it: four N x N blocks of logits, cross entropy, autodiff.

The formula only; the other side of `benchmarks/nt_xent.py`.
"""

from simclr_tf.stack import tf


def nt_xent_plain(z, temperature):
    """Twice the paper's loss of z float32 [2N, p]: the mean over N of both directions."""
    a, b = tf.split(tf.math.l2_normalize(z, -1), 2)
    n = tf.shape(a)[0]
    labels = tf.one_hot(tf.range(n), 2 * n)
    itself = 1e9 * tf.one_hot(tf.range(n), n)
    aa = tf.matmul(a, a, transpose_b=True) / temperature - itself
    bb = tf.matmul(b, b, transpose_b=True) / temperature - itself
    ab = tf.matmul(a, b, transpose_b=True) / temperature
    ba = tf.matmul(b, a, transpose_b=True) / temperature
    of_a = tf.nn.softmax_cross_entropy_with_logits(labels, tf.concat([ab, aa], 1))
    of_b = tf.nn.softmax_cross_entropy_with_logits(labels, tf.concat([ba, bb], 1))
    return tf.reduce_mean(of_a + of_b)
