"""What the similarities of a batch say besides the loss, gathered in the sweep that computes it.

The official metrics look from each first view at the second views (`cross` similarities); the
full accuracy looks from every view at all others.
"""

import collections

from simclr_tf.losses.kernels import anchors, norms, tiles
from simclr_tf.stack import tf

Sums = collections.namedtuple(
    "Sums", "total highest cross_total cross_weighted cross_highest cross_near"
)
Sums.__doc__ = """What is known of anchors after some of their negatives; float32, one per anchor.

total: sum of exp(s); of exp(s - highest) unless the softmax is bounded.
highest: largest s.
cross_total, cross_weighted: sums of e and e * s over cross negatives, e = exp(s), or
    exp(s - cross_highest) unless the softmax is bounded.
cross_highest: largest s of the cross negatives.
cross_near: sum of exp(-2 * squared distance of the unit rows) over the cross negatives.
"""


def of_tile(s, cross, to_cosine, axis, softmax):
    """The Sums of a tile.

    Args:
        s: float32 tile, MASKED where the key is no negative.
        cross: (tile, value for the rest) -> the cross part of a tile, of any shape.
        to_cosine: factor from the cross part of s to cosines.
        axis: the axis of the keys.
        softmax: anchors.Softmax.
    """
    cross_s = cross(s, tiles.MASKED)
    highest = tf.reduce_max(s, axis)
    cross_highest = tf.reduce_max(cross_s, axis)
    if softmax.bounded:
        e = tf.exp(s)
        cross_e = cross(e, 0.0)
    else:
        e = tf.exp(s - tf.expand_dims(highest, axis))
        cross_e = tf.exp(cross_s - tf.expand_dims(cross_highest, axis))
    near = tf.exp(4.0 * to_cosine * cross_s - 4.0)
    sums = [tf.reduce_sum(x, axis) for x in (e, cross_e, cross_e * cross_s, near)]
    return Sums(sums[0], highest, sums[1], sums[2], cross_highest, sums[3])


def merge(a, b, softmax):
    """The Sums over the negatives of both."""
    highest = tf.maximum(a.highest, b.highest)
    cross_highest = tf.maximum(a.cross_highest, b.cross_highest)
    weights = [(1.0, 1.0)] * 2
    if not softmax.bounded:
        weights = [
            (tf.exp(a.highest - highest), tf.exp(b.highest - highest)),
            (tf.exp(a.cross_highest - cross_highest), tf.exp(b.cross_highest - cross_highest)),
        ]
    of_all, of_cross = weights
    return Sums(
        total=a.total * of_all[0] + b.total * of_all[1],
        highest=highest,
        cross_total=a.cross_total * of_cross[0] + b.cross_total * of_cross[1],
        cross_weighted=a.cross_weighted * of_cross[0] + b.cross_weighted * of_cross[1],
        cross_highest=cross_highest,
        cross_near=a.cross_near + b.cross_near,
    )


NOTHING = Sums(0.0, tiles.MASKED, 0.0, 0.0, tiles.MASKED, 0.0)


def log_negatives(sums, softmax):
    """Log of the sum of exp(s) over the negatives, about MASKED where there are none."""
    if softmax.bounded:
        return anchors.log_of_sum(sums.total)
    return sums.highest + tf.math.log(sums.total)


def figures(sums, z, key_z, softmax):
    """The metrics of this replica's anchors, each a mean over them.

    Args:
        sums: Sums of the 2b anchors; the cross fields of the b first views at least.
        z: float32 [2b, p] of the anchors, as the loss compares them.
        key_z: float32 [2N, p] of the global batch.
        softmax: anchors.Softmax.
    Returns:
        dict of float32 [], see `metrics.contrastive_metrics`; instead of the uniformity its
        exponential `nearness`, of which means can be taken.
    """
    b = tiles.size(z) // 2
    positive = anchors.positives(z, softmax.temperature)
    first = Sums(*(x[:b] for x in sums))
    unit, unit_keys = (z, key_z) if softmax.unit else (norms.unit_rows(z), norms.unit_rows(key_z))
    cosine = tf.reduce_mean(tf.reduce_sum(unit[:b] * unit[b:], 1))
    # over the negatives only: all keys less the row itself and its positive
    others = tf.reduce_sum(unit_keys, 0) - unit - tf.concat([unit[b:], unit[:b]], 0)
    images = tf.cast(tiles.size(key_z) // 2, tf.float32)
    pairs = tf.maximum(images - 1.0, 1.0)  # a single image has no negatives: 0, not NaN
    return {
        "contrastive_accuracy": _share(positive[:b] > first.cross_highest),
        "contrastive_accuracy_full": _share(positive > sums.highest),
        "entropy": tf.reduce_mean(_entropy(first, positive[:b], softmax)),
        "positive_similarity": cosine,
        "negative_similarity": tf.reduce_mean(tf.reduce_sum(unit * others, 1)) / (2.0 * pairs),
        "alignment": 2.0 - 2.0 * cosine,
        "nearness": tf.reduce_mean(first.cross_near) / pairs,
    }


def _share(hits):
    return tf.reduce_mean(tf.cast(hits, tf.float32))


def _entropy(sums, positive, softmax):
    """Entropy in nats of the softmax over the cross negatives and the positive."""
    scale = 0.0 if softmax.bounded else sums.cross_highest
    top = tf.maximum(positive, scale)
    of_positive = tf.exp(positive - top)
    of_negatives = tf.exp(scale - top)
    total = of_positive + sums.cross_total * of_negatives
    weighted = of_positive * positive + sums.cross_weighted * of_negatives
    return top + tf.math.log(total) - weighted / total
