"""Speed of the encoder against the same network from plain Keras layers.

Three networks with the same operations run in turns: ours; `plain`, built from Conv2D and the fused
BatchNormalization of Keras; `unfused`, the same with the synchronised BatchNormalization that the
official code uses. Prints medians of wall and CPU time per call and writes them as JSON.

    python -m benchmarks.encoder --rounds=15 --output=encoder.json
"""

import argparse
import json
import statistics
import time

import numpy as np

from simclr_tf.models.resnet import BLOCKS, ResNet
from simclr_tf.stack import keras, tf

CASES = {
    "ResNet-18, 32 px, batch 128": dict(depth=18, image_size=32, batch=128, stem="small"),
    "ResNet-50, 224 px, batch 8": dict(depth=50, image_size=224, batch=8, stem="imagenet"),
}


def plain_resnet(depth, image_size, stem, synchronized):
    """The same network as a functional model of Keras layers only."""
    _, blocks = BLOCKS[depth]
    bottleneck = depth >= 50

    def convolve(x, filters, kernel, strides=1, relu=True):
        if strides > 1 and kernel > 1:
            x = keras.layers.ZeroPadding2D(((kernel - 1) // 2, kernel // 2))(x)
        padding = "same" if strides == 1 else "valid"
        x = keras.layers.Conv2D(filters, kernel, strides, padding, use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=synchronized)(
            x
        )
        return keras.layers.ReLU()(x) if relu else x

    images = keras.Input([image_size, image_size, 3])
    if stem == "small":
        x = convolve(images, 64, 3)
    else:
        x = convolve(images, 64, 7, 2)
        x = keras.layers.MaxPooling2D(3, 2, "same")(x)
    for group in range(4):
        filters = 64 * 2**group
        out = 64 * 2**group * (4 if bottleneck else 1)
        for block in range(blocks[group]):
            strides = 2 if group and not block else 1
            shortcut = x if block else convolve(x, out, 1, strides, relu=False)
            if bottleneck:
                x = convolve(convolve(x, filters, 1), filters, 3, strides)
                x = convolve(x, out, 1, relu=False)
            else:
                x = convolve(convolve(x, filters, 3, strides), filters, 3, relu=False)
            x = keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


def make_functions(model):
    """{"forward": images -> h, "step": images -> gradients}, traced with training=True."""

    def forward(images):
        return model(images, training=True)

    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(images, training=True)))
        return tf.add_n([tf.reduce_sum(g) for g in tape.gradient(loss, model.trainable_variables)])

    functions = {"forward": forward, "step": step}
    return {name: tf.function(f, autograph=False) for name, f in functions.items()}


def measure(functions, images, rounds):
    """Runs the candidates in turns; returns {name: (wall, CPU)} medians in seconds."""
    times = {name: [] for name in functions}
    for function in functions.values():
        function(images)
    for _ in range(rounds):
        for name, function in functions.items():
            wall = time.perf_counter()
            cpu = time.process_time()
            np.sum(function(images).numpy())
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: tuple(statistics.median(column) for column in zip(*rows))
        for name, rows in times.items()
    }


def run_case(case, rounds):
    """{"forward" or "step": {candidate: (wall, CPU)}} of one network."""
    size = case["image_size"]
    stem = case["stem"]
    depth = case["depth"]
    ours = ResNet(depth, stem=stem)
    ours.build((None, size, size, 3))
    candidates = {
        "ours": make_functions(ours),
        "plain": make_functions(plain_resnet(depth, size, stem, synchronized=False)),
        "unfused": make_functions(plain_resnet(depth, size, stem, synchronized=True)),
    }
    images = tf.random.stateless_uniform([case["batch"], size, size, 3], seed=[0, 1])
    return {
        kind: measure({name: found[kind] for name, found in candidates.items()}, images, rounds)
        for kind in ("forward", "step")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="Only networks whose title starts so.")
    parser.add_argument("--output", default="", help="JSON file for the figures.")
    arguments = parser.parse_args()
    found = {}
    print(f"{'network':30}{'call':9}{'candidate':10}{'wall s':>9}{'CPU s':>9}{'CPU / ours':>12}")
    for title, case in CASES.items():
        if not title.startswith(arguments.only):
            continue
        found[title] = run_case(case, arguments.rounds)
        for kind, rows in found[title].items():
            for name, (wall, cpu) in rows.items():
                ratio = cpu / rows["ours"][1]
                print(f"{title:30}{kind:9}{name:10}{wall:9.4f}{cpu:9.4f}{ratio:12.2f}", flush=True)
    if arguments.output:
        with tf.io.gfile.GFile(arguments.output, "w") as file:
            file.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
