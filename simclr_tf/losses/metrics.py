"""What a batch looks like to the contrastive task: accuracy and entropy, without a gradient."""

from simclr_tf.losses import base, replicas, rows, tiles
from simclr_tf.stack import tf

BLOCKS = (512, 1024)


@tf.autograph.experimental.do_not_convert
def contrastive_metrics(z, temperature, hidden_norm=True):
    """Contrastive accuracy and entropy as the official code logs them.

    Both look from each first view at the N second views of the global batch (not at all 2N - 1
    other views): the share of first views whose own second view is the most similar one, and the
    mean entropy of the softmax over the N similarities / temperature, in nats, at most log(N).
    Memory O(N): the N x N similarities are never formed. Inside `strategy.run` the result is
    that of the global batch on every replica (two collectives).

    Args:
        z: float [2b, p] of this replica, all first views, then all second views.
        temperature: float > 0.
        hidden_norm: whether to l2-normalise z.
    Returns:
        {"contrastive_accuracy": float32 [] in [0, 1], "entropy": float32 []}.
    """
    z = tf.stop_gradient(tf.cast(z, tf.float32))
    first, second = tf.split(base.unit_rows(z) if hidden_norm else z, 2)
    context, b = replicas.replica_context(), tiles.size(first)
    own = tf.range(b)
    if context is not None:
        own += tf.cast(context.replica_id_in_sync_group, tf.int32) * b
        second = replicas.gather(second, context)
    best, entropy = _best_and_entropy(first * (1.0 / temperature), second)
    right = tf.cast(tf.equal(best, own), tf.float32)
    means = tf.stack([tf.reduce_mean(right), tf.reduce_mean(entropy)])
    if context is not None:
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, means)
    return {"contrastive_accuracy": means[0], "entropy": means[1]}


def _best_and_entropy(anchors, keys):
    """Index of the best key (the first of equals) and entropy over keys of each anchor."""

    def step(state, anchor, key):
        scale, total, weighted, best = state
        s = tf.matmul(anchor[0], key[0], transpose_b=True)
        s = tf.where(key[1] < 0, tiles.MASKED, s)
        highest = tf.reduce_max(s, 1)
        new_scale = tf.maximum(scale, highest)
        e, old = tf.exp(s - new_scale[:, None]), tf.exp(scale - new_scale)
        total = total * old + tf.reduce_sum(e, 1)
        weighted = weighted * old + tf.reduce_sum(e * s, 1)
        here = key[1][0] + tf.argmax(s, 1, tf.int32)
        return [new_scale, total, weighted, tf.where(highest > scale, here, best)]

    start = [tf.constant(x) for x in (tiles.MASKED, 0.0, 0.0, 0)]
    key_data = [keys, tf.range(tiles.size(keys))]
    scale, total, weighted, best = rows.fold([anchors], key_data, start, step, BLOCKS)
    return best, scale + tf.math.log(total) - weighted / total
