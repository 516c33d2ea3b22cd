"""Running metrics of the shape of the embedding: uniformity of z and effective rank of h."""

from typing import Any

from simclr_tf.stack import keras, tf


class LogMean(keras.metrics.Mean):
    """The log of a mean: over steps and replicas the mean comes first, then the log."""

    def result(self):
        return tf.math.log(super().result())


def effective_rank(covariance):
    """exp of the entropy of the spectrum, from 1 to the width of h.

    The entropy of the eigenvalues over their sum (the effective rank of Roy and Vetterli, 2007,
    of the covariance matrix); 1 if h varies along one direction only, 0 if it does not vary, not
    finite if h is not. A fall during training shows dimensional collapse.

    Args:
        covariance: float [features, features], symmetric; any multiple of it gives the same.
    Returns:
        float [] of the same dtype.
    """
    total = tf.linalg.trace(covariance)
    usable = tf.math.is_finite(total) & (total > 0.0)
    covariance = tf.where(usable, covariance / total, 0.0)  # eigvalsh aborts the step on NaN
    share = tf.maximum(tf.linalg.eigvalsh(covariance), 0.0)
    entropy = -tf.reduce_sum(tf.math.xlogy(share, share))
    return tf.where(usable, tf.exp(entropy), total)


class EffectiveRank(keras.metrics.Metric):
    """The effective rank of all h seen since the last reset.

    A step costs one product [features, m] x [m, features] and no collective; the
    eigendecomposition is done in `result`, in float64, when somebody asks.
    """

    def __init__(self, features: int, name: str = "effective_rank", **kwargs: Any):
        """Makes the sums.

        Args:
            features: the width of h.
            name: of the metric.
            **kwargs: of keras.metrics.Metric.
        """
        super().__init__(name=name, **kwargs)
        self.count = self.add_weight(name="count", initializer="zeros")
        self.total = self.add_weight(name="total", shape=[features], initializer="zeros")
        self.products = self.add_weight(
            name="products", shape=[features, features], initializer="zeros"
        )

    def update_state(self, h):
        """Adds h float [m, features] of this replica."""
        h = tf.stop_gradient(tf.cast(h, tf.float32))
        self.count.assign_add(tf.cast(tf.shape(h)[0], tf.float32))
        self.total.assign_add(tf.reduce_sum(h, 0))
        self.products.assign_add(tf.matmul(h, h, transpose_a=True))

    def reset_state(self):
        for variable in (self.count, self.total, self.products):
            variable.assign(tf.zeros_like(variable))

    def result(self):
        """float32 []; see `effective_rank`."""
        count, total, products = (
            tf.cast(tf.convert_to_tensor(x), tf.float64)
            for x in (self.count, self.total, self.products)
        )
        mean = total / tf.maximum(count, 1.0)
        covariance = products - count * mean[:, None] * mean
        # float32 sums cannot tell less than this from no variation at all
        smallest = 1e-6 * tf.linalg.trace(products)
        still = tf.linalg.trace(covariance) <= smallest
        return tf.cast(effective_rank(tf.where(still, 0.0, covariance)), tf.float32)
