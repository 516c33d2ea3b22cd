"""Cost of linear evaluation: the usual recipe, the paper's form and the fast form, in one run.

    python -m benchmarks.linear_eval [--parts=forms,command] [--rounds=3] [--steps=3] [--grid=9]
        [--json=FILE]

ResNet-18 at 32 pixels on scikit-learn's digits. The usual recipe runs the whole encoder in every
step in training graph form: `training=True` under a gradient tape, one classifier per run. It is
measured twice: with the gradient of all weights computed ("whole"), and stopped behind the encoder
("stopped", as the official code does). Our paper's form runs the encoder forward only and trains
all classifiers of a grid at once, in float32 and as with `--precision=mixed_bfloat16`. Steps of all
forms take turns; the median step gives the cost of 90 epochs in CPU seconds. The fast form (features
once, 45 penalties by L-BFGS, final fit) is timed as a whole.

The part "command" times `--mode=linear_eval` of an image folder as a user types it: 2,000 crops of
scikit-learn's photographs, 48 pixels, ResNet-18 at a quarter of its width, in a process of its own.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks import timing
from simclr_tf.data.digits import digit_images
from simclr_tf.evaluation.baselines import Standardiser
from simclr_tf.evaluation.features import extract_features
from simclr_tf.evaluation.frozen import fastest
from simclr_tf.evaluation.linear import LinearClassifiers, LinearTrainer
from simclr_tf.evaluation.logistic import tune_logistic
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.resnet import ResNet
from simclr_tf.stack import keras, tf

EPOCHS = 90
BATCH = 128
SIZE = 32
CLASSES = 10
COUNT = 1437


def digits():
    """(images float32 [1437, 32, 32, 3] in [0, 1], labels int32 [1437])."""
    images, labels = digit_images()
    images = np.repeat(images[:COUNT], 3, axis=3).astype(np.float32) / 255.0
    return tf.image.resize(images, [SIZE, SIZE]).numpy(), labels[:COUNT].astype(np.int32)


def make_encoder(precision="float32"):
    """ResNet-18 whose residual branches are on."""
    keras.mixed_precision.set_global_policy(precision)
    encoder = ResNet(18, stem="small")
    encoder.build((None, SIZE, SIZE, 3))
    keras.mixed_precision.set_global_policy("float32")
    for part in encoder.submodules:
        if hasattr(part, "moving_variance"):
            part.gamma.assign(tf.ones_like(part.gamma))
    return encoder


def usual(encoder, whole):
    """A step of the usual recipe; `whole`: the gradient of all weights is computed."""
    classifier = LinearClassifier(CLASSES)
    classifier(tf.zeros([1, encoder.feature_dim]))
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    wanted = classifier.trainable_variables
    optimizer.build(wanted)
    variables = wanted + (encoder.trainable_variables if whole else [])

    def step(batch):
        with tf.GradientTape() as tape:
            h = encoder(batch["images"], training=True)
            logits = classifier(h if whole else tf.stop_gradient(h))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["label"], logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, wanted))
        return loss, tf.add_n([tf.reduce_sum(g) for g in gradients])

    return tf.function(step, autograph=False)


def ours(encoder, count):
    """A step of the paper's form with `count` classifiers."""
    grid = tuple((1.0 / (1 + i), 0.0) for i in range(count))
    classifiers = LinearClassifiers({"h": encoder.feature_dim}, CLASSES, grid=grid)
    frozen = fastest(encoder)
    functions = {"h": lambda images: frozen(images, training=False)}
    trainer = LinearTrainer(classifiers, functions, lambda batch: batch["images"], 0.05)
    return tf.function(trainer.train_step, autograph=False)


def fast(encoder, images, labels):
    """CPU seconds of (features once, 45 penalties and the final fit)."""
    columns = {"images": images, "label": labels, "id": np.arange(len(images))}
    began = time.process_time()
    batches = tf.data.Dataset.from_tensor_slices(columns).batch(BATCH)
    h = extract_features(encoder, batches, BATCH).h
    middle = time.process_time()
    tune_logistic(Standardiser(h)(h), labels, CLASSES)
    return middle - began, time.process_time() - middle


def measure(options):
    """{form: CPU seconds of 90 epochs}, and the parts of the fast form."""
    images, labels = digits()
    encoder = make_encoder()
    half = make_encoder("mixed_bfloat16")
    batch = {"images": tf.constant(images[:BATCH]), "label": tf.constant(labels[:BATCH])}
    forms = {
        "usual, whole gradient": usual(encoder, True),
        "usual, gradient stopped": usual(encoder, False),
        "paper's form, 1 classifier": ours(encoder, 1),
        f"paper's form, {options.grid} classifiers": ours(encoder, options.grid),
        "paper's form, 1 classifier, bfloat16": ours(half, 1),
        f"paper's form, {options.grid} classifiers, bfloat16": ours(half, options.grid),
    }
    times = {name: [] for name in forms}
    for step in forms.values():
        step(batch)
    for _ in range(options.rounds):
        for name, step in forms.items():
            began = time.process_time()
            for _ in range(options.steps):
                out = step(batch)
            tf.nest.map_structure(lambda t: t.numpy(), out)
            times[name].append((time.process_time() - began) / options.steps)
    steps = EPOCHS * COUNT / BATCH
    costs = {name: steps * statistics.median(rows) for name, rows in times.items()}
    features, search = fast(make_encoder(), images, labels)
    costs["fast form"] = features + search
    return costs, {"features": features, "search": search}


def write_crops(folder, count=2000, side=64):
    """Square crops of the two photographs: eight classes, a quarter of a photograph each."""
    random = np.random.default_rng(0)
    for label in range(8):
        photograph = load_sample_images().images[label // 4]
        height, width = (length // 2 for length in photograph.shape[:2])
        top = label % 4 // 2 * height
        left = label % 2 * width
        quarter = photograph[top : top + height, left : left + width]
        os.makedirs(os.path.join(folder, f"part{label}"))
        for number in range(count // 8):
            size = int(random.integers(40, 100))
            y = int(random.integers(0, height - size))
            x = int(random.integers(0, width - size))
            crop = Image.fromarray(quarter[y : y + size, x : x + size]).resize((side, side))
            crop.save(os.path.join(folder, f"part{label}", f"{number:04d}.png"))


def measure_command():
    """{"CPU seconds", "wall seconds"} of the command on 2,000 images."""
    with tempfile.TemporaryDirectory() as place:
        images = os.path.join(place, "images")
        run = os.path.join(place, "run")
        write_crops(images)
        size = ["--image_size=48", "--width_multiplier=0.25", "--train_steps=20"]
        pretrain = ["pretrain", f"--image_dir={images}", f"--model_dir={run}", *size]
        command = [sys.executable, "-m", "simclr_tf"]
        subprocess.run([*command, *pretrain], check=True, stdout=subprocess.DEVNULL)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run([*command, "linear_eval", f"--checkpoint={run}"], check=True)
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"CPU seconds": cpu, "wall seconds": wall}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--grid", type=int, default=9)
    parser.add_argument("--json", default="", help="file for the figures")
    parser.add_argument("--parts", default="forms,command", help="forms, command, or both")
    options = parser.parse_args()
    wanted = options.parts.split(",")
    found = {}
    if "forms" in wanted:
        found.update(report_forms(options))
    if "command" in wanted:
        found["command"] = measure_command()
        print("the command on 2,000 images:", ", ".join(f"{value:.1f} {name}" for name, value in found["command"].items()))  # fmt: skip
    if options.json:
        timing.write_json(options.json, found)


def report_forms(options):
    """Prints the costs of the forms; returns them."""
    costs, parts = measure(options)
    whole, stopped = list(costs.values())[:2]
    rows = [
        [name, f"{cost:.1f}", f"{whole / cost:.2f}", f"{stopped / cost:.2f}",
         f"{options.grid * stopped / cost:.1f}"]
        for name, cost in costs.items()
    ]  # fmt: skip
    header = ["form", f"CPU s, {EPOCHS} epochs", "whole / it", "stopped / it", f"{options.grid} runs stopped / it"]  # fmt: skip
    timing.print_table(header, rows)
    print(f"fast form: {parts['features']:.1f} s features, {parts['search']:.1f} s search and fit")
    return {"seconds": costs, "fast": parts, "grid": options.grid}


if __name__ == "__main__":
    main()
