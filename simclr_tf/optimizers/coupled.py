"""Keras optimizers with L2 regularisation of chosen variables added to the gradient."""

import threading
from typing import Any, Dict, Iterable, Union

from simclr_tf.optimizers.exclusion import ExcludesVariables
from simclr_tf.stack import keras, tf

LearningRate = Union[float, keras.optimizers.schedules.LearningRateSchedule]


class CoupledDecay(ExcludesVariables):
    """Mix-in: g = g + weight_decay * w before the update of the Keras optimizer.

    The same as weight_decay / 2 * ||w||^2 in the loss, which is what the official code does, but
    without a pass through the gradient tape.
    """

    def _set_decay(self, weight_decay: float, exclude: Iterable[Any]):
        """Call after the constructor of the Keras optimizer, before building.

        Args:
            weight_decay: float >= 0.
            exclude: variables that are not decayed, or their exact names.
        """
        self.coupled_weight_decay = weight_decay
        self._set_excluded(exclude)

    def build(self, var_list):
        self._find_excluded(var_list)
        super().build(var_list)

    def update_step(self, gradient, variable):
        if self.coupled_weight_decay and not self._is_excluded(variable):
            gradient = gradient + self.coupled_weight_decay * variable
        super().update_step(gradient, variable)

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor; `exclude` as names."""
        decay = {"weight_decay": self.coupled_weight_decay}
        return {**super().get_config(), **self._excluded_config(), **decay}


@keras.saving.register_keras_serializable("simclr_tf")
class MomentumSGD(CoupledDecay, keras.optimizers.SGD):
    """SGD with momentum and coupled weight decay.

    Args:
        learning_rate: float or Keras schedule.
        momentum: decay of the momentum buffer, in [0, 1); 0 is plain SGD.
        nesterov: Nesterov momentum.
        weight_decay: added to the gradient times the weights, >= 0.
        exclude: variables that are not decayed, or their exact names.
        use_ema: average the weights, see `averaging.averaged_weights`.
        ema_momentum: decay of the average.
        jit_compile: compile the update with XLA on its own.
        name: of the optimizer.
        **kwargs: of keras.optimizers.Optimizer, such as `global_clipnorm`.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        exclude: Iterable[Any] = (),
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        jit_compile: bool = False,
        name: str = "SGD",
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            jit_compile=jit_compile,
            name=name,
            **kwargs,
        )
        self._set_decay(weight_decay, exclude)


class FusedAdam(keras.optimizers.Adam):
    """Adam of Keras with TensorFlow's kernel for the whole update of a variable.

    Keras writes the update as 25 operations a variable, which take a third of the time in which a
    train step is traced. What all variables share is computed once a step.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._shared = threading.local()  # replicas may be traced by threads of their own

    def _distributed_apply_gradients_fn(self, distribution, grads_and_vars, **kwargs):
        rate = tf.cast(self.learning_rate, tf.float32)
        step = tf.cast(self.iterations + 1, tf.float32)
        powers = [tf.pow(beta, step) for beta in (self.beta_1, self.beta_2)]
        self._shared.terms = rate, *powers
        try:
            return super()._distributed_apply_gradients_fn(distribution, grads_and_vars, **kwargs)
        finally:
            del self._shared.terms

    def update_step(self, gradient, variable):
        terms = getattr(self._shared, "terms", None)
        dense = not isinstance(gradient, tf.IndexedSlices)
        if terms is None or not dense or self.amsgrad or variable.dtype != tf.float32:
            super().update_step(gradient, variable)
            return
        rate, power_1, power_2 = terms
        place = self._index_dict[self._var_key(variable)]
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].handle,
            v=self._velocities[place].handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


@keras.saving.register_keras_serializable("simclr_tf")
class Adam(CoupledDecay, FusedAdam):
    """Adam with coupled weight decay (L2 regularisation; AdamW is the decoupled form).

    Args:
        learning_rate: float or Keras schedule.
        beta_1: decay of the mean of the gradients.
        beta_2: decay of the mean of their squares.
        epsilon: added to the root of the mean square.
        weight_decay: added to the gradient times the weights, >= 0.
        exclude: variables that are not decayed, or their exact names.
        use_ema: average the weights, see `averaging.averaged_weights`.
        ema_momentum: decay of the average.
        jit_compile: compile the update with XLA on its own.
        name: of the optimizer.
        **kwargs: of keras.optimizers.Adam, such as `amsgrad`.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float = 0.0,
        exclude: Iterable[Any] = (),
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        jit_compile: bool = False,
        name: str = "Adam",
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            jit_compile=jit_compile,
            name=name,
            **kwargs,
        )
        self._set_decay(weight_decay, exclude)
