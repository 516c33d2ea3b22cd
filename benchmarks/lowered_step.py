"""Lowers a pretraining step to a program that runs without TensorFlow, for a machine that has none.

Nothing is executed to lower it, so a step of ResNet-50 with 224 pixels takes seconds and little memory.
The folder holds serialized HLO and a manifest with the shapes of all arguments and the seeds of
their values: a few megabytes in all. `benchmarks.run_lowered` runs it.

    python -m benchmarks.lowered_step --encoder=resnet50 --image_size=224 --batch=256 \\
        --precision=mixed_bfloat16 --output=lowered/resnet50_224_256_bfloat16

Parts: `step` is the whole step of `--mode=pretrain --jit_compile` from host crops (above 64 pixels) or
stored images (up to 64) to the updated weights; `views` its part that makes the views; `loss` NT-Xent
and its gradient alone; `replica_loss` what one of 8 replicas computes of it; `embed` the encoder as `--mode=embed` runs it; `step_without_bn` the step with
every BatchNormalization reduced to its scale and offset, whose difference to `step` is what
BatchNormalization costs.

The step is traced as on an accelerator: the views in the form for wide devices. The result that is
expected of a program comes from TensorFlow on this CPU, in float32, for the same arguments: of two
steps where they are small (`steps`), else of the first loss without gradients (`loss`), or nothing.
"""

import argparse
import contextlib
import dataclasses
import gzip
import os
import re
from unittest import mock

import numpy as np
from tensorflow.compiler.xla.service import hlo_pb2

from benchmarks import lowered
from simclr_tf import config as settings_of
from simclr_tf import stack
from simclr_tf.models import normalization
from simclr_tf.stack import keras, tf
from simclr_tf.training import length, pretraining
from simclr_tf.views import device

PARTS = ("step", "views", "loss", "replica_loss", "embed", "step_without_bn")
ENCODERS = {f"resnet{depth}": depth for depth in (10, 18, 34, 50, 101, 152, 200)}
IMAGES = 1_281_167  # of the training whose schedule the step follows: ImageNet
WIDTH_OF_Z = 128
REPLICAS = 8
MOST_STEP_FLOP = 3e11  # up to here two whole steps are a matter of seconds on a CPU
MOST_LOSS_FLOP = 5e12
MOST_VIEW_BYTES = 2**32  # of the first layer's result for all views


@dataclasses.dataclass
class Program:
    """A function of tensors that is to be lowered.

    Attributes:
        function: tensors -> dict of tensors.
        arguments: {name: argument}, see `lowered.values_of`; those of `function`, in order.
        variables: {id of a handle: (name, role, variable)} that `function` may capture.
        checked: name of the result that is compared.
    """

    function: object
    arguments: dict
    variables: dict
    checked: str


def settings(arguments):
    """config.Pretrain of the command line."""
    return settings_of.build(
        settings_of.Pretrain,
        {
            "dataset": "imagenet2012",
            "model_dir": "unused",
            "image_size": arguments.image_size,
            "resnet_depth": ENCODERS[arguments.encoder],
            "width_multiplier": arguments.width,
            "train_batch_size": arguments.batch,
            "precision": arguments.precision,
            "proj_out_dim": WIDTH_OF_Z,
            "color_jitter_strength": 1.0 if arguments.image_size > 32 else 0.5,
            "use_blur": arguments.image_size > 32,
            "warmup_epochs": 0.0,
            "loss_block_size": arguments.block_size,
            "jit_compile": True,
        },
    )


def build(config, precision=None):
    """The model of a config.Pretrain, built in a precision, by default that of the config."""
    keras.mixed_precision.set_global_policy(precision or config.run.precision)
    try:
        batch = config.training.global_batch_size
        steps = length.resolve_steps(config.training, config.optimizer, max(IMAGES, batch))
        return pretraining.build_model(config, 0, steps)
    finally:
        keras.mixed_precision.set_global_policy("float32")


def variables_of(model):
    """{id of a handle: (name, role, variable)} of everything a step reads or changes.

    The names begin with a number, as several metrics have a variable `total`.
    """
    optimizer = model.optimizer
    of_metrics = [v for metric in model.metrics for v in metric.variables]
    of_optimizer = [*optimizer.variables, optimizer._current_learning_rate]
    roles = {
        id(v.handle): ("statistic", v) for v in [*model.encoder.variables, *model.head.variables]
    }
    roles.update({id(v.handle): ("weight", v) for v in model.trainable_variables})
    roles.update({id(v.handle): ("metric", v) for v in of_metrics})
    roles.update({id(v.handle): ("optimizer", v) for v in of_optimizer})
    return {
        key: (f"{number}/{variable.name}", role, variable)
        for number, (key, (role, variable)) in enumerate(roles.items())
    }


def fill_of(value, seed):
    """How a variable is filled: a constant as it is, other values uniform with their deviation."""
    value = np.asarray(value)
    first = value.flat[0]
    if np.all(value == first):
        return {"kind": "constant", "value": first.item()}
    reach = float(np.sqrt(3.0) * np.std(value.astype(np.float64)))
    return {"kind": "uniform", "low": -reach, "high": reach, "seed": seed}


def argument(role, shape, dtype, fill):
    """The description of an argument, see `lowered.values_of`."""
    return {"role": role, "shape": list(shape), "dtype": dtype, "fill": fill}


def batch_arguments(config):
    """The batch of a step: {name: argument}."""
    size = config.data.image_size
    batch = config.training.global_batch_size
    views = [] if size <= device.WHOLE_MAX else [2]
    images = {"kind": "bits", "seed": 1}
    return {
        "images": argument("batch", [batch, *views, size, size, 3], "uint8", images),
        "id": argument("batch", [batch], "int64", {"kind": "range"}),
        "epoch": argument("batch", [batch], "int32", {"kind": "constant", "value": 0}),
        "label": argument("batch", [batch], "int32", {"kind": "constant", "value": 0}),
    }


def step_program(config, model):
    """A pretraining step: the batch -> the metrics, and every variable updated."""
    arguments = batch_arguments(config)

    def step(*tensors):
        return model.train_step(dict(zip(arguments, tensors)))

    return Program(step, arguments, variables_of(model), "loss")


def views_program(config, model):
    """The views of a batch alone."""
    arguments = batch_arguments(config)
    del arguments["label"]

    def views(*tensors):
        return {"views": model.make_views(dict(zip(arguments, tensors)))}

    return Program(views, arguments, {}, "views")


def embed_program(config, model):
    """h of a batch of images, as evaluation and --mode=embed compute it."""
    size = config.data.image_size
    shape = [config.training.global_batch_size, size, size, 3]
    fill = {"kind": "uniform", "low": 0.0, "high": 1.0, "seed": 2}
    arguments = {"images": argument("batch", shape, "float32", fill)}

    def embed(images):
        return {"h": model.encoder(images, training=False)}

    return Program(embed, arguments, variables_of(model), "h")


def loss_program(pairs, block_size):
    """NT-Xent of N pairs and its gradient: z float32 [2N, 128] -> loss, gradient."""
    from simclr_tf.losses.nt_xent import NTXent

    loss = NTXent(0.1, block_size=block_size)
    fill = {"kind": "uniform", "low": -1.0, "high": 1.0, "seed": 3}
    arguments = {"z": argument("batch", [2 * pairs, WIDTH_OF_Z], "float32", fill)}

    def graded(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(z)
        return {"loss": value, "gradient": tape.gradient(value, z)}

    return Program(graded, arguments, {}, "loss")


def replica_loss_program(pairs, block_size):
    """The kernels of one of several replicas, without collectives: all z -> its loss, gradient."""
    from benchmarks import nt_xent

    case = {"form": "replica", "replicas": REPLICAS, "temperature": 0.1, "block_size": block_size}
    step = nt_xent.make_step({**case, "mode": "xla"}).python_function
    arguments = loss_program(pairs, block_size).arguments

    def graded(z):
        return dict(zip(("loss", "gradient"), step(z)))

    return Program(graded, arguments, {}, "loss")


@contextlib.contextmanager
def without_batch_norm():
    """Inside, BatchNormalization is its scale and offset, without statistics."""

    def call(layer, inputs, training=None):
        del training
        gamma, beta = layer.scale_and_offset()
        return inputs * tf.cast(gamma, inputs.dtype) + tf.cast(beta, inputs.dtype)

    with mock.patch.object(normalization.BatchNormalization, "call", call):
        yield


def lower(program, path):
    """Writes the HLO of a program and returns its entry of the manifest, without "expected".

    Args:
        program: Program.
        path: of the file.
    Returns:
        {"file", "arguments": list, "results": names of the first results, "updates": {number of a
        result: number of the argument that it replaces}, "checked": number of the result that is
        compared, or None, "flop": of the convolutions and dense layers}.
    Raises:
        RuntimeError: the HLO takes other arguments than those that are known here.
    """
    function = tf.function(program.function, jit_compile=True, autograph=False)
    specs = [tf.TensorSpec(a["shape"], a["dtype"]) for a in program.arguments.values()]
    traced = function.get_concrete_function(*specs)
    arguments = [{"name": name, **a} for name, a in program.arguments.items()]
    for number, handle in enumerate(traced.captured_inputs):
        if id(handle) not in program.variables:
            raise RuntimeError(f"the step captures {handle}, which is no variable of the model.")
        name, role, variable = program.variables[id(handle)]
        fill = fill_of(variable.numpy(), 100 + number)
        about = argument(role, variable.shape, variable.dtype.name, fill)
        arguments.append({"name": name, **about})
    generate = function.experimental_get_compiler_ir(*specs)
    text = generate(stage="hlo")
    check_signature(text, arguments)
    with gzip.open(path, "wb") as file:
        file.write(without_copies(generate(stage="hlo_serialized")))
    names = sorted(traced.structured_outputs)  # in the order in which tf.nest flattens them
    return {
        "file": os.path.basename(path),
        "arguments": arguments,
        "results": names,
        "updates": updates_of(text),
        "checked": names.index(program.checked),
        "flop": flop_of(traced.graph),
    }


def without_copies(serialized):
    """The same program without the operation `copy`, which StableHLO does not have.

    TensorFlow copies every updated variable; a reshape to the same shape says the same. Names of
    files and operations are left out as well: they are two thirds of the bytes.
    """
    module = hlo_pb2.HloModuleProto.FromString(serialized)
    for computation in module.computations:
        for instruction in computation.instructions:
            instruction.ClearField("metadata")
            if instruction.opcode == "copy":
                instruction.opcode = "reshape"
    module.ClearField("stack_frame_index")
    return module.SerializeToString()


def updates_of(text):
    """{number of a result: number of the argument whose buffer it takes}, from the HLO's head."""
    head = text[: text.index("\n")]
    return {int(a): int(b) for a, b in re.findall(r"\{(\d+)\}: \((\d+), \{\}", head)}


HLO_TYPES = {"uint8": "u8", "int32": "s32", "int64": "s64", "float32": "f32", "bool": "pred"}


def check_signature(text, arguments):
    """Raises RuntimeError unless the entry of the HLO takes these arguments in this order."""
    entry = text[text.index("\nENTRY ") :]
    found = {}
    for kind, shape, number in re.findall(r"= (\w+)\[([\d,]*)\][^=]*? parameter\((\d+)\)", entry):
        found[int(number)] = (kind, [int(n) for n in shape.split(",") if n])
    want = {n: (HLO_TYPES[a["dtype"]], a["shape"]) for n, a in enumerate(arguments)}
    if found != want:
        wrong = sorted(n for n in {*found, *want} if found.get(n) != want.get(n))
        raise RuntimeError(f"the HLO's parameters {wrong} differ from the arguments of the step.")


def flop_of(graph):
    """Floating point operations of the convolutions and matrix products of a traced function.

    Those inside loops and called functions, which are the views' and the loss's, do not count.
    """
    total = 0
    for op in graph.get_operations():
        if op.type == "Conv2D":
            kernel = op.inputs[1].shape
            total += 2 * op.outputs[0].shape.num_elements() * _window(kernel)
        elif op.type in ("Conv2DBackpropInput", "Conv2DBackpropFilter"):
            is_input = op.type == "Conv2DBackpropInput"
            kernel = op.inputs[1].shape if is_input else op.outputs[0].shape
            total += 2 * op.inputs[2].shape.num_elements() * _window(kernel)
        elif op.type == "MatMul":
            inner = op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1]
            total += 2 * op.outputs[0].shape.num_elements() * inner
    return total


def _window(kernel):
    """Products behind one number of a convolution's result; kernel [h, w, channels in, out]."""
    height, width, channels, _ = kernel
    return height * width * channels


def expected_of(program, entry, config, kind):
    """What TensorFlow computes on the CPU in float32 for the arguments of a program.

    Args:
        program: Program of a float32 model.
        entry: its entry of the manifest.
        config: config.Pretrain.
        kind: "steps", "loss" or "none".
    Returns:
        list of `lowered.summary_of` the checked result, one for each call in turn.
    """
    if kind == "none":
        return []
    by_name = {name: variable for name, _, variable in program.variables.values()}
    for about in entry["arguments"]:
        if about["name"] in by_name and about["role"] != "batch":
            by_name[about["name"]].assign(lowered.values_of(about))
    values = [tf.constant(lowered.values_of(a)) for a in program.arguments.values()]
    function = tf.function(program.function, autograph=False)
    calls = 2 if kind == "steps" and entry["updates"] else 1
    return [lowered.summary_of(function(*values)[program.checked]) for _ in range(calls)]


def first_loss_program(config, model):
    """The loss of a step without its gradient."""
    arguments = batch_arguments(config)

    def first_loss(*tensors):
        _, every_h = model.embed(model.make_views(dict(zip(arguments, tensors))))
        z = tf.cast(model.head(every_h, training=True), tf.float32)
        return {"loss": model.loss_of(z, None)[0]}

    return Program(first_loss, arguments, variables_of(model), "loss")


def kind_of_reference(asked, entry, config):
    """ "steps", "loss" or "none": what the CPU computes to compare with."""
    if asked != "auto":
        return asked
    views = 2 * config.training.global_batch_size
    first = views * config.data.image_size**2 * 64 * 4
    if config.data.image_size > 32:
        first //= 4  # a stride of 2
    if entry["flop"] <= MOST_STEP_FLOP:
        return "steps"
    small = entry["flop"] / 3 <= MOST_LOSS_FLOP and first <= MOST_VIEW_BYTES
    return "loss" if small else "none"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="resnet50", choices=sorted(ENCODERS))
    parser.add_argument("--width", type=float, default=1.0, help="Width multiplier.")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256, help="Images of a step; 2 views of each.")
    parser.add_argument(
        "--precision", default="float32", choices=("float32", "mixed_bfloat16"),
        help="mixed_bfloat16: as --precision of the training.",
    )  # fmt: skip
    parser.add_argument("--parts", default="step,views,loss,embed", help=f"Of {','.join(PARTS)}.")
    parser.add_argument("--pairs", default="4096,65536", help="N of the part loss.")
    parser.add_argument("--block_size", type=int, default=0, help="As --loss_block_size.")
    parser.add_argument(
        "--exact_products", action="store_true",
        help="Ask for float32 matrix products where the device has faster ones (TF32).",
    )  # fmt: skip
    parser.add_argument(
        "--reference", default="auto", choices=("auto", "steps", "loss", "none"),
        help="What TensorFlow computes on this CPU to compare with; auto: as much as is quick.",
    )  # fmt: skip
    parser.add_argument("--output", required=True, help="Folder to write.")
    arguments = parser.parse_args()
    run(arguments)


def run(arguments):
    """Lowers the parts of the command line to the folder, and returns the manifest's content."""
    parts = arguments.parts.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise SystemExit(f"--parts={','.join(unknown)} is not known; choose of {','.join(PARTS)}.")
    config = settings(arguments)
    os.makedirs(arguments.output, exist_ok=True)
    content = {
        "tensorflow": tf.__version__,
        "encoder": arguments.encoder,
        "width": arguments.width,
        "image_size": arguments.image_size,
        "batch": arguments.batch,
        "precision": arguments.precision,
        "exact_products": arguments.exact_products,
        "programs": {},
    }
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(not arguments.exact_products)
    # for a CPU the views have another form and the loss small tiles: accelerators are slow with both
    with mock.patch.object(stack, "accelerated", lambda: True):
        for name, images, entry in lowered_parts(parts, config, arguments):
            content["programs"][name] = {**entry, "images": images}
            lowered.write_manifest(arguments.output, content)
            print(f"{name}: {len(entry['arguments'])} arguments, {entry['flop'] / 1e9:.1f} GFLOP, "
                  f"expected {entry['expected'] or 'not computed'}", flush=True)  # fmt: skip
    tf.config.experimental.enable_tensor_float_32_execution(before)
    return content


def lowered_parts(parts, config, arguments):
    """Yields (name, images of a call, entry of the manifest) of each program, once it is written."""
    folder = arguments.output
    batch = arguments.batch
    makers = {"step": step_program, "views": views_program, "embed": embed_program}
    needed = [part for part in parts if not part.endswith("loss")]
    model = build(config) if needed else None
    plain = None
    for part in needed:
        path = os.path.join(folder, f"{part}.hlo.gz")
        if part == "step_without_bn":
            with without_batch_norm():
                entry = lower(step_program(config, build(config)), path)
            yield part, batch, {**entry, "checked": None, "expected": []}  # its numbers overflow
            continue
        program = makers[part](config, model)
        entry = lower(program, path)
        kind = kind_of_reference(arguments.reference, entry, config)
        if part != "views" and kind != "none":
            plain = plain or build(config, "float32")
            maker = first_loss_program if (part, kind) == ("step", "loss") else makers[part]
            program = maker(config, plain)
        expected = expected_of(program, entry, config, kind)
        yield part, batch, {**entry, "expected": expected}
    if "loss" in parts:
        for pairs in (int(text) for text in arguments.pairs.split(",")):
            program = loss_program(pairs, arguments.block_size)
            entry = lower(program, os.path.join(folder, f"loss_{pairs}.hlo.gz"))
            entry["flop"] = (
                4 * (2 * pairs) ** 2 * WIDTH_OF_Z
            )  # every tile once for rows and columns
            quick = arguments.reference != "none" and pairs <= 4096
            expected = expected_of(program, entry, config, "loss" if quick else "none")
            yield f"loss_{pairs}", pairs, {**entry, "expected": expected}
    if "replica_loss" in parts:
        for pairs in (int(text) for text in arguments.pairs.split(",")):
            program = replica_loss_program(pairs, arguments.block_size)
            entry = lower(program, os.path.join(folder, f"replica_loss_{pairs}.hlo.gz"))
            entry["flop"] = 6 * (2 * pairs) ** 2 // REPLICAS * WIDTH_OF_Z  # tiles made twice
            yield f"replica_loss_{pairs}", pairs // REPLICAS, {**entry, "expected": []}


if __name__ == "__main__":
    main()
