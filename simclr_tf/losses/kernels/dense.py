"""NT-Xent with all 2n x 2n similarities at once: fastest for small batches, quadratic memory."""

from simclr_tf.losses.kernels import anchors, norms, statistics, tiles
from simclr_tf.stack import tf


def _similarities(z, softmax):
    n = tiles.size(z) // 2
    image = tf.range(2 * n) % n
    s = tf.matmul(z * (1.0 / softmax.temperature), z, transpose_b=True)
    return tf.where(image[:, None] == image, tiles.MASKED, s)


def forward(z, *, softmax, with_figures=False):
    """Losses, normalisers and pulls (each float32 [2n]) of z float32 [2n, p], and the figures."""
    s = _similarities(z, softmax)
    n = tiles.size(z) // 2
    positives = anchors.positives(z, softmax.temperature)
    figures = {}
    if with_figures:
        cross = lambda tile, _: tile[:n, n:]  # noqa: E731
        factor = softmax.temperature
        if not softmax.unit:
            inverse = norms.inverse_norms(z)
            factor *= cross(inverse[:, None] * inverse, 0.0)
        sums = statistics.of_tile(s, cross, factor, 1, softmax)
        log_negatives = statistics.log_negatives(sums, softmax)
        figures = statistics.figures(sums, z, z, softmax)
    else:
        scale = tf.reduce_max(s, 1)
        log_negatives = scale + tf.math.log(tf.reduce_sum(tf.exp(s - scale[:, None]), 1))
    return (*anchors.anchor_terms(log_negatives, positives, softmax.decoupled), figures)


def backward(z, normalisers, pulls, *, softmax):
    """Gradient [2n, p] of the mean over the 2n anchors."""
    s = _similarities(z, softmax)  # in one graph the compiler reuses the forward's
    weights = tf.exp(s - normalisers[:, None]) + tf.exp(s - normalisers)
    scale = 1.0 / (softmax.temperature * tf.cast(tiles.size(z), tf.float32))
    return (tf.matmul(weights, z) - anchors.pulled(z, pulls)) * scale
