"""What every custom train step shares: the loss scale of mixed_float16, and the watch for NaN."""

from simclr_tf.models import non_finite
from simclr_tf.stack import tf


class StepParts:
    """Mix-in for Keras models with a custom `train_step`.

    They have the parts `encoder`, `head` and `probe` (or None), and the running metrics
    `running`, of which "non_finite_steps" is a `non_finite.NonFiniteSteps`.

    Attributes:
        skips_non_finite: whether a step whose loss or gradients are not finite leaves everything
            but `optimizer.iterations`, which the learning rate follows, as it was before.
    """

    skips_non_finite = False

    def scaled(self, objective):
        """The objective times the loss scale of mixed_float16, if there is one."""
        if hasattr(self.optimizer, "get_scaled_loss"):
            return self.optimizer.get_scaled_loss(objective)
        return objective

    def snapshot(self):
        """What a forward pass changes (statistics and metrics), before it; [] if nothing skips."""
        return [tf.identity(variable) for variable in self._changing()]

    def apply(self, gradients, loss, before):
        """Ends a step: updates the weights, or counts the step as non-finite.

        Args:
            gradients: of `scaled` objectives, one per trainable variable; None where there is none.
            loss: float [], of this replica.
            before: `snapshot()` of the beginning of the step.
        """
        optimizer = self.optimizer
        scale = None
        if hasattr(optimizer, "get_unscaled_gradients"):
            gradients = optimizer.get_unscaled_gradients(gradients)
            scale = optimizer.loss_scale
        pairs = zip(gradients, self.trainable_variables)
        gradients, variables = zip(*[pair for pair in pairs if pair[0] is not None])
        gradients, loss = non_finite.summed(list(gradients), loss)
        wrong = non_finite.is_wrong(loss, gradients, scale)
        self.running["non_finite_steps"].update_state(wrong, optimizer.iterations + 1)

        def update(gradients):
            pairs = list(zip(gradients, variables))
            optimizer.apply_gradients(pairs, experimental_aggregate_gradients=False)

        def count():
            optimizer.iterations.assign_add(1, read_value=False)

        if not self.skips_non_finite:
            update(gradients)
            return
        non_finite.update_if(tf.logical_not(wrong), update, count, gradients)
        for variable, old in zip(self._changing(), before):
            variable.assign(tf.where(wrong, old, variable))

    def _changing(self):
        """Variables that a forward pass changes, except the count of non-finite steps."""
        if not self.skips_non_finite:
            return []
        parts = [part for part in (self.encoder, self.head, self.probe) if part is not None]
        counted = [m for m in self.metrics if m is not self.running["non_finite_steps"]]
        variables = [v for one in [*parts, *counted] for v in one.variables]
        return [v for v in variables if not v.trainable]
