"""Walks the graph of a compiled step, nested functions included, for what no accelerator has."""

from simclr_tf.stack import tf

PYTHON = {"PyFunc", "EagerPyFunc", "PyFuncStateless"}
HOST = {
    "DecodeAndCropJpeg", "DecodeBmp", "DecodeGif", "DecodeImage", "DecodeJpeg", "DecodePng",
    "DecodeRaw", "EncodeJpeg", "EncodePng", "ExtractJpegShape", "PrintV2", "Print", "ReadFile",
    "WriteFile", "WriteSummary", "WriteScalarSummary",
}  # fmt: skip
STATEFUL_RANDOM = {
    "Multinomial", "ParameterizedTruncatedNormal", "RandomGammaV2", "RandomPoissonV2",
    "RandomShuffle", "RandomStandardNormal", "RandomUniform", "RandomUniformInt",
    "StatefulRandomBinomial", "StatefulStandardNormalV2", "StatefulTruncatedNormal",
    "StatefulUniform", "StatefulUniformFullInt", "StatefulUniformInt", "TruncatedNormal",
}  # fmt: skip
DATA_SHAPES = {
    "DynamicPartition", "ListDiff", "NonMaxSuppressionV5", "SparseToDense", "Unique", "UniqueV2",
    "UniqueWithCounts", "Where",
}  # fmt: skip
"""Operations whose result has a shape that the values decide."""
KINDS = {
    "float32", "bfloat16", "float16", "float64", "bool", "complex64", "int8", "int16", "int32",
    "int64", "uint8", "uint16", "uint32", "uint64",
}  # fmt: skip
"""What a TPU computes with."""
OUTSIDE = ("resource", "variant")  # handles of variables and loops: they carry no pixels


def function_graphs(concrete):
    """{name: graph} of a concrete function and of everything that it calls, at any depth."""
    found = {}
    pending = [("step", concrete.graph)]
    while pending:
        name, graph = pending.pop()
        if name in found:
            continue
        found[name] = graph
        for operation in graph.get_operations():
            for called in _called(operation):
                pending.append((called, _graph_of(graph, called)))
    return found


def _called(operation):
    """Names of the functions in the attributes of an operation."""
    for attribute in operation.node_def.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        yield from (function.name for function in attribute.list.func)


def _graph_of(graph, name):
    """The graph of a function that another one's graph knows by name."""
    function = graph._get_function(name)
    if function is None:
        raise AssertionError(f"the graph calls {name}, which it does not hold")
    return function.graph


def troubles(concrete):
    """What keeps a step from an accelerator: sorted list of "function: operation (kind): reason".

    Args:
        concrete: a tf.types.experimental.ConcreteFunction of static inputs.
    """
    found = set()
    for function, graph in function_graphs(concrete).items():
        for operation in graph.get_operations():
            for reason in _reasons(operation):
                found.add(f"{function}: {operation.name} ({operation.type}): {reason}")
    return sorted(found)


def _reasons(operation):
    kind = operation.type
    if kind in PYTHON:
        yield "runs Python"
    if kind in HOST or "Dataset" in kind or "Iterator" in kind:
        yield "works on the host only"
    if kind in STATEFUL_RANDOM:
        yield "draws from a generator with a state"
    if kind in DATA_SHAPES:
        yield "gives a shape that depends on values"
    for tensor in operation.outputs:
        name = tensor.dtype.base_dtype.name
        if name in OUTSIDE or _is_opaque(tensor):
            continue
        if name not in KINDS:
            yield f"is {name}"
        if not tensor.shape.is_fully_defined():
            yield f"has the shape {tensor.shape}"


def _is_opaque(tensor):
    """Whether TensorFlow gives it no shape although it is no data of the step.

    That is what the forward FusedBatchNorm keeps for its gradient (of cuDNN; XLA has none), the
    gradient of that, and the arguments that the condition of a loop ignores.
    """
    operation = tensor.op
    if operation.type == "ZerosLike":
        return _is_opaque(operation.inputs[0])
    if operation.type == "Placeholder":
        return not tensor.consumers()
    return operation.type == "FusedBatchNormV3" and tensor.value_index >= 3


def hlo_of(function, *arguments):
    """The program that XLA makes of a tf.function with jit_compile, as text."""
    return function.experimental_get_compiler_ir(*arguments)(stage="hlo")


def of_step(step, *specs):
    """The concrete function of a Python function on inputs of these specs (nested structures)."""
    return tf.function(step, autograph=False).get_concrete_function(*specs)
