"""The supervised contrastive loss and its gradient, block by block."""

from simclr_tf.losses.kernels import rows, tiles
from simclr_tf.stack import tf


def _similarities(anchor, key):
    """Tile of s, and which of its entries are positives and which are valid negatives.

    Args:
        anchor: [z, row, group] of a block of anchors, z divided by the temperature.
        key: the same of a block of keys, whose row is -1 for padding.
    """
    s = tf.matmul(anchor[0], key[0], transpose_b=True)
    valid = (anchor[1][:, None] != key[1]) & (key[1] >= 0)
    positive = valid & (anchor[2][:, None] == key[2])
    return s, positive, valid & ~positive


def _accumulate(scale, total, s, mask):
    """Running [log scale, scaled sum] of exp(s) where the mask holds."""
    s = tf.where(mask, s, tiles.MASKED)
    new = tf.maximum(scale, tf.reduce_max(s, 1))
    return new, total * tf.exp(scale - new) + tf.reduce_sum(tf.exp(s - new[:, None]), 1)


def forward(z, row, group, key_z, key_row, key_group, *, anchor_block, key_block):
    """The losses of local anchors, and what their gradient needs.

    log sum over all others - mean over positives, split as (log sum over positives - their mean)
    + softplus(log sum over negatives - log sum over positives): with one positive the first
    bracket is exactly 0, and the loss keeps its digits as NT-Xent does.

    Args:
        z: float32 [anchors, p], local rows divided by the temperature.
        row: int32 [anchors], position of each row in the global batch.
        group: int32 [anchors], equal for rows that are positives of each other; not -1.
        key_z: float32 [keys, p], the rows of the global batch.
        key_row: int32 [keys].
        key_group: int32 [keys].
        anchor_block: int, anchors per tile.
        key_block: int, keys per tile.
    Returns:
        losses, normalisers and 1 / number of positives, each float32 [anchors].
    """

    def step(state, anchor, key):
        s, positive, negative = _similarities(anchor, key)
        of_negatives = _accumulate(state[0], state[1], s, negative)
        of_positives = _accumulate(state[2], state[3], s, positive)
        sums = tf.reduce_sum(tf.where(positive, s, 0.0), 1)
        counts = tf.reduce_sum(tf.cast(positive, tf.float32), 1)
        return [*of_negatives, *of_positives, state[4] + sums, state[5] + counts]

    start = [tf.constant(x) for x in (tiles.MASKED, 0.0, tiles.MASKED, 0.0, 0.0, 0.0)]
    found = rows.fold(
        [z, row, group],
        [key_z, key_row, key_group],
        start,
        step,
        anchor_block=anchor_block,
        key_block=key_block,
    )
    negatives, positives = (found[i] + tf.math.log(found[i + 1]) for i in (0, 2))
    share = 1.0 / found[5]
    softplus = tf.math.softplus(negatives - positives)
    return positives - found[4] * share + softplus, positives + softplus, share


def backward(
    z,
    row,
    group,
    normalisers,
    shares,
    key_z,
    key_row,
    key_group,
    key_normalisers,
    key_shares,
    *,
    temperature,
    anchor_block,
    key_block,
):
    """Gradient [anchors, p] of the mean over the anchors.

    Args:
        z, row, group, key_z, key_row, key_group: as in forward.
        normalisers: float32 [anchors], from forward.
        shares: float32 [anchors], 1 / number of positives, from forward.
        key_normalisers: float32 [keys], the gathered normalisers.
        key_shares: float32 [keys], the gathered shares.
        temperature: float > 0.
        anchor_block: int, anchors per tile.
        key_block: int, keys per tile.
    """

    def step(state, anchor, key):
        s, positive, negative = _similarities(anchor, key)
        w = tf.exp(s - anchor[3][:, None]) + tf.exp(s - key[3])
        w -= tf.where(positive, anchor[4][:, None] + key[4], 0.0)
        return [state[0] + tf.matmul(tf.where(positive | negative, w, 0.0), key[0])]

    (pushed,) = rows.fold(
        [z, row, group, normalisers, shares],
        [key_z, key_row, key_group, key_normalisers, key_shares],
        [tf.zeros([z.shape[1]])],
        step,
        anchor_block=anchor_block,
        key_block=key_block,
    )
    return pushed / (temperature * tf.cast(tiles.size(z), tf.float32))
