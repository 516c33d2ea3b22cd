"""The linear classifier on h."""

from typing import Any, Dict, Optional

from simclr_tf.models.layers import kernel_seed
from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import keras, tf


class LinearClassifier(keras.layers.Layer):
    """h float [b, d] -> logits float32 [b, num_classes].

    Args:
        num_classes: number of classes.
        zero_init: start the kernel at zero instead of N(0, 0.01). The bias starts at zero.
        seed: of the initial kernel.
        name: of the layer.
        **kwargs: of keras.layers.Layer, such as `trainable` and `dtype`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        zero_init: bool = False,
        seed: int = 0,
        name: Optional[str] = "head_supervised",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self._settings = dict(num_classes=num_classes, zero_init=zero_init, seed=seed)
        start = keras.initializers.RandomNormal(stddev=0.01, seed=kernel_seed(seed, "classifier"))
        self.dense = keras.layers.Dense(
            num_classes, kernel_initializer="zeros" if zero_init else start
        )

    @plain_python
    def call(self, h: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.dense(h), tf.float32)

    def penalty(self, decay: float) -> tf.Tensor:
        """decay / 2 * ||W||^2 of the kernel, float32 []; the bias is not decayed."""
        return decay * tf.nn.l2_loss(self.dense.kernel)

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), **self._settings}
