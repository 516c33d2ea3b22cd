"""The shape of the embedding: similarities, alignment, uniformity, effective rank. No gradient."""

from simclr_tf.losses import base, replicas, rows, tiles
from simclr_tf.stack import tf

BLOCKS = (512, 1024)


@tf.autograph.experimental.do_not_convert
def embedding_metrics(z):
    """How the unit projections lie, in one blockwise pass over all pairs of the global batch.

    Two collectives between replicas; negatives need at least two images.

    Args:
        z: float [2b, p] of this replica, all first views, then all second views; normalised here.
    Returns:
        dict of float32 []:
        full_accuracy: share of the 2N views whose other view is the most similar of the 2N - 1
            others (a tie counts as a miss).
        positive_similarity, negative_similarity: mean cosine of views of one image, of others.
        alignment: mean squared distance of positive pairs (arXiv:2005.10242).
        uniformity: log of the mean of exp(-2 * squared distance) over negatives (same source).
    """
    z = base.unit_rows(tf.stop_gradient(tf.cast(z, tf.float32)))
    context, b = replicas.replica_context(), tiles.size(z) // 2
    images = key_images = tf.tile(tf.range(b), [2])
    keys = z
    if context is not None:
        keys = replicas.gather(z, context)
        images, key_images = replicas.image_positions(b, context)
    highest, total = _over_negatives(z, images, keys, key_images)
    first, second = tf.split(z, 2)
    positive = tf.tile(tf.reduce_sum(first * second, 1), [2])
    own = tf.concat([first + second] * 2, 0)  # self and positive, which are no negatives
    of_negatives = tf.reduce_sum(z * (tf.reduce_sum(keys, 0) - own), 1)
    hits = tf.cast(positive > highest, tf.float32)
    means = tf.stack([tf.reduce_mean(x) for x in (hits, positive, of_negatives, total)])
    if context is not None:
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, means)
    return _named(means, tf.cast(tiles.size(keys) - 2, tf.float32))


def _named(means, negatives):
    """The metrics from means over the views; `negatives` is the number of them per view."""
    return {
        "full_accuracy": means[0],
        "positive_similarity": means[1],
        "negative_similarity": means[2] / negatives,
        "alignment": 2.0 - 2.0 * means[1],
        "uniformity": tf.math.log(means[3] / negatives),
    }


def _over_negatives(z, images, keys, key_images):
    """Highest cosine, and sum of exp(-2 * squared distance), over the negatives of each row."""

    def step(state, anchor, key):
        s = tf.matmul(anchor[0], key[0], transpose_b=True)
        excluded = (anchor[1][:, None] == key[1]) | (key[1] < 0)
        s = tf.where(excluded, tiles.MASKED, s)
        sums = tf.reduce_sum(tf.exp(4.0 * s - 4.0), 1)
        return [tf.maximum(state[0], tf.reduce_max(s, 1)), state[1] + sums]

    start = [tf.constant(tiles.MASKED), tf.constant(0.0)]
    return rows.fold([z, images], [keys, key_images], start, step, BLOCKS)


@tf.autograph.experimental.do_not_convert
def effective_rank(h):
    """exp of the entropy of the spectrum of the covariance of h, from 1 to the width of h.

    The entropy of the eigenvalues over their sum (the effective rank of Roy and Vetterli, 2007, of
    the covariance matrix); 1 if h varies along one direction only, 0 if it does not vary, not
    finite if h is not. A fall during training shows dimensional collapse. It costs an
    eigendecomposition: measure it every few hundred steps. Inside `strategy.run` h of all replicas
    counts (two collectives, the larger one of the size of the covariance).

    Args:
        h: float [m, features] of this replica.
    Returns:
        float32 [].
    """
    h = tf.stop_gradient(tf.cast(h, tf.float32))
    context = replicas.replica_context()
    mean = tf.reduce_mean(h, 0)
    if context is not None:
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
    h -= mean
    if context is None and h.shape[0] is not None and h.shape[0] < h.shape[1]:
        covariance = tf.matmul(h, h, transpose_b=True)  # the same spectrum, smaller
    else:
        covariance = tf.matmul(h, h, transpose_a=True)
    if context is not None:
        covariance = context.all_reduce(tf.distribute.ReduceOp.SUM, covariance)
    total = tf.linalg.trace(covariance)
    usable = tf.math.is_finite(total) & (total > 0.0)
    covariance = tf.where(usable, covariance / total, 0.0)  # eigvalsh aborts the step on NaN
    share = tf.maximum(tf.linalg.eigvalsh(covariance), 0.0)
    entropy = -tf.reduce_sum(tf.math.xlogy(share, share))
    return tf.where(usable, tf.exp(entropy), total)
