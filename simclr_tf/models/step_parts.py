"""What every custom train step shares: the loss scale of mixed_float16, and the watch for NaN."""

from simclr_tf.stack import tf


class StepParts:
    """Mix-in for Keras models with a custom `train_step` and the running metrics `running`."""

    def scaled(self, objective):
        """The objective times the loss scale of mixed_float16, if there is one."""
        if hasattr(self.optimizer, "get_scaled_loss"):
            return self.optimizer.get_scaled_loss(objective)
        return objective

    def apply(self, gradients):
        """One optimizer step; `gradients` are those of `scaled` objectives."""
        if hasattr(self.optimizer, "get_unscaled_gradients"):
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))

    def count_non_finite(self, loss):
        """Counts a loss that is not finite, on the device: no host sync in every step."""
        finite = tf.cast(tf.math.is_finite(loss), tf.float32)
        self.running["non_finite_steps"].update_state(1.0 - finite)
