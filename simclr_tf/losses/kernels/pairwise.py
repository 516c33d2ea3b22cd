"""Kernels of losses that add up over pairs of views: NT-Logistic and the margin triplet loss.

Anchors of one view meet the keys of the other view, in both directions (the paper takes negatives
from one view only, appendix B.10). Rows are stacked by view: z [2, b, p] local, keys [2, N, p] of
the global batch. No collective happens here, and the similarity matrix is never whole.
"""

import functools
from typing import Callable, NamedTuple

from simclr_tf.losses.kernels import rows, tiles
from simclr_tf.stack import tf


class Rule(NamedTuple):
    """What one anchor adds to a loss; s similarities, t similarity of its positive.

    Attributes:
        value: s of negatives, t -> loss of each negative; 0 for s = -1e30.
        slope: s, t -> d value / d s.
        positive_value: t -> loss of the positive.
        positive_slope: t, mean slope of the negatives -> d loss / d t.
        lower: t -> semi-hard negatives have lower < s < t.
        scale: 1 / temperature.
    """

    value: Callable
    slope: Callable
    positive_value: Callable
    positive_slope: Callable
    lower: Callable
    scale: float


@functools.lru_cache(maxsize=None)  # the same functions, so that kernels are compiled once
def logistic_rule(temperature: float) -> Rule:
    """-log sigmoid(t) - log sigmoid(-s)."""
    return Rule(
        value=lambda s, t: tf.math.softplus(s),
        slope=lambda s, t: tf.sigmoid(s),
        positive_value=lambda t: tf.math.softplus(-t),
        positive_slope=lambda t, slope: -tf.sigmoid(-t),
        lower=lambda t: 0.1 * tiles.MASKED * tf.ones_like(t),
        scale=1.0 / temperature,
    )


@functools.lru_cache(maxsize=None)
def margin_rule(margin: float) -> Rule:
    """max(s - t + margin, 0)."""
    return Rule(
        value=lambda s, t: tf.nn.relu(s - t + margin),
        slope=lambda s, t: tf.cast(s - t + margin > 0.0, tf.float32),
        positive_value=lambda t: tf.where(tf.math.is_nan(t), t, 0.0),  # mining would hide a NaN
        positive_slope=lambda t, slope: -slope,
        lower=lambda t: t - margin,
        scale=1.0,
    )


def _similarities(anchor, key):
    s = tf.matmul(anchor[0], key[0], transpose_b=True)
    own = anchor[1][:, None] == key[1]
    return tf.where(own | (key[1] < 0), tiles.MASKED, s), anchor[2][:, None]


def _negatives(keys):
    return tf.cast(tf.maximum(tiles.size(keys, 1) - 1, 1), tf.float32)


def _directions(z, images, keys, rule):
    """For each view: the data of its anchors [z, images, t], and the keys of the other view."""
    t = rule.scale * tf.reduce_sum(z[0] * z[1], 1)
    return [([z[view] * rule.scale, images, t], keys[1 - view]) for view in (0, 1)]


def forward(z, images, keys, key_images, *, rule, anchor_block, key_block):
    """Loss and pull of each anchor when every negative counts, averaged over them.

    Args:
        z: float32 [2, b, p], local rows by view.
        images: int32 [b], position of each local image in the global batch.
        keys: float32 [2, N, p], rows of the global batch by view.
        key_images: int32 [N].
        rule: Rule.
        anchor_block: int, anchors per tile.
        key_block: int, keys per tile.
    Returns:
        losses and pulls, float32 [2, b].
    """

    def step(state, anchor, key):
        s, t = _similarities(anchor, key)
        sums = tf.reduce_sum(rule.value(s, t), 1), tf.reduce_sum(rule.slope(s, t), 1)
        return [old + new for old, new in zip(state, sums)]

    losses = []
    pulls = []
    start = [tf.constant(0.0)] * 2
    blocks = {"anchor_block": anchor_block, "key_block": key_block}
    for anchor, key_z in _directions(z, images, keys, rule):
        sums = rows.fold(anchor, [key_z, key_images], start, step, **blocks)
        value, slope = (x / _negatives(keys) for x in sums)
        losses.append(value + rule.positive_value(anchor[2]))
        pulls.append(rule.positive_slope(anchor[2], slope))
    return tf.stack(losses), tf.stack(pulls)


def backward(z, images, pulls, keys, key_images, *, rule, anchor_block, key_block):
    """Gradient [2, b, p] of the mean over the 2b anchors; see rows.backward for replicas."""

    def step(state, anchor, key):
        s, t = _similarities(anchor, key)
        return [state[0] + tf.matmul(rule.slope(s, t) + rule.slope(s, key[2]), key[0])]

    key_t = rule.scale * tf.reduce_sum(keys[0] * keys[1], 1)
    start = [tf.zeros([z.shape[2]])]
    pushed = [
        rows.fold(
            anchor,
            [key_z, key_images, key_t],
            start,
            step,
            anchor_block=anchor_block,
            key_block=key_block,
        )[0]
        for anchor, key_z in _directions(z, images, keys, rule)
    ]
    return _finish(z, pulls, tf.stack(pushed) / _negatives(keys), rule)


def _finish(z, pulls, pushed, rule):
    pulled = tf.reduce_sum(pulls, 0)[:, None] * z[::-1]
    return (pushed + pulled) * (rule.scale / tf.cast(2 * tiles.size(z, 1), tf.float32))


def mined_forward(z, images, keys, key_images, *, rule, anchor_block, key_block):
    """Loss and pull with the semi-hard negative only: the closest of those farther than the
    positive (and inside the margin). An anchor without one has no negative term.

    Returns:
        losses, pulls and weights float32 [2, b], and picks int32 [2, b], positions in the global
        batch (-1: none) of the negatives, whose slopes are the weights.
    """

    def step(state, anchor, key):
        s, t = _similarities(anchor, key)
        s = tf.where((s < t) & (s > rule.lower(t)), s, tiles.MASKED)
        highest = tf.reduce_max(s, 1)
        here = tf.gather(key[1], tf.argmax(s, 1))
        return [tf.maximum(state[0], highest), tf.where(highest > state[0], here, state[1])]

    found = []
    blocks = {"anchor_block": anchor_block, "key_block": key_block}
    for anchor, key_z in _directions(z, images, keys, rule):
        t = anchor[2]
        start = [tf.constant(tiles.MASKED), tf.constant(-1)]
        s, picks = rows.fold(anchor, [key_z, key_images], start, step, **blocks)
        value = tf.where(picks < 0, 0.0, rule.value(s, t))
        weights = tf.where(picks < 0, 0.0, rule.slope(s, t))
        losses = value + rule.positive_value(t)
        found.append((losses, rule.positive_slope(t, weights), weights, picks))
    return [tf.stack(x) for x in zip(*found)]


def mined_backward(z, first, pulls, weights, picks, keys, key_weights, key_picks, *, rule):
    """Gradient [2, b, p] of the mean over the 2b anchors; no similarity is computed again.

    Args:
        z: float32 [2, b, p], local rows by view.
        first: int32 [], position in the global batch of the first local image.
        pulls: float32 [2, b], from mined_forward.
        weights: float32 [2, b], from mined_forward.
        picks: int32 [2, b], from mined_forward.
        keys: float32 [2, N, p], rows of the global batch by view.
        key_weights: float32 [2, N], the gathered weights.
        key_picks: int32 [2, N], the gathered picks.
        rule: Rule.
    """
    b = tiles.size(z, 1)
    pushed = []
    for view in (0, 1):
        chosen = tf.gather(keys[1 - view], tf.maximum(picks[view], 0))
        local = key_picks[1 - view] - first  # which anchors of the other view chose a row here
        local = tf.where((local >= 0) & (local < b), local, -1)
        choosers = key_weights[1 - view][:, None] * keys[1 - view]
        as_key = tf.math.unsorted_segment_sum(choosers, local, b)
        pushed.append(weights[view][:, None] * chosen + as_key)
    return _finish(z, pulls, tf.stack(pushed), rule)
