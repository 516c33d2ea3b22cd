"""The cross-replica part: collectives without a gradient, and an exact gradient beside them."""

from simclr_tf.stack import all_reduce, custom_gradient, tf


def replica_context():
    """The replica context if there is more than one replica, else None.

    Outside `strategy.run` (the cross-replica context) there is none: the batch is then whole.
    """
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def gather(x, context):
    """Rows x [m, ...] of every replica as [replicas * m, ...], in the order of the replicas.

    One all_reduce(SUM) of a zero-padded tensor, as in the official code: unlike `all_gather` it
    keeps static shapes and compiles. Every replica must hold the same number of rows. Nobody
    should differentiate through it: that would be another collective.
    """
    replica = tf.reshape(tf.cast(context.replica_id_in_sync_group, tf.int32), [1, 1])
    replicas = context.num_replicas_in_sync
    shape = tf.concat([[replicas], tf.shape(x)], 0)
    padded = tf.scatter_nd(replica, x[None], shape)
    padded.set_shape([replicas] + x.shape.as_list())
    everything = all_reduce(context, tf.distribute.ReduceOp.SUM, padded)
    rows = replicas * x.shape[0] if x.shape[0] is not None else -1
    return tf.reshape(everything, [rows] + x.shape[1:].as_list())


def image_positions(b, context):
    """Position in the global batch of the image behind each row.

    Args:
        b: int or int32 tensor, images per replica; rows are b first views, then b second views.
        context: replica context.
    Returns:
        int32 [2b] of the local rows, and int32 [2 * b * replicas] of gathered rows.
    """
    local = tf.tile(tf.range(b), [2])
    first = b * tf.range(context.num_replicas_in_sync)
    keys = tf.reshape(first[:, None] + local, [-1])
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    return replica * b + local, keys


def with_gradient(z, loss, backward):
    """`loss` as a function of z.

    Args:
        z: float tensor.
        loss: float [], computed from `tf.stop_gradient(z)`, so that no tape keeps its tiles.
        backward: called in the backward pass, returns d loss / d z without collectives. The
            upstream gradient must be the same on all replicas (loss scale, 1 / replicas).
    Returns:
        float []; it has first derivatives only.
    """

    @custom_gradient
    def attach(z):
        del z
        return tf.identity(loss), lambda upstream: upstream * backward()

    return attach(z)
