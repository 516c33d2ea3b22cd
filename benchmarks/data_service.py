"""Trainings on 0, 1, 2 and 4 workers of a data service: the same metrics, and how fast input comes.

    python -m benchmarks.data_service [--workers=0,1,2,4] [--steps=20] [--output=FILE]

Every training and every worker is a process of its own on this machine. Tiny PNG images are drawn. The
column `same` compares `metrics.jsonl` byte by byte with that of the training without a service. Input
is timed without a model: images a second that a process takes, after a few batches that warm up, and
the CPU time that this process spends on them. Workers share the cores of this machine with it, so on few
cores the rate says little; the CPU time is what the service takes off the machine of the training.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import timing

BATCH = 64
SIZE = 32
SETTINGS = {
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "image_size": SIZE,
    "proj_out_dim": 16,
    "train_batch_size": BATCH,
    "warmup_epochs": 0,
    "log_steps": 1,
    "strategy": "default",
}


def draw(folder, count, side):
    """PNG files of noise."""
    from PIL import Image

    random = np.random.default_rng(0)
    os.makedirs(folder)
    for number in range(count):
        pixels = random.integers(0, 256, [side, side, 3], dtype=np.uint8)
        Image.fromarray(pixels).save(os.path.join(folder, f"{number:04d}.png"))


@contextlib.contextmanager
def workers(count, images, key):
    """Addresses of so many processes of --mode=data_service."""
    command = [
        sys.executable,
        "-m",
        "simclr_tf",
        "data_service",
        "--port=0",
        f"--image_dir={images}",
    ]
    command += [f"--service_key={key}"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        yield ",".join(one.stdout.readline().split(" at ")[1].strip() for one in running)
    finally:
        for one in running:
            one.terminate()
            one.wait()
            one.stdout.close()


def train(images, folder, addresses, key, steps):
    """The content of metrics.jsonl of a training in a process of its own."""
    values = {**SETTINGS, "train_steps": steps, "image_dir": images, "model_dir": folder}
    values = {**values, "data_service": addresses, "service_key": key}
    flags = [f"--{name}={value}" for name, value in values.items()]
    command = [sys.executable, "-m", "simclr_tf", "pretrain", "--preset=none", *flags]
    subprocess.run(command, check=True, capture_output=True)
    with open(os.path.join(folder, "metrics.jsonl"), "rb") as file:
        return file.read()


def take(case):
    """Images per second and CPU seconds per image of the input of a training, without a model."""
    from simclr_tf import config
    from simclr_tf.data import order, sources
    from simclr_tf.training.served import service_batches
    from simclr_tf.views import multi_crop

    settings = config.build(config.Pretrain, {**SETTINGS, "warmup_epochs": 0.0, **case["settings"]})
    source = sources.open_source(settings.data, "train", 0)
    share = order.Share(BATCH)
    batches = multi_crop.batches(source, settings, 2, share)
    if settings.training.data_service:
        batches = service_batches(settings, batches, share, 0, source)
    stream = iter(batches)
    for _ in range(8 + 8 * (settings.training.data_service.count(",") + 1)):
        next(stream)
    began = time.perf_counter(), time.process_time()
    for _ in range(case["batches"]):
        next(stream)
    images = case["batches"] * BATCH
    return {
        "images_per_second": images / (time.perf_counter() - began[0]),
        "cpu_seconds_per_image": (time.process_time() - began[1]) / images,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", default="0,1,2,4")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--side", type=int, default=64, help="Of the drawn images, in pixels.")
    parser.add_argument("--output", default="", help="JSON file for the figures.")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        timing.report(take(json.loads(arguments.case)))
        return
    rows = []
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        images, key = os.path.join(folder, "images"), os.path.join(folder, "key")
        draw(images, arguments.images, arguments.side)
        own = None
        for count in map(int, arguments.workers.split(",")):
            with workers(count, images, key) as addresses:
                run = os.path.join(folder, f"run{count}")
                metrics = train(images, run, addresses, key, arguments.steps)
                settings = {"image_dir": images, "data_service": addresses, "service_key": key}
                case = {"settings": settings, "batches": 5 * arguments.steps}
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.data_service",
                    "--case",
                    json.dumps(case),
                ]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                taken = json.loads(done.stdout.splitlines()[-1])
            own = own or (metrics, taken)
            figures[count] = {"same": metrics == own[0], **taken}
            lines = metrics.count(b"\n")
            same = f"{lines} of {lines} lines" if metrics == own[0] else "no"
            cells = [
                f"{taken['images_per_second']:,.0f}",
                f"{1e6 * taken['cpu_seconds_per_image']:,.0f}",
            ]
            ratios = [taken[name] / own[1][name] for name in taken]
            rows.append([str(count), same, *cells, *(f"{ratio:.2f}" for ratio in ratios)])
    print(f"{os.cpu_count()} cores, batches of {BATCH} PNG images of {arguments.side} pixels")
    header = ["workers", "same metrics.jsonl", "images/s", "CPU us/image", "x images/s", "x CPU"]
    timing.print_table(header, rows)
    if arguments.output:
        timing.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
