"""Golden releases of the official code: weights that follow from the names, and outputs."""

import json
import os
import zlib

import numpy as np
from google.protobuf import descriptor_pool, message_factory

from simclr_tf.stack import tf

FOLDER = os.path.join(os.path.dirname(__file__), "golden")


def load_golden(name):
    """(description with `variables`: list of [name, key, shape], {output name: array})."""
    with open(os.path.join(FOLDER, f"official_{name}.json")) as file:
        description = json.load(file)
    with np.load(os.path.join(FOLDER, f"official_{name}.npz")) as outputs:
        return description, dict(outputs)


def value_of(name, shape):
    """The weights of the golden releases: a function of the name."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    leaf = name.split("/")[-1]
    if leaf in ("gamma", "moving_variance"):
        value = random.uniform(0.5, 1.5, shape)
    elif leaf in ("beta", "moving_mean", "bias"):
        value = random.normal(0, 0.1, shape)
    else:
        value = random.normal(0, 1, shape) * np.sqrt(2 / np.prod(shape[:-1]))
    return value.astype("float32")


def save_tensors(prefix, tensors):
    """A checkpoint file with these keys."""
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(value) for value in tensors.values()],
    )


def write_object_checkpoint(prefix, variables):
    """A TF2 checkpoint: keys of its own, names in the object graph.

    Args:
        prefix: path of the checkpoint.
        variables: list of (name, key, array).
    """
    descriptor = descriptor_pool.Default().FindMessageTypeByName("tensorflow.TrackableObjectGraph")
    graph = message_factory.GetMessageClass(descriptor)()
    for name, key, _ in variables:
        attribute = graph.nodes.add().attributes.add()
        attribute.name, attribute.full_name = "VARIABLE_VALUE", name
        attribute.checkpoint_key = key
    tensors = {key: value for _, key, value in variables}
    tensors["_CHECKPOINTABLE_OBJECT_GRAPH"] = graph.SerializeToString()
    save_tensors(prefix, tensors)
