"""Golden releases of the official code: weights that follow from the names, and outputs."""

import json
import os
import zlib

import numpy as np
from google.protobuf import descriptor_pool, message_factory

from simclr_tf.stack import tf
from simclr_tf.weights.official_names import official_variables

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
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


def _object_graph():
    descriptor = descriptor_pool.Default().FindMessageTypeByName("tensorflow.TrackableObjectGraph")
    return message_factory.GetMessageClass(descriptor)


def write_object_checkpoint(prefix, variables):
    """A TF2 checkpoint: keys of its own, names in the object graph.

    Args:
        prefix: path of the checkpoint.
        variables: list of (name, key, array).
    """
    graph = _object_graph()()
    for name, key, _ in variables:
        attribute = graph.nodes.add().attributes.add()
        attribute.name = "VARIABLE_VALUE"
        attribute.full_name = name
        attribute.checkpoint_key = key
    tensors = {key: value for _, key, value in variables}
    tensors[GRAPH] = graph.SerializeToString()
    save_tensors(prefix, tensors)


def make_release(networks, selector, factor=1.0):
    """A module with the call of an official SavedModel; its classifier may read the head.

    A factor other than 1 makes it another network than its variables tell.
    """
    encoder, head, classifier = networks

    @tf.function(autograph=False)
    def call(inputs, trainable):
        found = encoder.endpoints(inputs, training=trainable)
        layers = head.outputs(found["final_avg_pool"], training=trainable)
        found["block_group2"] *= factor
        found["proj_head_input"] = layers[0]
        found["proj_head_output"] = layers[-1]
        found["logits_sup"] = classifier(layers[selector])
        return found

    release = tf.Module()
    release.tracked = list(official_variables(*networks).values())
    release.__call__ = call
    for trainable in (False, True):
        call.get_concrete_function(tf.TensorSpec([None, None, None, 3]), trainable=trainable)
    return release


def save_release(release, networks, path, without=None):
    """Writes a SavedModel whose variables have the official names.

    Args:
        release: of `make_release`; networks: what it was made of.
        path: folder to write.
        without: official name of a variable to leave out of the file, or None.
    Returns:
        path.
    """
    tf.saved_model.save(release, path)
    prefix = os.path.join(path, "variables", "variables")
    reader = tf.train.load_checkpoint(prefix)
    tensors = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    graph = _object_graph().FromString(tensors[GRAPH])
    tracked = next(c.node_id for c in graph.nodes[0].children if c.local_name == "tracked")
    order = {child.local_name: child.node_id for child in graph.nodes[tracked].children}
    for i, name in enumerate(official_variables(*networks)):
        (attribute,) = graph.nodes[order[str(i)]].attributes
        attribute.full_name = name
        if name == without:
            del tensors[attribute.checkpoint_key]
            graph.nodes[order[str(i)]].ClearField("attributes")
    tensors[GRAPH] = graph.SerializeToString()
    save_tensors(prefix, tensors)
    return path
