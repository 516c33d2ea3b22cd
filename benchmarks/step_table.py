"""Where the CPU seconds of a pretraining step go, beside the floor of its matrix products.

Each case is a process of its own on one core: a few steps of `--mode=pretrain` under TensorFlow's
profiler, which says how long every operation took. Shares of that time, times the CPU seconds of
the step, are the rows; what no operation accounts for is the last one. The floor is the number of
multiplications and additions in convolutions and dense layers at the speed of a large matrix
product, measured in the same process in the same precision. Input is measured beside it: CPU
seconds of the batches, out of memory up to 64 pixels, else from JPEG files of 500x375.

    python -m benchmarks.step_table --rounds=3 --output=step_table.json
"""

import argparse
import collections
import glob
import json
import os
import re
import statistics
import tempfile
import time

import numpy as np

from benchmarks import timing

CASES = {
    "ResNet-18, 32 px, batch 128": dict(image_size=32, resnet_depth=18, batch=128),
    "ResNet-50, 96 px, batch 16": dict(image_size=96, resnet_depth=50, batch=16),
    "auto, 10 min on 2 cores: 32 px, batch 64": dict(auto=10.0, image_size=32),
    "auto, 60 min on 2 cores: 48 px, batch 64": dict(auto=60.0, image_size=48),
}
PRECISIONS = ("float32", "mixed_bfloat16")
ROWS = (  # (row, pattern of "name:operation"); the first that fits counts
    ("convolutions, forward", r"^(?!gradient_tape).*:\w*Conv2D$"),
    ("convolutions, gradient of the input", r":\w*Conv2DBackpropInput\w*$"),
    ("convolutions, gradient of the kernel", r":\w*Conv2DBackpropFilter\w*$"),
    ("loss", r"^(gradient_tape/)?(NTXent|nt_xent)"),
    ("BatchNormalization, forward", r"^(?!gradient_tape).*norm/.*:(?!\w*Relu)"),
    ("BatchNormalization, gradient", r"FusedBatchNormGrad|^gradient_tape.*norm/.*:(?!\w*Relu)"),
    ("ReLU, sums, pooling", r"^(gradient_tape/)?resnet/|Relu|AddN"),
    ("head and probe", r"projection_head|linear_classifier|probe"),
    ("optimizer", r"(?i)^lars|^adam|update_|optimizer|^IsFinite"),
)  # fmt: skip
LARGE = 2048  # side of the matrices of the floor
REST = "rest of the operations"
BETWEEN = "between operations"


def settings_of_case(case):
    """config.Pretrain of a case."""
    from simclr_tf import config

    values = {"dataset": "digits", "model_dir": "unused", "image_size": case["image_size"]}
    values["precision"] = case["precision"]
    if "auto" in case:
        values.update(auto_values(case["auto"], case["image_size"]))
    else:
        values.update(resnet_depth=case["resnet_depth"], train_batch_size=case["batch"])
        values.update(use_blur=case["image_size"] > 32, warmup_epochs=0.0)
    return config.build(config.Pretrain, values)


def auto_values(minutes, image_size):
    """What `--preset=auto` chooses for images in colour with that many minutes on two cores."""
    from simclr_tf.data.survey import Survey
    from simclr_tf.training import auto

    names = {
        "count": 5000,
        "channels": 3,
        "side": 100,
        "longest": 100,
        "colored": 1.0,
        "chroma": 0.2,
    }
    fields = Survey.__dataclass_fields__
    seen = Survey(**{name: names.get(name, 0.0) for name in fields})
    machine = auto.Machine(accelerated=False, cores=2, minutes=minutes)
    values = {}
    for rule in auto.rules(seen, machine, {}):
        values.update(rule.values)
    values.pop("store_side", None)
    if values["image_size"] != image_size:
        raise ValueError(f"auto chose {values['image_size']} pixels for {minutes:g} minutes")
    return {**values, "warmup_epochs": 0.0}


def measure(case):
    """The figures of one case, in this process."""
    from simclr_tf.stack import keras, tf
    from simclr_tf.training import length, pretraining

    config = settings_of_case(case)
    rounds = case["rounds"]
    keras.mixed_precision.set_global_policy(config.run.precision)
    steps = length.resolve_steps(config.training, config.optimizer, 50_000)
    model = pretraining.build_model(config, 0, steps)
    source, folder = images_of(config)
    batch, input_seconds = drawn(config, source, rounds)
    if folder is not None:
        folder.cleanup()
    step = tf.function(model.train_step, autograph=False)

    def run():
        float(step(batch)["loss"])

    seconds = median_seconds(run, rounds)
    parts = profiled(run, rounds, seconds)
    # XLA compiles these two, and the profiler does not see into them alike on every version
    parts["views"] = median_seconds(lambda: model.make_views(batch)[0, 0, 0].numpy(), 3 * rounds)
    parts["loss"] = median_seconds(loss_alone(config, model), 3 * rounds)
    parts[BETWEEN] = seconds - sum(parts.values())
    flop = matrix_flop(step.get_concrete_function(batch).graph)
    rate = product_rate(config.run.precision)
    return {
        "seconds": seconds,
        "parts": parts,
        "input": input_seconds,
        "gigaflop": flop / 1e9,
        "gigaflop_per_second": rate / 1e9,
        "floor": flop / rate,
    }


def median_seconds(function, rounds):
    """Median CPU seconds of a call, after two that trace, compile and warm up."""
    timing.cpu_seconds(function, 2)
    return statistics.median(timing.cpu_seconds(function, rounds))


def loss_alone(config, model):
    """A call of the loss and its gradient, of z of the shape of this training."""
    from simclr_tf.stack import tf

    rows = 2 * config.training.train_batch_size
    z = tf.random.stateless_normal([rows, config.model.proj_out_dim], [0, 2])

    def gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss, _ = model.loss_of(z, tf.zeros([rows // 2], tf.int32))
        return tape.gradient(loss, z)

    traced = tf.function(gradient, autograph=False)
    return lambda: traced(z)[0, 0].numpy()


def images_of(config):
    """(Source of made-up images, the folder they lie in or None)."""
    from benchmarks.embed import draw_images
    from simclr_tf.config import Data
    from simclr_tf.data import sources
    from simclr_tf.data.info import Facts
    from simclr_tf.data.source import ArraySource

    size = config.data.image_size
    batch = config.training.train_batch_size
    if size <= 64:
        side = size if size == 32 else 64
        shape = (side, side, 3)
        images = np.random.default_rng(0).integers(0, 256, (2 * batch, *shape), np.uint8)
        facts = Facts("noise", len(images), ("none",), "noise", image_shape=shape)
        return ArraySource(facts, images, np.zeros(len(images), np.int64)), None
    folder = tempfile.TemporaryDirectory()
    draw_images(folder.name, 2 * batch)
    return sources.open_whole(Data(image_dir=folder.name), ""), folder


def drawn(config, source, count):
    """(a batch of the training, CPU seconds of one; what starts the pipeline is not in them)."""
    from simclr_tf.views import multi_crop

    batches = multi_crop.batches(source, config, 2, config.training.train_batch_size)
    iterator = iter(batches)
    batch = next(iterator)
    time.sleep(3.0)  # until those that are made ahead are there
    began = time.process_time()
    for _ in range(10 * count):
        next(iterator)
    time.sleep(3.0)
    return batch, (time.process_time() - began) / (10 * count)


def profiled(run, rounds, seconds):
    """{row: CPU seconds of a step} of the operations, by TensorFlow's profiler.

    Its times are of the wall clock, so other programs stretch them: shares of the step are taken.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    from simclr_tf.stack import tf

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(rounds):
            run()
        tf.profiler.experimental.stop()
        (path,) = glob.glob(os.path.join(folder, "**", "*.xplane.pb"), recursive=True)
        space = xplane_pb2.XSpace()
        with open(path, "rb") as file:
            space.ParseFromString(file.read())
    parts = collections.Counter()
    whole = 0.0
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if name == "EagerKernelExecute":
                    whole += event.duration_ps
                elif line.name.startswith("tf_Compute") and re.search(r"[^:]:[^:]", name):
                    parts[row_of(name)] += event.duration_ps
    parts.pop("loss", None)  # measured alone
    return {name: seconds * duration / whole for name, duration in parts.items()}


def row_of(name):
    """The row of an operation called "name:operation"."""
    return next((row for row, pattern in ROWS if re.search(pattern, name)), REST)


def matrix_flop(graph):
    """Multiplications and additions of all convolutions and matrix products of a traced step."""
    total = 0
    for operation in graph.get_operations():
        kind = operation.type
        shapes = [tensor.shape for tensor in operation.inputs]
        if kind == "Conv2D":
            total += 2 * operation.outputs[0].shape.num_elements() * shapes[1][:3].num_elements()
        elif kind in ("Conv2DBackpropInput", "Conv2DBackpropFilter"):
            kernel = shapes[1] if kind.endswith("Input") else operation.outputs[0].shape
            total += 2 * shapes[2].num_elements() * kernel[:3].num_elements()
        elif kind == "MatMul":
            rows = shapes[0][0 if operation.get_attr("transpose_a") else 1]  # the inner side
            total += 2 * operation.outputs[0].shape.num_elements() * int(rows)
    return total


def product_rate(precision):
    """Multiplications and additions per CPU second of a large matrix product."""
    from simclr_tf.stack import tf

    kind = tf.bfloat16 if precision == "mixed_bfloat16" else tf.float32
    one = tf.cast(tf.random.stateless_uniform([LARGE, LARGE], [0, 1]), kind)
    multiply = tf.function(lambda a: tf.linalg.matmul(a, a), autograph=False)
    return 2.0 * LARGE**3 / median_seconds(lambda: multiply(one)[0, 0].numpy(), 5)


def print_case(title, found):
    """The table of one case; found: {precision: figures}."""
    print(f"\n{title}")
    broken = {name: figures["failed"] for name, figures in found.items() if "failed" in figures}
    if broken:
        print(broken)
        return
    first = found[PRECISIONS[0]]
    names = [*(row for row, _ in ROWS), "views", REST, BETWEEN]
    rows = []
    for name in names:
        cells = [name]
        for precision in PRECISIONS:
            figures = found[precision]
            seconds = figures["parts"].get(name, 0.0)
            cells += [f"{1000 * seconds:.1f}", f"{seconds / figures['seconds']:.0%}"]
        rows.append(cells)
    for name, key in (("whole step", "seconds"), ("floor", "floor"), ("input, beside it", "input")):
        rows.append([name, *(cell for p in PRECISIONS for cell in (f"{1000 * found[p][key]:.1f}", f"{found[p][key] / found[p]['seconds']:.0%}"))])  # fmt: skip
    timing.print_table(["CPU ms of a step", "float32", "", "bfloat16", ""], rows)
    rates = " and ".join(f"{found[p]['gigaflop_per_second']:.0f}" for p in PRECISIONS)
    print(f"{first['gigaflop']:.1f} GFLOP in products; a large one runs at {rates} GFLOP/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="Only cases whose title contains this.")
    parser.add_argument("--output", default="", help="JSON file for the figures.")
    parser.add_argument("--case", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        timing.report(measure(json.loads(arguments.case)))
        return
    found = {}
    for title, case in CASES.items():
        if arguments.only not in title:
            continue
        found[title] = {
            precision: timing.run_case(
                "benchmarks.step_table",
                {**case, "precision": precision, "rounds": arguments.rounds},
            )
            for precision in PRECISIONS
        }
        print_case(title, found[title])
    if arguments.output:
        timing.write_json(arguments.output, found)


if __name__ == "__main__":
    main()
