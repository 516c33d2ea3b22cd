"""Steps whose loss or gradients are NaN or infinite: detected on the device, counted, skipped."""

from simclr_tf.stack import all_reduce, keras, tf

_SCALE_FLOOR = 1.0  # of the loss scale of mixed_float16: below it overflow is no matter of scale


class NonFiniteSteps(keras.metrics.Metric):
    """Counts non-finite steps on the device, without waiting for the host.

    `result` is their number since the last reset, float32 []. The replicas agree on every step,
    so each keeps the whole count in int64 scalars:

    - total: since the start of the run; never reset.
    - first: number of the first one since the last reset, 0 if there is none.
    - in_a_row: how many the newest steps are, without a good one; never reset.
    - longest: the largest `in_a_row` since the last reset.
    """

    def __init__(self, name="non_finite_steps", **kwargs):
        super().__init__(name=name, **kwargs)
        self.recent, self.total, self.first, self.in_a_row, self.longest = (
            self.add_weight(
                name=part,
                dtype=tf.int64,
                initializer="zeros",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for part in ("recent", "total", "first", "in_a_row", "longest")
        )

    def update_state(self, wrong, step):
        """Adds a step.

        Args:
            wrong: bool [], the same on all replicas.
            step: int64 [], counted from 1.
        """
        one = tf.cast(wrong, tf.int64)
        self.recent.assign_add(one)
        self.total.assign_add(one)
        in_a_row = (self.in_a_row + 1) * one
        self.longest.assign(tf.maximum(self.longest, in_a_row))
        self.in_a_row.assign(in_a_row)
        found = tf.where(wrong, tf.cast(step, tf.int64), 0)
        self.first.assign(tf.where(tf.equal(self.first, 0), found, self.first))

    def result(self):
        return tf.cast(self.recent, tf.float32)

    def reset_state(self):
        for variable in (self.recent, self.first, self.longest):
            variable.assign(tf.zeros_like(variable))


def is_wrong(loss, gradients, loss_scale=None):
    """Whether the loss or a gradient of a step is not finite on this replica.

    Args:
        loss: float [].
        gradients: list of float tensors.
        loss_scale: of mixed_float16, float [], or None. Its optimizer skips steps with infinite
            gradients by itself and lowers the scale; that is normal until the scale is 1.
    Returns:
        bool [].
    """
    finite = [tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(g))) for g in gradients]
    overflow = tf.logical_not(tf.reduce_all(tf.stack(finite)))
    if loss_scale is not None:
        overflow = tf.logical_and(overflow, loss_scale <= _SCALE_FLOOR)
    return tf.logical_or(overflow, tf.logical_not(tf.math.is_finite(loss)))


def summed(gradients, loss):
    """Gradients and losses over all replicas, by one collective: (list, float []).

    A loss that is not finite on one replica is not finite in the sum.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return gradients, loss
    *gradients, loss = all_reduce(context, tf.distribute.ReduceOp.SUM, [*gradients, loss])
    return gradients, loss


def update_if(good, update, otherwise, gradients):
    """Runs update(gradients) where `good` holds, else otherwise(), on this replica.

    Args:
        good: bool [], the same on all replicas.
        update: function of the list of gradients, which updates variables of all replicas.
        otherwise: function without arguments, run once for all replicas.
        gradients: list of tensors.
    """
    strategy = tf.distribute.get_strategy()
    one = strategy.num_replicas_in_sync == 1
    if one or tf.__internal__.distribute.strategy_supports_no_merge_call():
        tf.cond(good, lambda: update(gradients), otherwise)
        return

    def on_all_replicas(strategy, good, gradients):
        # an update synchronises the replicas, which TensorFlow forbids within a tf.cond of theirs
        def every_replica():
            strategy.extended.call_for_each_replica(update, args=(gradients,))

        tf.cond(strategy.experimental_local_results(good)[0], every_replica, otherwise)

    tf.distribute.get_replica_context().merge_call(on_all_replicas, args=(good, gradients))
