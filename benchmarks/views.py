"""Speed of the random views against the plain `tf.image` pipeline, on one core.

Two workloads: 32x32 images held in memory (strength 0.5, no blur), and JPEGs of 500x375 pixels to
two views of 224x224 (strength 1, blur). Each runs in a process of its own, pinned to one core, in
which all candidates take turns in random order; a turn ends when the process is idle again, so no
candidate works ahead in the time of another. tf.data's map-and-batch fusion and injected prefetch
are off. Prints CPU time per source image, the ratio to the plain pipeline (median of the rounds and
ratio of the best turns, both must reach what is required), and the share of the floor, which is
one JPEG decode.

    python -m benchmarks.views --rounds=50 --output=views.json

With --format=webp (or tiff, avif, png, ppm, jp2) it compares the host part of that format, which
Pillow may decode in Python, with that of JPEG instead: on one core, and on all cores at once, where
"cores busy" shows whether the decodes run side by side.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time

import numpy as np

from benchmarks import timing

# workload, candidate: (compared with, least ratio required, ratio aimed at)
GOALS = {
    ("small", "ours"): ("plain", 4.0, 5.5),
    ("jpeg", "ours"): ("plain", 2.0, 2.5),
    ("jpeg", "ours, host part"): ("plain, host part", 1.9, 2.2),
    ("jpeg", "ours, host part, resize on device"): ("plain, host part", 3.5, 4.4),
}
COMPILE_SECONDS = 10.0  # at most, for the compilation of the views
FLOOR = "one decode"
SEED = 0


def options(dataset):
    """The dataset without what works ahead by itself."""
    from simclr_tf.stack import tf

    chosen = tf.data.Options()
    chosen.experimental_optimization.map_and_batch_fusion = False
    chosen.experimental_optimization.inject_prefetch = False
    chosen.threading.private_threadpool_size = 1
    chosen.threading.max_intra_op_parallelism = 1
    return dataset.with_options(chosen)


def taker(dataset, batches, function=None):
    """A turn: takes some batches of an endless stream, `function` on each, and lets it settle.

    What works ahead fills its queues again before the turn ends, so that the CPU time of a turn
    is the work of its batches, whoever does it, and no start-up is measured.
    """
    stream = iter(options(dataset))

    def turn():
        for _ in range(batches):
            batch = next(stream)
            if function is not None:
                function(batch)
        settle()

    return turn


def settle(step=0.015, idle=0.0005, times=3):
    """Waits until the process has done nothing for some times: it may be starved for a moment."""
    quiet = 0
    while quiet < times:
        before = time.process_time()
        time.sleep(step)
        quiet = quiet + 1 if time.process_time() - before < idle else 0


def photos(count):
    """JPEGs of 500x375: half parts of scikit-learn's photographs, half random 1/f fields."""
    from sklearn.datasets import load_sample_images

    from simclr_tf.stack import tf

    drawn = np.random.default_rng(0)
    encoded = []
    for number in range(count):
        if number % 2:
            photo = load_sample_images().images[number // 2 % 2]
            y, x = drawn.integers(0, (427 - 375, 640 - 500))
            pixels = photo[y : y + 375, x : x + 500]
        else:
            noise = np.fft.fft2(drawn.normal(size=(375, 500, 3)), axes=(0, 1))
            distance = np.hypot(np.fft.fftfreq(375)[:, None], np.fft.fftfreq(500)[None, :])
            scale = np.maximum(distance, 1 / 500)[..., None] ** -drawn.uniform(1.0, 1.6)
            field = np.fft.ifft2(noise * scale, axes=(0, 1)).real
            low, high = np.quantile(field, (0.01, 0.99))
            pixels = np.clip((field - low) / (high - low) * 255, 0, 255).astype("uint8")
        encoded.append(tf.io.encode_jpeg(pixels, quality=90).numpy())
    return encoded


def as_format(encoded, name):
    """The same pictures in another format, as its writers usually store them."""
    import io

    from PIL import Image

    usual = {"jpeg": ("JPEG", {"quality": 90}), "webp": ("WEBP", {"quality": 90})}
    usual.update(tiff=("TIFF", {"compression": "tiff_lzw"}), avif=("AVIF", {"quality": 80}))
    usual.update(png=("PNG", {}), ppm=("PPM", {}), jp2=("JPEG2000", {"quality_layers": [20]}))
    plugin, options = usual[name]
    made = []
    for one in encoded:
        content = io.BytesIO()
        with Image.open(io.BytesIO(one)) as image:
            image.save(content, plugin, **options)
        made.append(content.getvalue())
    return made


def measure_format(case):
    """Takes turns of one format and of JPEG: {name: [[wall, CPU seconds] of an image]}."""
    from simclr_tf import config
    from simclr_tf.data.info import Facts
    from simclr_tf.data.source import BytesSource
    from simclr_tf.views.batches import train_batches

    count = case["images"]
    pictures = photos(count)
    streams = {}
    for name in ("jpeg", case["format"]):
        encoded = as_format(pictures, name)
        source = BytesSource(Facts(name, count, (), "0"), encoded, np.full(count, -1))
        streams[name] = iter(train_batches(source, config.Views(), 224, 16, SEED))
    times = {name: [] for name in streams}
    end = time.monotonic() + case["seconds"]
    for turn in range(case["rounds"] + 1):  # the first warms up
        for name, stream in streams.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(count // 16):
                next(stream)
            settle()
            took = [(time.perf_counter() - wall) / count, (time.process_time() - cpu) / count]
            if turn:
                times[name].append(took)
        if turn and time.monotonic() > end:
            break
    return {"times": times}


def run_format(arguments):
    """Prints the ratio of a format to JPEG, on one core and on all; returns the figures."""
    rows = []
    figures = {}
    for cores in sorted({1, len(os.sched_getaffinity(0))}):
        case = {"format": arguments.format, "images": 128, "rounds": arguments.rounds}
        case["seconds"] = arguments.seconds
        found = timing.run_case("benchmarks.views", case, cores=cores)
        if "failed" in found:
            sys.exit(f"{arguments.format}: {found['failed']}")
        jpeg = found["times"]["jpeg"]
        for name, own in found["times"].items():
            wall, cpu = (statistics.median(one[i] for one in own) for i in (0, 1))
            ratios = [
                statistics.median(other[i] / one[i] for other, one in zip(jpeg, own))
                for i in (0, 1)
            ]
            rows.append(
                [name, str(cores), f"{1 / wall:.0f}", f"{cpu * 1e3:.2f}", f"{cpu / wall:.2f}"]
                + [f"{ratio:.2f}" for ratio in ratios]
            )
            figures[f"{name} on {cores}"] = {"images_per_second": 1 / wall, "cpu_seconds": cpu}
            figures[f"{name} on {cores}"]["ratio_to_jpeg"] = ratios
    header = ["format", "cores", "images/s", "CPU ms/image", "cores busy", "speed of JPEG's"]
    timing.print_table(header + ["by CPU time"], rows)
    return figures


def small_candidates(count):
    """{name: turn} and the seconds that the compilation of ours took."""
    from benchmarks.baselines import views_plain
    from simclr_tf import config
    from simclr_tf.data.info import Facts
    from simclr_tf.data.source import ArraySource
    from simclr_tf.stack import tf
    from simclr_tf.views.batches import train_batches
    from simclr_tf.views.device import make_views

    batch = 256
    strength = 0.5
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype("uint8")
    source = ArraySource(Facts("small", count, (), "0", (32, 32, 3)), images, np.full(count, -1))
    settings = config.Views(color_jitter_strength=strength, use_blur=False)
    ours = train_batches(source, settings, 32, batch, SEED)
    view = make_views(settings, 32, SEED)
    plain = tf.data.Dataset.from_tensor_slices(images).repeat()
    plain = plain.map(lambda image: views_plain.two_views(image, 32, strength))
    plain = plain.batch(batch, drop_remainder=True)
    turns = {"plain": taker(plain, count // batch), "ours": taker(ours, count // batch, view)}
    return turns, compile_seconds(view, ours)


def jpeg_candidates(count):
    """{name: turn} and the seconds that the compilation of ours took."""
    from benchmarks.baselines import views_plain
    from simclr_tf import config
    from simclr_tf.data.info import Facts
    from simclr_tf.data.source import BytesSource
    from simclr_tf.stack import tf
    from simclr_tf.views.batches import train_batches
    from simclr_tf.views.device import make_views

    batch = 16
    size = 224
    encoded = photos(count)

    source = BytesSource(Facts("jpeg", count, (), "0"), encoded, np.full(count, -1))
    batches = {
        name: train_batches(source, config.Views(**settings), size, batch, SEED)
        for name, settings in {"host": {}, "canvas": {"resize_on": "device"}}.items()
    }
    view = make_views(config.Views(), size, SEED)
    files = tf.data.Dataset.from_tensor_slices(encoded).repeat()
    decoded = files.map(lambda file: tf.io.decode_jpeg(file, channels=3))
    plain = decoded.map(lambda image: views_plain.two_views(image, size, 1.0))
    plain = plain.batch(batch, drop_remainder=True)
    blur = tf.function(lambda pairs: views_plain.blur_batch(pairs, size))
    turn = count // batch
    turns = {
        FLOOR: taker(decoded, count),
        "plain": taker(plain, turn, blur),
        "ours": taker(batches["host"], turn, view),
        "plain, host part": taker(plain, turn),
        "ours, host part": taker(batches["host"], turn),
        "ours, host part, resize on device": taker(batches["canvas"], turn),
    }
    return turns, compile_seconds(view, batches["host"])


def compile_seconds(view, batches):
    """CPU seconds of the first call, which compiles."""
    batch = next(iter(batches))
    return timing.cpu_seconds(lambda: view(batch), 1)[0]


def measure_case(case):
    """Runs all candidates of a workload in turns: {"seconds": {name: [per image]}, ...}."""
    candidates = {"small": small_candidates, "jpeg": jpeg_candidates}[case["workload"]]
    count = case["images"]
    turns, compiled = candidates(count)
    for turn in turns.values():
        turn()
    order = random.Random(0)
    seconds = {name: [] for name in turns}
    end = time.monotonic() + case["seconds"]
    for _ in range(case["rounds"]):
        if time.monotonic() > end:
            break
        for name in order.sample(list(turns), len(turns)):
            seconds[name].append(timing.cpu_seconds(turns[name], 1)[0] / count)
    return {"seconds": seconds, "compile_seconds": compiled}


def summarise(workload, found):
    """The rows of a workload: one per candidate."""
    seconds = found["seconds"]
    rows = []
    for name, own in seconds.items():
        against, required, aim = GOALS.get((workload, name), (None, None, None))
        row = {"workload": workload, "candidate": name, "rounds": len(own)}
        row.update(median=statistics.median(own), best=min(own), required=required, aim=aim)
        if FLOOR in seconds:
            row["floor_share"] = statistics.median(seconds[FLOOR]) / row["median"]
        if against:
            ratios = [other / one for other, one in zip(seconds[against], own)]
            row["ratio"] = statistics.median(ratios)
            row["ratio_of_bests"] = min(seconds[against]) / min(own)
            row["quartiles"] = statistics.quantiles(ratios, n=4)[::2]
            row["reached"] = min(row["ratio"], row["ratio_of_bests"]) >= required
        rows.append(row)
    return rows


def to_row(row):
    """A row as strings."""
    cells = [f"{row['workload']}: {row['candidate']}", f"{1 / row['median']:.0f}"]
    cells += [f"{row[name] * 1e6:.0f}" for name in ("median", "best")]
    cells.append(f"{row['floor_share']:.0%}" if "floor_share" in row else "")
    if "ratio" not in row:
        return cells + [""] * 5
    low, high = row["quartiles"]
    cells += [f"{row['ratio']:.2f}", f"{low:.2f}-{high:.2f}", f"{row['ratio_of_bests']:.2f}"]
    return cells + [f"{row['required']:g} ({row['aim']:g})", "yes" if row["reached"] else "NO"]


def run(arguments):
    """All workloads; prints the table and returns the figures."""
    rows = []
    compiled = {}
    for workload, images in (("small", 2048), ("jpeg", 64)):
        if arguments.only in ("", workload):
            case = {"workload": workload, "images": images, "rounds": arguments.rounds}
            case["seconds"] = arguments.seconds
            found = timing.run_case("benchmarks.views", case)
            if "failed" in found:
                sys.exit(f"{workload}: {found['failed']}")
            rows += summarise(workload, found)
            compiled[workload] = found["compile_seconds"]
    header = ["candidate", "images/s", "us/image", "best", "floor", "x plain", "quartiles"]
    timing.print_table(
        header + ["of bests", "require (aim)", "reached"], [to_row(row) for row in rows]
    )
    for workload, seconds in compiled.items():
        print(f"{workload}: the views compiled in {seconds:.1f} s (at most {COMPILE_SECONDS:g})")
    print(f"rounds: {', '.join(str(row['rounds']) for row in rows)}; CPU time of one core")
    return {"rows": rows, "compile_seconds": compiled}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600.0, help="Most per workload.")
    parser.add_argument("--only", default="", choices=("", "small", "jpeg"))
    parser.add_argument(
        "--format", default="", choices=("webp", "tiff", "avif", "png", "ppm", "jp2")
    )
    parser.add_argument("--output", default="", help="JSON file for the figures.")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case = json.loads(arguments.case)
        timing.report(measure_format(case) if "format" in case else measure_case(case))
        return
    figures = run_format(arguments) if arguments.format else run(arguments)
    if arguments.output:
        timing.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
