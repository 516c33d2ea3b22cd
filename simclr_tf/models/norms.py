"""The choice of normalization: over the batch, or within each image."""

from typing import Any, Optional

from simclr_tf.errors import SettingsError
from simclr_tf.models.normalization import BatchNormalization
from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import keras, tf

KINDS = ("batch", "group", "layer")
GROUPS = 32  # of Wu and He, arXiv:1803.08494


class GroupNormalization(keras.layers.GroupNormalization):
    """Normalizes groups of channels within each example (arXiv:1803.08494), in float32.

    Differences from the Keras layer: the number of groups follows from the channels, statistics
    are float32 under every policy, and shapes are static where those of the inputs are.

    Args:
        groups: most groups; the largest divisor of the channels up to it is taken (1: layer
            normalization).
        epsilon: added to the variance.
        center: add a learned offset.
        scale: multiply with a learned scale.
        beta_initializer: of the offset.
        gamma_initializer: of the scale.
        name: of the layer.
        **kwargs: of the Keras layer: regularizers, constraints, `trainable`, `dtype`.

    Call arguments:
        inputs: float [b, ..., c].
        training: not used, as for a BatchNormalization in its place.
    Returns:
        float [b, ..., c] of the dtype of the inputs.
    """

    def __init__(
        self,
        groups: int = GROUPS,
        *,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        name: Optional[str] = None,
        **kwargs: Any,
    ):
        super().__init__(
            groups=groups,
            epsilon=epsilon,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            name=name,
            **kwargs,
        )

    def build(self, input_shape):
        channels = int(input_shape[-1])
        most = min(self.groups, channels)
        self.groups = max(g for g in range(1, most + 1) if channels % g == 0)
        super().build(input_shape)

    @plain_python
    def call(self, inputs, training=None):
        channels = inputs.shape[-1]
        x = tf.reshape(
            tf.cast(inputs, tf.float32),
            [tf.shape(inputs)[0], -1, self.groups, channels // self.groups],
        )
        mean, variance = tf.nn.moments(x, [1, 3], keepdims=True)
        x = tf.reshape((x - mean) * tf.math.rsqrt(variance + self.epsilon), tf.shape(inputs))
        x = x if self.gamma is None else x * tf.cast(self.gamma, tf.float32)
        x = x if self.beta is None else x + tf.cast(self.beta, tf.float32)
        return tf.ensure_shape(tf.cast(x, inputs.dtype), inputs.shape)


def make_norm(
    kind: str = "batch",
    *,
    momentum: float = 0.9,
    global_statistics: bool = True,
    center: bool = True,
    gamma_initializer: Any = "ones",
    name: Optional[str] = None,
) -> keras.layers.Layer:
    """A normalization layer of the last axis.

    Args:
        kind: "batch"; "group" or "layer", which see one example at a time, so that no statistics
            pass between the images of a batch and between micro-batches.
        momentum: decay of the moving averages; of BatchNormalization only.
        global_statistics: statistics over all replicas; of BatchNormalization only.
        center: add a learned offset.
        gamma_initializer: of the scale.
        name: of the layer.
    Returns:
        layer, call(inputs float [b, ..., c], training=None) -> float [b, ..., c].
    Raises:
        SettingsError: unknown kind.
    """
    if kind not in KINDS:
        raise SettingsError(f"norm={kind} is not known: give {', '.join(KINDS)}.")
    if kind == "batch":
        return BatchNormalization(
            momentum,
            global_statistics=global_statistics,
            center=center,
            gamma_initializer=gamma_initializer,
            name=name,
        )
    groups = GROUPS if kind == "group" else 1
    return GroupNormalization(groups, center=center, gamma_initializer=gamma_initializer, name=name)
