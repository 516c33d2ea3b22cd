"""The door of the room: any file of weights that is understood -> our networks, in float32."""

import contextlib

from simclr_tf.errors import DataError
from simclr_tf.stack import keras, tf
from simclr_tf.weights.official import NOTHING_SAID, Choices, Imported, import_official
from simclr_tf.weights.torch_resnet import import_torch


def import_weights(
    source: str,
    prefix: str = "",
    input_norm: str = "imagenet",
    choices: Choices = NOTHING_SAID,
) -> Imported:
    """Reads weights of other code, whatever the precision policy of the caller.

    Args:
        source: a folder or checkpoint prefix: official SimCLR, see `official.import_official`; a
            file: PyTorch, see `torch_resnet.import_torch`.
        prefix: of `import_torch`.
        input_norm: of `import_torch`.
        choices: what the user says of weights that do not tell it themselves.
    Returns:
        official.Imported.
    Raises:
        DataError: nothing usable is there, or the outputs differ from those of a SavedModel,
            or a checkpoint leaves a choice open.
    """
    if not source:
        raise DataError("no source is given; give --source=PATH of a SavedModel, a checkpoint or a PyTorch file.")  # fmt: skip
    is_file = tf.io.gfile.exists(source) and not tf.io.gfile.isdir(source)
    with float32():
        if is_file:
            return import_torch(source, prefix, input_norm, choices)
        return import_official(source, choices)


@contextlib.contextmanager
def float32():
    """Networks that are built inside are float32, whatever the precision policy of the caller."""
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(policy)
