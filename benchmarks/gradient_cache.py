"""Gradient caching against the plain step: CPU time per image and peak memory, by batch size.

    python -m benchmarks.gradient_cache [--batches=256,512] [--micro=64] [--rounds=3] [--json=F]

ResNet-18 at 32 pixels on one core, a process per case, rounds interleaved. "plain" is
SimCLR.train_step on the whole batch, "cached" the two-pass step on micro-batches. Memory is the
peak of the resident set during the steps above its size before; theory for the time is 4/3.
"""

import argparse
import json
import statistics

from benchmarks import timing


def measure(batch, micro, steps):
    """{"seconds": CPU seconds of each step after the first, "extra": peak bytes, "total": RSS}."""
    from simclr_tf.losses.nt_xent import NTXent
    from simclr_tf.models.head import ProjectionHead
    from simclr_tf.models.resnet import ResNet
    from simclr_tf.models.simclr import SimCLR
    from simclr_tf.stack import keras, tf
    from simclr_tf.training.gradient_cache import GradientCache

    def views(data):
        images = tf.cast(data["images"], tf.float32) / 255.0
        return tf.concat([images, 1.0 - images], axis=0)

    encoder = ResNet(18, stem="small")
    head = ProjectionHead(out_dim=128)
    model = SimCLR(encoder, head, NTXent(0.5, jit_compile=True), views)
    head(encoder(tf.zeros([1, 32, 32, 3])))
    model.compile(optimizer=keras.optimizers.SGD(0.01))
    generator = tf.random.Generator.from_seed(0)
    images = tf.cast(generator.uniform([batch, 32, 32, 3], 0, 256, tf.int32), tf.uint8)
    data = {"images": images, "label": tf.zeros([batch], tf.int32)}
    step = model.train_step
    if micro:
        step = GradientCache(
            model,
            tf.distribute.get_strategy(),
            micro_batches=batch // micro,
            num_views=2,
            rows=micro,
            z_dim=128,
        ).run
    step = tf.function(step)
    with timing.PeakMemory() as memory:
        seconds = timing.cpu_seconds(lambda: step(data), steps + 1)
    return {"seconds": seconds[1:] or seconds, "extra": memory.extra, "total": memory.total}


def row_of(batch, options):
    """Runs all rounds of one batch size and returns its figures."""
    forms = {"plain": 0, "cached": options.micro}
    if batch > options.plain_max:
        del forms["plain"]
    found = {name: [] for name in forms}
    for _ in range(options.rounds):
        for name, micro in forms.items():
            case = {"batch": batch, "micro": micro, "steps": options.steps}
            found[name].append(timing.run_case("benchmarks.gradient_cache", case, timeout=3600))
    row = {"batch": batch}
    for name, runs in found.items():
        failed = [run["failed"] for run in runs if "failed" in run]
        if failed:
            row[name] = failed[0]
            continue
        seconds = statistics.median(s for run in runs for s in run["seconds"])
        row[f"{name} ms/image"] = round(1000 * seconds / batch, 2)
        row[f"{name} MiB"] = round(max(run["extra"] for run in runs) / timing.MIB)
        row[f"{name} process MiB"] = round(max(run["total"] for run in runs) / timing.MIB)
    if "plain ms/image" in row and "cached ms/image" in row:
        row["cached / plain time"] = round(row["cached ms/image"] / row["plain ms/image"], 3)
    return row


def main():
    """Prints a line per batch size; --json also writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", default="256,512")
    parser.add_argument("--micro", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain_max", type=int, default=512, help="largest plain batch")
    parser.add_argument("--steps", type=int, default=1, help="timed steps; 0: the first")
    parser.add_argument("--json", default="")
    parser.add_argument("--case", default="")
    options = parser.parse_args()
    if options.case:
        timing.report(measure(**json.loads(options.case)))
        return
    rows = []
    for batch in map(int, options.batches.split(",")):
        rows.append(row_of(batch, options))
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if options.json:
        timing.write_json(options.json, rows)


if __name__ == "__main__":
    main()
