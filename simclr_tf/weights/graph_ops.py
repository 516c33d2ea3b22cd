"""What the graph of somebody else's SavedModel would do besides computing, told before it runs.

A SavedModel is a program: its graph may read and write files, call Python functions of the process
or open connections. To compare outputs it has to run, so its operations are looked through first.
"""

import os
import re
from typing import List, Set

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from simclr_tf.errors import DataError, SettingsError
from simclr_tf.stack import tf

# Operations of TensorFlow that touch anything but tensors and variables, by parts of their names:
# later versions have more of them.
_TOUCHES = re.compile(
    r"File|Reader|Dataset|Summary|Event|Save|Restore|Checkpoint|Debug|Dump|PyFunc|Rpc|PrintV2|TRT"
    r"|BigQuery|CustomCall|Proto|Snapshot|LMDB|Sql|RemoteCall|RemoteFused|RegisterDataset"
)
_HARMLESS = ("ShardedFilename", "ShardedFilespec", "RestoreV2")  # the last reads numbers only
# Every SavedModel holds these two, which write its variables when it is saved.
_SAVES = ("SaveV2", "MergeV2Checkpoints")
_SHOWN = 3


def check_graph(source: str, trust_code: bool = False) -> None:
    """Refuses a SavedModel whose graph reaches beyond its tensors and variables.

    Args:
        source: folder of a SavedModel, or of a TF1 Hub module.
        trust_code: let it run all the same.
    Raises:
        DataError: saved_model.pb cannot be read.
        SettingsError: it would touch files or more, and is not trusted.
    """
    if trust_code:
        return
    found = touching_operations(source)
    if found:
        names = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        raise SettingsError(
            f"SavedModel {source} would do more than compute: its graph holds {names}, which may "
            "read or write files of this computer; if you trust whoever wrote it, add --trust_code."
        )


def touching_operations(source: str) -> List[str]:
    """Names of the operations that reach beyond tensors and variables, each once, sorted.

    Raises:
        DataError: saved_model.pb cannot be read.
    """
    path = os.path.join(source, "saved_model.pb")
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            model = _message("SavedModel").FromString(file.read())
    except (tf.errors.OpError, DecodeError) as error:
        raise DataError(f"{path} cannot be read as a SavedModel; copy it again.") from error
    found = set()
    for graph in model.meta_graphs:
        found.update(_operations(graph))
    return sorted(op for op in found if _TOUCHES.search(op) and op not in _HARMLESS)


def _message(name):
    """A class of TensorFlow's protocol buffers."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName(f"tensorflow.{name}")
    return message_factory.GetMessageClass(descriptor)


def _operations(graph) -> Set[str]:
    """Operations that loading and calling may run: all but those that save the variables.

    What saves is exempt only where nothing else depends on it.
    """
    functions = {one.signature.name: one.node_def for one in graph.graph_def.library.function}
    nodes = {node.name: node for node in graph.graph_def.node}
    saver = _ancestors(nodes, [graph.saver_def.save_tensor_name])
    needed = (set(nodes) - saver) | _ancestors(nodes, _roots(graph))
    found = _closure([nodes[name] for name in needed], functions)
    for name in graph.object_graph_def.concrete_functions:
        found |= _closure(functions.get(name, ()), functions)
    return found | (_closure([nodes[name] for name in saver], functions) - set(_SAVES))


def _roots(graph) -> List[str]:
    """Names of what is run besides saving: outputs, the restoring, and what starts the graph."""
    names = [graph.saver_def.restore_op_name]
    for signature in graph.signature_def.values():
        names += [tensor.name for tensor in signature.outputs.values()]
    for collection in graph.collection_def.values():
        names += collection.node_list.value
        for content in collection.bytes_list.value:
            try:
                variable = _message("VariableDef").FromString(content)
            except DecodeError:
                continue
            names += [variable.initializer_name, variable.snapshot_name]
    return names


def _ancestors(nodes, names) -> Set[str]:
    """Names of these nodes and of all that they depend on."""
    found = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in nodes and name not in found:
            found.add(name)
            waiting += nodes[name].input
    return found


def _closure(nodes, functions) -> Set[str]:
    """Operations of these nodes and of every function that they call."""
    found = set()
    seen = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        found.add(node.op)
        called = {node.op}.union(*(_function_names(value) for value in node.attr.values()))
        for name in (called & set(functions)) - seen:
            seen.add(name)
            waiting += functions[name]
    return found


def _function_names(attribute) -> Set[str]:
    """Names of the functions in an attribute of a node."""
    found = set()
    waiting = [attribute.func, *attribute.list.func]
    while waiting:
        one = waiting.pop()
        found.add(one.name)
        for inner in one.attr.values():
            waiting += [inner.func, *inner.list.func] if inner.WhichOneof("value") else []
    return found
