"""Proof that an encoder did not change: a hash of all its weights and statistics."""

import contextlib
import hashlib

import numpy as np

from simclr_tf.stack import tf


class FrozenEncoderError(RuntimeError):
    """An encoder that had to stay frozen changed; the results would be wrong."""


def weights_hash(model, strategy=None):
    """SHA-256 over every variable of a model, trainable or not (BatchNormalization statistics).

    Args:
        model: built Keras model or layer.
        strategy: tf.distribute.Strategy that holds it; the copies of all replicas are hashed.
    Returns:
        str, 64 hexadecimal digits.
    """
    strategy = strategy or tf.distribute.get_strategy()
    digest = hashlib.sha256()
    for index, variable in enumerate(model.variables):
        digest.update(f"{index} {variable.dtype} {variable.shape}".encode())
        for copy in strategy.experimental_local_results(variable):
            digest.update(np.ascontiguousarray(copy.numpy()).tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def proved_frozen(model, strategy=None):
    """Runs a block and fails if the model changed in it.

    Yields:
        str, the hash before the block.
    Raises:
        FrozenEncoderError: the hash after the block differs.
    """
    before = weights_hash(model, strategy)
    yield before
    after = weights_hash(model, strategy)
    if after != before:
        raise FrozenEncoderError(
            f"the frozen encoder changed during evaluation (sha256 {before[:12]} -> {after[:12]}); "
            "the results are discarded: something trained its weights or updated its statistics."
        )
