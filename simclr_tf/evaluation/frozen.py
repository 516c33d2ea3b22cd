"""Encoders that stay as they are: a proof by a hash, and their fastest form."""

import contextlib
import hashlib

import numpy as np

from simclr_tf import stack
from simclr_tf.models.folded import FoldedResNet, can_fold
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


def fastest(encoder, strategy=None):
    """The fastest function for h of an encoder that stays as it is.

    Args:
        encoder: built encoder.
        strategy: tf.distribute.Strategy that holds it, default the current one.
    Returns:
        callable (images float [b, s, s, c], training=False) -> h float32 [b, d]: on one CPU in half
        precision `FoldedResNet`, else the encoder itself. In float32, h is that of the encoder
        bit for bit.
    """
    strategy = strategy or tf.distribute.get_strategy()
    alone = strategy.num_replicas_in_sync == 1 and not stack.accelerated()
    return FoldedResNet(encoder) if alone and can_fold(encoder) else encoder
