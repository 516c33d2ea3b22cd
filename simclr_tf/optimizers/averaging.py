"""Averaged weights: the setting `ema_momentum`."""

import contextlib
from typing import Any, Iterator, Sequence

from simclr_tf.stack import tf


@contextlib.contextmanager
def averaged_weights(optimizer: Any, variables: Sequence[tf.Variable]) -> Iterator[None]:
    """Puts the averages in place of the trained weights, and the weights back at the end.

    For evaluation and export between steps, outside `tf.function`. Only trainable variables have
    averages; moving statistics of BatchNormalization stay as they are.

    Args:
        optimizer: made by `table.make_optimizer`; without averaging nothing happens.
        variables: variables that the optimizer trains.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    trained = None
    if getattr(inner, "use_ema", False):
        trained = [tf.convert_to_tensor(variable) for variable in variables]
        inner.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, trained or ()):
            variable.assign(value)
