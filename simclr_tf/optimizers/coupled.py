"""Keras optimizers with L2 regularisation of chosen variables added to the gradient."""

from simclr_tf.optimizers.exclusion import ExcludesVariables
from simclr_tf.stack import keras


class CoupledDecay(ExcludesVariables):
    """Mix-in: g = g + weight_decay * w before the update of the Keras optimizer.

    The same as weight_decay / 2 * ||w||^2 in the loss, which is what the official code does, but
    without a pass through the gradient tape.
    """

    def __init__(self, *args, weight_decay=0.0, exclude=(), **kwargs):
        super().__init__(*args, **{"jit_compile": False, **kwargs, "weight_decay": None})
        self.coupled_weight_decay = weight_decay
        self._set_excluded(exclude)

    def build(self, var_list):
        self._find_excluded(var_list)
        super().build(var_list)

    def update_step(self, gradient, variable):
        if self.coupled_weight_decay and not self._is_excluded(variable):
            gradient = gradient + self.coupled_weight_decay * variable
        super().update_step(gradient, variable)

    def get_config(self):
        decay = {"weight_decay": self.coupled_weight_decay}
        return {**super().get_config(), **self._excluded_config(), **decay}


@keras.saving.register_keras_serializable("simclr_tf")
class MomentumSGD(CoupledDecay, keras.optimizers.SGD):
    """SGD with momentum (Nesterov by argument) and coupled weight decay."""


@keras.saving.register_keras_serializable("simclr_tf")
class Adam(CoupledDecay, keras.optimizers.Adam):
    """Adam with coupled weight decay (L2 regularisation; AdamW is the decoupled form)."""
