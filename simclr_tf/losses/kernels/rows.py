"""Local anchors against all keys, block by block: what one replica computes of a global loss.

Nothing here is a collective, so every function also compiles on its own or inside a larger
compiled step.
"""

from simclr_tf.losses.kernels import anchors, norms, statistics, tiles
from simclr_tf.stack import tf


def fold(anchor_data, key_data, start, step, *, anchor_block, key_block):
    """For every anchor: start, then step over all keys, without an anchors x keys array.

    Args:
        anchor_data, key_data: lists of tensors [anchors, ...] and [keys, ...] with static inner
            axes; blocks of them are padded with 0, integers with -1.
        start: list of tensors, the state of one anchor before the first key; static shapes.
        step: state, anchor block, key block (lists of tensors) -> state; every tensor of a state
            has the rows of the anchor block on axis 0.
        anchor_block: int, anchors per block.
        key_block: int, keys per block.
    Returns:
        list of tensors [anchors, ...], the final states.
    """
    count = tiles.size(anchor_data[0])
    anchor_block = tiles.balanced_block(count, anchor_block)
    key_block = tiles.balanced_block(tiles.size(key_data[0]), key_block)
    anchor_data = [tiles.in_blocks(x, anchor_block) for x in anchor_data]
    key_data = [tiles.in_blocks(x, key_block) for x in key_data]
    start = [tf.tile(x[None], [anchor_block] + [1] * x.shape.rank) for x in start]
    anchor_blocks = tiles.size(anchor_data[0])
    key_blocks = tiles.size(key_data[0])

    def body(i, *results):
        mine = [tiles.take(x, i) for x in anchor_data]

        def inner(j, *state):
            return step(list(state), mine, [tiles.take(x, j) for x in key_data])

        state = tiles.repeat(0, key_blocks, inner, start)
        return [result.write(i, x) for result, x in zip(results, state)]

    results = [tf.TensorArray(x.dtype, anchor_blocks, element_shape=x.shape) for x in start]
    results = tiles.repeat(0, anchor_blocks, body, results)
    flat = [tf.reshape(x.stack(), [-1] + x.element_shape[1:].as_list()) for x in results]
    return [x[:count] for x in flat]


def _negatives(z, images, key_z, key_images):
    """Tile of s, MASKED for keys of the anchor's own image and for padding (image -1)."""
    s = tf.matmul(z, key_z, transpose_b=True)
    masked = (images[:, None] == key_images) | (key_images < 0)
    return tf.where(masked, tiles.MASKED, s)


def forward(z, images, key_z, key_images, *, softmax, anchor_block, key_block, with_figures=False):
    """Losses, normalisers and pulls of local anchors.

    Args:
        z: float32 [2b, p], local rows, first views, then second views.
        images: int32 [2b], position of each row's image in the global batch.
        key_z: float32 [2N, p], the rows of the global batch, replica by replica.
        key_images: int32 [2N], the position of each key's image.
        softmax: anchors.Softmax.
        anchor_block: int, anchors per tile.
        key_block: int, keys per tile.
        with_figures: also return the figures of the batch.
    Returns:
        three float32 [2b], and the figures of `statistics.figures` ({} unless asked for).
    """
    positives = anchors.positives(z, softmax.temperature)
    figures = {}
    if with_figures:
        found = sums(
            z,
            images,
            key_z,
            key_images,
            softmax=softmax,
            anchor_block=anchor_block,
            key_block=key_block,
        )
        log_negatives = statistics.log_negatives(found, softmax)
        figures = statistics.figures(found, z, key_z, softmax)
    else:
        anchor_data = [z * (1.0 / softmax.temperature), images]
        log_negatives = _log_negatives(
            anchor_data,
            [key_z, key_images],
            bounded=softmax.bounded,
            anchor_block=anchor_block,
            key_block=key_block,
        )
    return (*anchors.anchor_terms(log_negatives, positives, softmax.decoupled), figures)


def _log_negatives(anchor_data, key_data, *, bounded, anchor_block, key_block):
    def plain(state, anchor, key):
        return [state[0] + tf.reduce_sum(tf.exp(_negatives(*anchor, *key)), 1)]

    def running(state, anchor, key):
        s = _negatives(*anchor, *key)
        scale = tf.maximum(state[0], tf.reduce_max(s, 1))
        total = state[1] * tf.exp(state[0] - scale) + tf.reduce_sum(tf.exp(s - scale[:, None]), 1)
        return [scale, total]

    blocks = {"anchor_block": anchor_block, "key_block": key_block}
    if bounded:
        (total,) = fold(anchor_data, key_data, [tf.constant(0.0)], plain, **blocks)
        return anchors.log_of_sum(total)
    start = [tf.constant(tiles.MASKED), tf.constant(0.0)]
    scale, total = fold(anchor_data, key_data, start, running, **blocks)
    return scale + tf.math.log(total)


def sums(z, images, key_z, key_images, *, softmax, anchor_block, key_block):
    """The statistics.Sums of local anchors over the negatives among all keys; see forward."""
    b = tiles.size(z) // 2
    views = tf.range(2 * b) // b
    key_views = tf.range(tiles.size(key_z)) % (2 * b) // b
    anchor_data = [z * (1.0 / softmax.temperature), images, views]
    key_data = [key_z, key_images, key_views]
    if not softmax.unit:
        anchor_data.append(norms.inverse_norms(z))
        key_data.append(norms.inverse_norms(key_z))

    def step(state, anchor, key):
        s = _negatives(*anchor[:2], *key[:2])
        second = anchor[2][:, None] < key[2]
        factor = softmax.temperature
        if not softmax.unit:
            factor *= tf.where(key[1] < 0, 1.0, key[3]) * anchor[3][:, None]
        cross = lambda tile, rest: tf.where(second, tile, rest)  # noqa: E731
        new = statistics.of_tile(s, cross, factor, 1, softmax)
        return list(statistics.merge(statistics.Sums(*state), new, softmax))

    start = [tf.constant(x) for x in statistics.NOTHING]
    found = fold(anchor_data, key_data, start, step, anchor_block=anchor_block, key_block=key_block)
    return statistics.Sums(*found)


def backward(
    z,
    images,
    normalisers,
    pulls,
    key_z,
    key_images,
    key_normalisers,
    *,
    softmax,
    anchor_block,
    key_block,
):
    """The gradient with respect to the local rows, of their own loss and of everybody else's.

    Args:
        z: float32 [2b, p], local rows.
        images: int32 [2b], position of each row's image in the global batch.
        normalisers: float32 [2b], of the local rows, from forward.
        pulls: float32 [2b], of the local rows, from forward.
        key_z: float32 [2N, p], the gathered rows.
        key_images: int32 [2N].
        key_normalisers: float32 [2N], the gathered normalisers.
        softmax: anchors.Softmax.
        anchor_block: int, anchors per tile.
        key_block: int, keys per tile.
    Returns:
        float32 [2b, p], d / dz of the sum over replicas of the mean over their 2b anchors.
    """

    def step(state, anchor, key):
        s = _negatives(anchor[0], anchor[1], key[0], key[1])
        u = anchor[2][:, None]
        key_u = key[2]
        if softmax.bounded:
            w = tf.exp(s) * (u + key_u)
        else:
            w = tf.exp(s - u) + tf.exp(s - key_u)
        return [state[0] + tf.matmul(w, key[0])]

    u, key_u = (tf.exp(-e) if softmax.bounded else e for e in (normalisers, key_normalisers))
    anchor_data = [z * (1.0 / softmax.temperature), images, u]
    start = [tf.zeros([z.shape[1]])]
    (pushed,) = fold(
        anchor_data,
        [key_z, key_images, key_u],
        start,
        step,
        anchor_block=anchor_block,
        key_block=key_block,
    )
    scale = 1.0 / (softmax.temperature * tf.cast(tiles.size(z), tf.float32))
    return (pushed - anchors.pulled(z, pulls)) * scale
