"""From the settings of the optimizer to the optimizer."""

import re
from typing import Any, Iterable

from simclr_tf import config
from simclr_tf.optimizers.coupled import Adam, MomentumSGD
from simclr_tf.optimizers.lars import LARS
from simclr_tf.stack import keras, load_addons, tf


def make_optimizer(
    settings: config.Optimizer, schedule: Any, excluded_variables: Iterable[tf.Variable] = ()
) -> Any:
    """The optimizer that `--optimizer` names.

    Weight decay is inside the gradient for lars, momentum and adam (as in the official code) and
    decoupled for adamw and lamb. With `ema_momentum` the optimizer also averages the weights; see
    `averaging.averaged_weights`.

    Args:
        settings: config.Optimizer.
        schedule: learning rate: float or Keras schedule.
        excluded_variables: never decayed; lars and lamb also leave their learning rate as it is.
    Returns:
        Keras optimizer with `build(variables)`; lamb is a legacy-style one.
    Raises:
        SettingsError: lamb on a stack without tensorflow-addons.
    """
    return _TABLE[settings.optimizer](settings, schedule, list(excluded_variables))


def _averaging(settings):
    """Arguments of Keras optimizers for the setting `ema_momentum`."""
    if not settings.ema_momentum:
        return {}
    return {"use_ema": True, "ema_momentum": settings.ema_momentum}


def _lars(settings, schedule, excluded):
    return LARS(
        schedule,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        trust_coefficient=settings.trust_coefficient,
        variant=settings.lars_variant,
        exclude=excluded,
        **_averaging(settings),
    )


def _momentum(settings, schedule, excluded):
    return MomentumSGD(
        schedule,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        exclude=excluded,
        **_averaging(settings),
    )


def _adam(settings, schedule, excluded):
    return Adam(
        schedule,
        weight_decay=settings.weight_decay,
        exclude=excluded,
        **_averaging(settings),
    )


def _adamw(settings, schedule, excluded):
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=settings.weight_decay,
        jit_compile=False,
        **_averaging(settings),
    )
    optimizer.exclude_from_weight_decay(var_list=excluded)
    return optimizer


def _lamb(settings, schedule, excluded):
    addons = load_addons("--optimizer=lamb")
    # The addon knows variables by patterns only: the whole name, on any replica.
    names = [variable.name.split(":")[0] for variable in excluded]
    patterns = [f"^{re.escape(name)}(/replica_[0-9]+)?(:0)?$" for name in names]

    class Lamb(addons.optimizers.LAMB):
        """With the `build` of all other optimizers here."""

        def build(self, var_list):
            self._create_all_weights(var_list)

    return Lamb(
        learning_rate=schedule,
        weight_decay=settings.weight_decay,
        exclude_from_weight_decay=patterns,
        exclude_from_layer_adaptation=patterns,
    )


_TABLE = {"lars": _lars, "momentum": _momentum, "adam": _adam, "adamw": _adamw, "lamb": _lamb}
