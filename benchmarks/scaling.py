"""What replicas exchange, how fast two processes are, and a model on paper of large machines.

    python -m benchmarks.scaling [--parts=bytes,speed,paper,input] [--rounds=3] [--output=FILE]

bytes: per step and replica, counted from the traced step (`benchmarks.collectives`), against the
floor: every replica receives the z of all others once, and per BatchNormalization layer one mean
and variance forward and two sums backward. speed: steps per second of the same global batch on one
process and on two, one core each, over loopback, in turns. paper: no measurement; step times from
the counted bytes and the stated rates and bandwidths. input: how many workers of a data service an
accelerator needs, and 1,000 shards over 64 readers, see `benchmarks.input_scaling`.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import input_scaling, timing
from benchmarks.local_workers import LocalWorkers, free_addresses

WIDTH_OF_Z = 128
GLOBAL_BATCH = 4096
FLOP_PER_IMAGE = 2 * 4.1e9 * 3 * 2  # ResNet-50, 224 pixels: multiply-adds, 3 passes, 2 views
MACHINES = {
    # peak FLOP/s of a replica, share of it reached, bytes/s of a link, seconds of a hop
    "32 TPU v3 cores": (32, 61.5e12, 0.3, 82e9, 1e-6),  # 123 TFLOP/s a chip, 656 Gbit/s a link
    "8 A100, NVLink": (8, 312e12, 0.3, 300e9, 3e-6),  # bfloat16; 300 GB/s in each direction
}


def build(depth, image_size):
    """The built and compiled model whose step is traced."""
    from simclr_tf.losses.nt_xent import NTXent
    from simclr_tf.models.head import ProjectionHead
    from simclr_tf.models.resnet import ResNet
    from simclr_tf.models.simclr import SimCLR
    from simclr_tf.stack import keras, tf

    def views(data):
        images = tf.cast(data["images"], tf.float32) / 255.0
        return tf.concat([images, 1.0 - images], axis=0)

    encoder = ResNet(depth, stem="small" if image_size <= 32 else "imagenet")
    encoder.build((None, image_size, image_size, 3))
    model = SimCLR(encoder, ProjectionHead(out_dim=WIDTH_OF_Z), NTXent(0.1), views)
    model.head(tf.zeros([1, encoder.feature_dim]))
    model.compile(optimizer=keras.optimizers.SGD(0.01))
    model.optimizer.build(model.trainable_variables)
    return model


def count(depth, image_size, batch, replicas):
    """Counted payloads of one step.

    Returns:
        {"loss", "BN", "gradient": {"operations", "payload"}, "floor": {"loss", "BN"}}, bytes.
    """
    from benchmarks.collectives import Recorder, size_of
    from simclr_tf.stack import tf

    model = build(depth, image_size)
    share = batch // replicas
    recorder = Recorder(replicas)

    def gradients(images):
        with tf.GradientTape() as tape:
            views = model.make_views({"images": images})
            z = model.head(model.encoder(views, training=True), training=True)
            loss, _ = model.loss_of(z, None)
        return tape.gradient(loss, model.trainable_variables)

    spec = tf.TensorSpec([share, image_size, image_size, 3], tf.uint8)
    with recorder.listening():
        tf.function(gradients, autograph=False).get_concrete_function(spec)
    found = {}
    for part in ("loss", "BN"):
        sizes = [size for name, size in recorder.payloads if name == part]
        found[part] = {"operations": len(sizes), "payload": sum(sizes)}
    sizes = [size_of(variable) for variable in model.trainable_variables]
    sizes.append(4)  # the loss, summed with them: see models.non_finite.summed
    found["gradient"] = {"operations": len(sizes), "payload": sum(sizes)}
    channels = sum(v.shape[0] for v in model.variables if "moving_mean" in v.name)
    z_of_others = 2 * (batch - share) * WIDTH_OF_Z * 4
    return {**found, "floor": {"loss": z_of_others, "BN": 2 * 2 * channels * 4}}


def check_graph(depth, image_size, batch):
    """Bytes of the collectives in the graph that two replicas run, and those of `count`."""
    from benchmarks.collectives import in_graph
    from simclr_tf.stack import tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = build(depth, image_size)

    def step(images):
        data = {"images": images, "label": tf.zeros([batch // 2], tf.int32)}
        strategy.run(lambda: model.train_step(data))

    spec = tf.TensorSpec([batch // 2, image_size, image_size, 3], tf.uint8)
    found = in_graph(tf.function(step, autograph=False), spec)
    counted = count(depth, image_size, batch, 2)
    parts = ("loss", "BN", "gradient")
    return {
        "graph": sum(found) / 2,  # both replicas are in it
        "counted": sum(counted[part]["payload"] for part in parts),
    }


def speed(case):
    """{"seconds": of each timed step} of one of several workers; see `run_speed`."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[case["index"]]})
    from simclr_tf.distribution.cluster import Cluster
    from simclr_tf.distribution.workers import WorkerGroup, connect
    from simclr_tf.training.loop import StepRunner

    cluster = Cluster(tuple(case["addresses"]), case["index"])
    alone = cluster.count == 1
    group = connect(cluster) if not alone else WorkerGroup(default_strategy())
    with group.strategy.scope():
        model = build(18, 32)
    runner = StepRunner(model, group.strategy, batches_of(group.share(case["batch"])))
    times = []
    for _ in range(case["steps"] + 2):
        began = time.perf_counter()
        runner.run(1)
        group.exchange(0)
        times.append(time.perf_counter() - began)
    return {"seconds": times[2:]}  # without tracing


def default_strategy():
    """The strategy of one process with one device."""
    from simclr_tf.stack import tf

    return tf.distribute.get_strategy()


def batches_of(share):
    """Endless batches of a Share, the same every time."""
    from simclr_tf.stack import tf

    images = tf.random.stateless_uniform([share.piece, 32, 32, 3], [0, 1], 0, 256, tf.int32)
    batch = {"images": tf.cast(images, tf.uint8), "label": tf.zeros([share.piece], tf.int32)}
    return tf.data.Dataset.from_tensors(batch).repeat()


def run_speed(processes, batch, steps):
    """Median seconds of a step on so many processes, one core each."""
    addresses = free_addresses(processes)
    case = {"kind": "speed", "addresses": addresses, "batch": batch, "steps": steps}
    head = [sys.executable, "-m", "benchmarks.scaling", "--case"]
    commands = [[*head, json.dumps({**case, "index": i})] for i in range(processes)]
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}  # one inter-op thread would block on a collective
        with LocalWorkers(commands, folder, quiet) as workers:
            codes = workers.wait(900)
            if any(codes):
                raise RuntimeError(f"exit codes {codes}: {workers.output(0, 'err')[-500:]}")
            return statistics.median(json.loads(workers.output(0).splitlines()[-1])["seconds"])


def measured(case):
    """The JSON that a process of `--case` prints last."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--case", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def bytes_part():
    """Prints and returns the bytes that are exchanged."""
    from benchmarks.collectives import exchanged

    rows = []
    found = {}
    for name, depth, size, batch, replicas in (
        ("ResNet-18, 32 px, 256 images, 2", 18, 32, 256, 2),
        ("ResNet-50, 224 px, 4,096 images, 8", 50, 224, GLOBAL_BATCH, 8),
        ("ResNet-50, 224 px, 4,096 images, 32", 50, 224, GLOBAL_BATCH, 32),
    ):
        case = {"kind": "count", "arguments": [depth, size, batch, replicas]}
        found[name] = counted = measured(case)
        for part in ("loss", "BN", "gradient"):
            payload = counted[part]["payload"]
            floor = counted["floor"].get(part)
            received = exchanged(payload, replicas)
            cells = [f"{name} replicas: {part}", str(counted[part]["operations"])]
            cells += [f"{payload / timing.MIB:.2f}", f"{received / timing.MIB:.2f}"]
            ratio = ["-", "-"] if floor is None else [f"{floor / timing.MIB:.2f}", f"{received / floor:.2f}"]  # fmt: skip
            rows.append(cells + ratio)
    header = ["per step and replica", "all-reduces", "payload MiB", "received MiB"]
    timing.print_table([*header, "floor MiB", "x floor"], rows)
    check = measured({"kind": "graph", "arguments": [18, 32, 256]})
    print(f"graph of 2 replicas: {check['graph']:.0f} bytes of CollectiveReduce, counted {check['counted']}")  # fmt: skip
    return {"counts": found, "check": check}


def speed_part(rounds, batch=128, steps=5):
    """Prints and returns steps per second of one and of two processes."""
    times = {1: [], 2: []}
    for _ in range(rounds):
        for processes, found in times.items():
            found.append(run_speed(processes, batch, steps))
    medians = {processes: statistics.median(found) for processes, found in times.items()}
    rows = [
        [f"{p} x 1 core", f"{1 / seconds:.3f}", f"{medians[1] / seconds:.2f}"]
        for p, seconds in medians.items()
    ]
    print(f"ResNet-18, 32 px, {batch} images a step, {rounds} rounds of {steps} steps")
    timing.print_table(["processes", "steps/s", "x one"], rows)
    return {"seconds": times}


def step_model(counted, machine):
    """Seconds of the parts of a step on paper: compute, and the all-reduces of each kind."""
    from benchmarks.collectives import exchanged

    replicas, peak, share, bandwidth, hop = machine
    hops = 2 * math.ceil(math.log2(replicas))
    parts = {"compute": GLOBAL_BATCH / replicas * FLOP_PER_IMAGE / (peak * share)}
    for part in ("gradient", "loss", "BN"):
        moved = exchanged(counted[part]["payload"], replicas) / bandwidth
        operations = (
            1 if part == "gradient" else counted[part]["operations"]
        )  # packed by TensorFlow
        parts[part] = moved + operations * hops * hop
    return parts


def paper_part():
    """Prints and returns the model of large machines."""
    rows = []
    found = {}
    for name, machine in MACHINES.items():
        replicas, peak, share, bandwidth, hop = machine
        counted = measured({"kind": "count", "arguments": [50, 224, GLOBAL_BATCH, replicas]})
        found[name] = parts = step_model(counted, machine)
        total = sum(parts.values())
        cells = [f"{1000 * parts[p]:.2f}" for p in ("compute", "gradient", "loss", "BN")]
        rows.append([name, *cells, f"{1000 * total:.1f}", f"{1 - parts['compute'] / total:.1%}"])
        print(f"{name}: {peak / 1e12:g} TFLOP/s, {share:.0%} reached, {bandwidth / 1e9:g} GB/s, {1e6 * hop:g} us a hop")  # fmt: skip
    print(f"on paper, not measured: ResNet-50, 224 px, {GLOBAL_BATCH:,} images, nothing overlaps; ms")  # fmt: skip
    header = ["machine", "compute", "gradient", "loss", "BN", "step", "exchange"]
    timing.print_table(header, rows)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", default="bytes,speed,paper")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default="", help="JSON file for the figures.")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case = json.loads(arguments.case)
        kinds = {"count": count, "graph": check_graph}
        kind = case["kind"]
        timing.report(speed(case) if kind == "speed" else kinds[kind](*case["arguments"]))
        return
    parts = {
        "bytes": bytes_part, "speed": lambda: speed_part(arguments.rounds), "paper": paper_part,
        "input": input_scaling.input_part,
    }  # fmt: skip
    figures = {name: parts[name]() for name in arguments.parts.split(",")}
    if arguments.output:
        timing.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
