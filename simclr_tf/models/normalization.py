"""Batch normalization whose training statistics cover the batches of all replicas.

On one replica it is TensorFlow's fused operation and nothing else, so exported graphs contain
neither collectives nor custom gradients. On several replicas one packed all-reduce forward and one
backward per layer exchange per-replica means and centred variances, never sums of squares, so that
large means cost no precision.
"""

from typing import Any, Dict, Optional

from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import all_reduce, custom_gradient, keras, tf


class BatchNormalization(keras.layers.BatchNormalization):
    """Normalizes the last axis; statistics and arithmetic are float32 under every policy.

    Differences from the Keras layer: `global_statistics` (the "global BN" of arXiv:2002.05709,
    section 2.2), one collective instead of three, no E[x^2] - E[x]^2, and a moving variance that is the biased batch
    variance on any number of replicas (as in the official synchronised layer).

    Args:
        momentum: decay of the moving averages, in [0, 1].
        epsilon: added to the variance.
        global_statistics: use the statistics of the global batch when training on replicas.
        center: add a learned offset.
        scale: multiply with a learned scale.
        beta_initializer: of the offset.
        gamma_initializer: of the scale.
        moving_mean_initializer: of the moving mean.
        moving_variance_initializer: of the moving variance.
        name: of the layer.
        **kwargs: of the Keras layer: regularizers, constraints, `trainable`, `dtype`.

    Call arguments:
        inputs: float [b, ..., c].
        training: use batch statistics and update the moving averages. Ignored (False) while the
            layer or a parent has `trainable=False`, as in Keras.
    Returns:
        float [b, ..., c] of the dtype of the inputs.
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        *,
        global_statistics: bool = True,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        name: Optional[str] = None,
        **kwargs: Any,
    ):
        super().__init__(
            momentum=momentum,
            epsilon=epsilon,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            moving_mean_initializer=moving_mean_initializer,
            moving_variance_initializer=moving_variance_initializer,
            name=name,
            **kwargs,
        )
        self.global_statistics = global_statistics

    @plain_python
    def call(self, inputs: tf.Tensor, training: Optional[bool] = None) -> tf.Tensor:
        gamma, beta = self.scale_and_offset()
        if not (training and self.trainable):
            return normalize(
                inputs, self.moving_mean, self.moving_variance, gamma, beta, self.epsilon
            )
        context = tf.distribute.get_replica_context()
        if self.global_statistics and context is not None and context.num_replicas_in_sync > 1:
            result = normalize_over_replicas(inputs, gamma, beta, self.epsilon, context)
        elif inputs.shape.rank == 4:
            result = normalize_fused(inputs, gamma, beta, self.epsilon)
        else:
            mean, variance = local_moments(inputs)
            outputs = normalize(inputs, mean, variance, gamma, beta, self.epsilon)
            result = outputs, mean, variance
        outputs, mean, variance = result
        self._update(self.moving_mean, mean)
        self._update(self.moving_variance, variance)
        return outputs

    def scale_and_offset(self):
        """gamma and beta, float32 [c] each; those that are not learned are 1 and 0."""
        gamma = tf.ones(self.moving_mean.shape) if self.gamma is None else self.gamma
        beta = tf.zeros(self.moving_mean.shape) if self.beta is None else self.beta
        return tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta)

    def _update(self, variable, value):
        decay = tf.cast(1.0 - self.momentum, variable.dtype)
        variable.assign_sub((variable - tf.stop_gradient(value)) * decay)

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "global_statistics": self.global_statistics}


def local_moments(inputs):
    """Two-pass mean and biased variance of the last axis, float32 [c] each."""
    inputs = tf.cast(inputs, tf.float32)
    return tf.nn.moments(inputs, list(range(inputs.shape.rank - 1)))


def normalize(inputs, mean, variance, gamma, beta, epsilon):
    """(inputs - mean) / sqrt(variance + epsilon) * gamma + beta with given statistics.

    Args:
        inputs: float [b, ..., c].
        mean, variance, gamma, beta: float32 [c].
        epsilon: float.
    Returns:
        float [b, ..., c] of the dtype of the inputs.
    """
    if inputs.shape.rank == 4:
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, mean=mean, variance=variance,
            epsilon=epsilon, is_training=False,
        ).y  # fmt: skip
    centred = tf.cast(inputs, tf.float32) - mean  # first, or a large mean costs precision
    return tf.cast(centred * (gamma * tf.math.rsqrt(variance + epsilon)) + beta, inputs.dtype)


def normalize_fused(inputs, gamma, beta, epsilon):
    """Training on one replica.

    Float32 inputs are shifted by the mean of the first example: XLA computes the variance of the
    fused operation as E[x^2] - E[x]^2, which is negative for means a few thousand times the
    deviation. (16-bit numbers cannot hold such inputs, and would lose digits by the shift.)

    Args:
        inputs: float [b, h, w, c].
        gamma, beta: float32 [c].
        epsilon: float.
    Returns:
        outputs [b, h, w, c], and mean and biased variance of the batch, float32 [c].
    """
    shift = 0.0
    if inputs.dtype == tf.float32:
        shift = tf.stop_gradient(tf.reduce_mean(inputs[:1], [0, 1, 2]))
        inputs -= shift  # the result does not depend on it, nor does the gradient
    empty = tf.zeros([0], tf.float32)
    result = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=empty, variance=empty,
        epsilon=epsilon, is_training=True,
    )  # fmt: skip
    rows = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
    # The operation returns the unbiased variance.
    variance = result.batch_variance * ((rows - 1.0) / rows)
    return result.y, result.batch_mean + shift, variance


def global_moments(mean, variance, count, context):
    """Statistics of the global batch from those of each replica, by one all-reduce.

    Every replica writes its statistics to a row of its own, so the sum over replicas gathers them
    (the form of all-gather that TPUs have) and the combination below is exact for large means.

    Args:
        mean, variance: float32 [c], of this replica.
        count: float32 [], rows of this replica.
        context: the replica context.
    Returns:
        mean [c], biased variance [c] and count [] of the global batch, float32.
    """
    replicas = context.num_replicas_in_sync
    packed = tf.concat([mean, variance, count[tf.newaxis]], axis=0)
    mine = tf.one_hot(context.replica_id_in_sync_group, replicas)[:, tf.newaxis]
    packed = all_reduce(context, tf.distribute.ReduceOp.SUM, mine * packed)  # [replicas, 2c + 1]
    means, variances, counts = tf.split(packed, [mean.shape[0], mean.shape[0], 1], axis=1)
    total = tf.reduce_sum(counts)
    share = counts / total  # [replicas, 1]
    mean = tf.reduce_sum(share * means, axis=0)
    variance = tf.reduce_sum(share * (variances + tf.square(means - mean)), axis=0)
    return mean, variance, total


def normalize_over_replicas(inputs, gamma, beta, epsilon, context):
    """Training on several replicas with the statistics of the global batch.

    The gradient is written by hand: with g the gradient of the outputs and x^ the normalized
    inputs, dx = gamma / sigma * (g - mean(g) - x^ * mean(g x^)), both means over the global batch
    and in one all-reduce. Gradients of gamma and beta are this replica's share: optimizers sum.

    Args:
        inputs: float [b, ..., c], the rows of this replica; replicas may differ in b.
        gamma, beta: float32 [c].
        epsilon: float.
        context: the replica context.
    Returns:
        outputs [b, ..., c] of the dtype of the inputs, and mean and biased variance of the global
        batch, float32 [c].
    """

    @custom_gradient
    def normalized(inputs, gamma, beta):
        rows = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        mean, variance, total = global_moments(*local_moments(inputs), rows, context)
        outputs = normalize(inputs, mean, variance, gamma, beta, epsilon)

        def gradient(upstream, *_):
            axes = list(range(inputs.shape.rank - 1))
            upstream = tf.cast(upstream, tf.float32)
            inverse = tf.math.rsqrt(variance + epsilon)
            x_hat = (tf.cast(inputs, tf.float32) - mean) * inverse
            beta_share = tf.reduce_sum(upstream, axes)
            gamma_share = tf.reduce_sum(upstream * x_hat, axes)
            packed = tf.stack([beta_share, gamma_share])
            sums = all_reduce(context, tf.distribute.ReduceOp.SUM, packed) / total
            inputs_grad = gamma * inverse * (upstream - sums[0] - x_hat * sums[1])
            return tf.cast(inputs_grad, inputs.dtype), gamma_share, beta_share

        return (outputs, mean, variance), gradient

    return normalized(inputs, gamma, beta)
