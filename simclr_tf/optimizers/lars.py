"""LARS: layer-wise adaptive learning rates (arXiv:1708.03888), as SimCLR's official code has it."""

from typing import Any, Dict, Iterable, Optional, Union

from simclr_tf.errors import SettingsError
from simclr_tf.optimizers.exclusion import ExcludesVariables
from simclr_tf.stack import keras, tf

VARIANTS = ("official", "lightly", "solo_learn")
_EPSILON = 1e-8  # of the PyTorch forms


@keras.saving.register_keras_serializable("simclr_tf")
class LARS(ExcludesVariables, keras.optimizers.Optimizer):
    """SGD with momentum whose step per variable is scaled by ||w|| / ||g||.

    For a variable w with gradient g (use_nesterov applies v once more ahead in both forms)::

        g = g + weight_decay * w                                        unless excluded
        classic_momentum:                         otherwise:
            r = ratio(w, g)                           v = momentum * v + g
            v = momentum * v + lr * r * g             r = ratio(w, v)
            w = w - v                                 w = w - lr * r * v

    with ratio(w, u) = trust_coefficient * ||w|| / ||u||, or 1 if either norm is 0 or w is
    excluded. There is no epsilon and no clipping. Weight decay is inside the norm, unlike the
    decoupled `weight_decay` of the Keras base class. Gradients are summed over replicas first.

    Args:
        learning_rate: float or Keras schedule.
        momentum: decay of the momentum buffer, in [0, 1).
        weight_decay: added to the gradient times the weights, >= 0.
        trust_coefficient: > 0; "eeta" in the official code.
        classic_momentum: put the learning rate inside the momentum buffer; of the variant
            "official" only.
        use_nesterov: apply the velocity once more ahead.
        variant: "official", "lightly" or "solo_learn".
        exclude: variables that are neither decayed nor adapted, see
            `groups.undecayed_variables`; or their exact names.
        clipnorm: clip the norm of each gradient to this; None is off.
        clipvalue: clip each gradient's values to this; None is off.
        global_clipnorm: clip the norm of all gradients together to this; None is off.
        use_ema: average the weights, see `averaging.averaged_weights`.
        ema_momentum: decay of the average.
        ema_overwrite_frequency: steps between replacing the weights by the average; None: never.
        jit_compile: compile the update with XLA on its own.
        name: of the optimizer.
        **kwargs: what else a config of the Keras base class holds.
    Raises:
        SettingsError: unknown variant.
    """

    def __init__(
        self,
        learning_rate: Union[float, keras.optimizers.schedules.LearningRateSchedule] = 0.1,
        *,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust_coefficient: float = 0.001,
        classic_momentum: bool = True,
        use_nesterov: bool = False,
        variant: str = "official",
        exclude: Iterable[Any] = (),
        clipnorm: Optional[float] = None,
        clipvalue: Optional[float] = None,
        global_clipnorm: Optional[float] = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: Optional[int] = None,
        jit_compile: bool = False,
        name: str = "LARS",
        **kwargs: Any,
    ):
        if variant not in VARIANTS:
            known = ", ".join(VARIANTS)
            raise SettingsError(f"lars_variant={variant} is not known: give one of {known}.")
        super().__init__(
            name=name,
            weight_decay=None,  # ours is inside the norm
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            jit_compile=jit_compile,
            **kwargs,
        )
        self._learning_rate = self._build_learning_rate(learning_rate)
        self._set_excluded(exclude)
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.trust_coefficient = trust_coefficient
        self.classic_momentum = classic_momentum
        self.use_nesterov = use_nesterov
        self.variant = variant

    def build(self, var_list):
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._find_excluded(var_list)
        self.momentums = [
            self.add_variable_from_reference(model_variable=variable, variable_name="m")
            for variable in var_list
        ]
        self._built = True

    def update_step(self, gradient, variable):
        gradient = tf.convert_to_tensor(gradient)  # may be sparse
        buffer = self.momentums[self._index_dict[self._var_key(variable)]]
        rate = tf.cast(self.learning_rate, variable.dtype)
        excluded = self._is_excluded(variable)
        if self.variant != "official":
            gradient = gradient if excluded else self._adapted(variable, gradient, rate)
            velocity = self.momentum * buffer + gradient
            buffer.assign(velocity)
            update = self.momentum * velocity + gradient if self.use_nesterov else velocity
            variable.assign_sub(rate * update)
            return
        if not excluded:
            gradient += self.coupled_weight_decay * variable
        if self.classic_momentum:
            gradient *= rate if excluded else rate * self._trust_ratio(variable, gradient)
        velocity = self.momentum * buffer + gradient
        buffer.assign(velocity)
        update = self.momentum * velocity + gradient if self.use_nesterov else velocity
        if not self.classic_momentum:
            update *= rate if excluded else rate * self._trust_ratio(variable, update)
        variable.assign_sub(update)

    def _adapted(self, variable, gradient, rate):
        """The decayed and scaled gradient of the PyTorch forms; as it is if either norm is 0."""
        decay = self.coupled_weight_decay
        if self.variant == "lightly" and not decay:
            return gradient
        norm = tf.norm(variable)
        gradient_norm = tf.norm(gradient)
        scale = self.trust_coefficient * norm / (gradient_norm + decay * norm + _EPSILON)
        if self.variant == "solo_learn":
            scale = tf.minimum(scale / rate, 1.0)  # inf in a step of rate 0, which moves nothing
        both = (norm > 0) & (gradient_norm > 0)
        return tf.where(both, scale * (gradient + decay * variable), gradient)

    def _trust_ratio(self, variable, update):
        """float []: trust_coefficient * ||variable|| / ||update||, 1 if either norm is 0."""
        norm = tf.norm(variable)
        update_norm = tf.norm(update)
        ratio = self.trust_coefficient * tf.math.divide_no_nan(norm, update_norm)
        return tf.where((norm > 0) & (update_norm > 0), ratio, tf.ones_like(ratio))

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor; `exclude` as names."""
        return {
            **super().get_config(),
            **self._excluded_config(),
            "learning_rate": self._serialize_hyperparameter(self._learning_rate),
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "trust_coefficient": self.trust_coefficient,
            "classic_momentum": self.classic_momentum,
            "use_nesterov": self.use_nesterov,
            "variant": self.variant,
        }
