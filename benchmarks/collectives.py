"""Counting what the replicas of a traced step exchange.

Two counts that check each other: the CollectiveReduce operations in the graph of a step that a
strategy distributes, and the all-reduces that the same step asks a recording replica context for,
which stands for any number of replicas without tracing as many copies.
"""

import contextlib
import sys

from simclr_tf.stack import tf

PARTS = {"simclr_tf.losses.kernels.replicas": "loss", "simclr_tf.models.normalization": "BN"}


class Recorder:
    """A replica context of `replicas` that notes every all-reduce and returns its argument."""

    replica_id_in_sync_group = 0

    def __init__(self, replicas):
        self.num_replicas_in_sync = replicas
        self.payloads = []  # (part of the program, bytes)

    def all_reduce(self, reduce_op, value):
        """As tf.distribute.ReplicaContext.all_reduce, for one dense tensor of static shape."""
        del reduce_op
        frame = sys._getframe(1)
        while frame.f_globals["__name__"] not in PARTS:  # `stack.all_reduce` stands between
            frame = frame.f_back
        part = PARTS[frame.f_globals["__name__"]]
        self.payloads.append((part, size_of(value)))
        return tf.identity(value)

    @contextlib.contextmanager
    def listening(self):
        """Takes the place of the replica context while a step is traced."""
        real = tf.distribute.get_replica_context
        tf.distribute.get_replica_context = lambda: self
        try:
            yield self
        finally:
            tf.distribute.get_replica_context = real


def size_of(tensor):
    """Bytes of a dense tensor of static shape."""
    return tensor.shape.num_elements() * tensor.dtype.size


def in_graph(function, *arguments):
    """Bytes of every CollectiveReduce in the graph of a tf.function and of what it calls.

    Args:
        function: tf.function; arguments: to trace it with.
    Returns:
        list of int, in no order; every replica's operations are in it.
    """
    definition = function.get_concrete_function(*arguments).graph.as_graph_def(add_shapes=True)
    nodes = list(definition.node)
    for called in definition.library.function:
        nodes += called.node_def
    found = []
    for node in nodes:
        if node.op.startswith("CollectiveReduce"):
            shape = tf.TensorShape(node.attr["_output_shapes"].list.shape[0])
            found.append(shape.num_elements() * tf.as_dtype(node.attr["T"].type).size)
    return found


def exchanged(payload, replicas):
    """Bytes that a replica sends, and receives, in a ring all-reduce of `payload` bytes."""
    return 2 * (replicas - 1) / replicas * payload
