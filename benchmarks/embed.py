"""Images/s of `--mode=embed` against `tf.saved_model.load` in plain loops over the same files.

Draws JPEG files of 500x375, exports an encoder, and lets take turns, in one process:

* `embed`: our pipeline (decode only the part that is used, in parallel, ahead, in batches) from
  files to parts on disk, with the weights out of the same SavedModel, in float32;
* `embed, bfloat16`: the same with `--precision=mixed_bfloat16`;
* `one by one`: read, decode, crop, resize and `model.feature_vector` image by image, without a
  graph around it, as the usual few lines do; the target of 2 is against this;
* `batch of 32`: the same with a batch per call;
* `encoder alone`, in both precisions: our compiled encoder on images that wait in memory: the floor
  of `embed`.

All give the same h, up to the rounding of their precision: the largest difference is printed. Medians
of images per second and of CPU time, after one round that compiles and reads everything. Each round
of `embed` starts a pipeline anew, which is about half a CPU second of it.

    python -m benchmarks.embed --images=256 --rounds=5 --output=embed.json
"""

import argparse
import os
import statistics
import tempfile
import time

import numpy as np
from PIL import Image
from simclr_tf.export import saved_model

from benchmarks.timing import print_table, write_json
from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.embedding import stream
from simclr_tf.embedding.parts import Parts
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.frozen import fastest
from simclr_tf.runs import saved_models as reader
from simclr_tf.stack import keras, tf

HEIGHT = 375
WIDTH = 500
SIZE = 224


def draw_images(folder, count):
    """Writes JPEG files with structure and noise, about 65 kB each."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.BICUBIC), np.int32)
        noisy = smooth + rng.integers(-12, 13, smooth.shape)
        image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        image.save(os.path.join(folder, f"{i:05d}.jpg"), quality=90)


def export_encoder(folder, depth):
    """A SavedModel of a randomly initialised ResNet; returns its path."""
    settings = config.flatten(config.build(config.Pretrain, {"resnet_depth": depth, "image_size": SIZE}))  # fmt: skip
    parts = reader.build_named_parts(settings, ("encoder",), 0)
    about = saved_model.About(settings, 0)
    return saved_model.export_saved_model(*parts.values(), folder, about).path


def prepare(path):
    """The evaluation image in plain TensorFlow: central square of 87.5 %, bicubic."""
    image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    height, width = image.shape[:2]
    side = round(0.875 * min(height, width))
    top = (height - side + 1) // 2
    left = (width - side + 1) // 2
    square = tf.image.crop_to_bounding_box(image, top, left, side, side)
    square = tf.image.convert_image_dtype(square, tf.float32)
    return tf.clip_by_value(tf.image.resize(square, [SIZE, SIZE], "bicubic"), 0.0, 1.0)


def plain_loop(model, paths, batch_size):
    """h float32 [n, d] of the files, `batch_size` at a time."""
    rows = []
    for start in range(0, len(paths), batch_size):
        images = tf.stack([prepare(path) for path in paths[start : start + batch_size]])
        rows.append(model.feature_vector(images).numpy())
    return np.concatenate(rows)


def extractor_of(exported, precision, batch_size):
    """What `--mode=embed --precision=...` computes h with."""
    keras.mixed_precision.set_global_policy(precision)
    encoder, _, _, _ = reader.load_exported(exported)
    keras.mixed_precision.set_global_policy("float32")
    encoder = fastest(encoder)

    def spaces(images, training):
        return {"h": encoder(images, training=training)}

    return Extractor(spaces, batch_size)


def candidates(folder, exported):
    """{name: function () -> h}."""
    model = tf.saved_model.load(exported)
    source = sources.open_whole(config.Data(image_dir=folder), "")
    paths = source.names(0, source.num_examples)
    sprites = stream.Sprites.of(len(paths), config.EmbedSettings().projector_images, SIZE)

    batch_size = config.EmbedSettings().eval_batch_size
    ready = list(stream.prepared_batches(source, SIZE, batch_size))
    full, half = (
        extractor_of(exported, name, batch_size) for name in ("float32", "mixed_bfloat16")
    )

    def embed(extractor):
        with tempfile.TemporaryDirectory() as place:
            parts = Parts(place, {"weights": "the same"})
            stream.embed(source, extractor, parts, SIZE, sprites)
            return np.concatenate([columns["h"] for _, columns in parts])

    def encoder_alone(extractor):
        return np.concatenate([features["h"] for _, features in extractor.each(ready)])

    return {
        "embed": lambda: embed(full),
        "embed, bfloat16": lambda: embed(half),
        "one by one": lambda: plain_loop(model, paths, 1),
        "batch of 32": lambda: plain_loop(model, paths, 32),
        "encoder alone": lambda: encoder_alone(full),
        "encoder alone, bfloat16": lambda: encoder_alone(half),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--output", default="", help="JSON file for the figures.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = os.path.join(folder, "images")
        os.makedirs(images)
        draw_images(images, arguments.images)
        functions = candidates(
            images, export_encoder(os.path.join(folder, "model"), arguments.depth)
        )
        rows = {name: function() for name, function in functions.items()}
        seconds = {name: [] for name in functions}
        for _ in range(arguments.rounds):
            for name, function in functions.items():
                began = time.perf_counter(), time.process_time()
                function()
                ended = time.perf_counter(), time.process_time()
                seconds[name].append([end - begin for begin, end in zip(began, ended)])
    found = {}
    for name in functions:
        wall, cpu = (statistics.median(column) for column in zip(*seconds[name]))
        error = np.abs(rows[name] - rows["embed"]).max() / np.abs(rows["embed"]).max()
        found[name] = {
            "images_per_second": arguments.images / wall,
            "cpu_milliseconds": 1000 * cpu / arguments.images,
            "difference": float(error),
        }
    plain = found["one by one"]
    header = ["candidate", "images/s", "CPU ms an image", "one by one / it", "CPU", "largest difference of h"]  # fmt: skip
    print(f"ResNet-{arguments.depth}, {WIDTH}x{HEIGHT} JPEG at {SIZE} px, {arguments.images} files")
    print_table(header, [
        [
            name,
            f"{one['images_per_second']:.1f}",
            f"{one['cpu_milliseconds']:.1f}",
            f"{one['images_per_second'] / plain['images_per_second']:.2f}",
            f"{plain['cpu_milliseconds'] / one['cpu_milliseconds']:.2f}",
            f"{one['difference']:.1e}",
        ]
        for name, one in found.items()
    ])  # fmt: skip
    if arguments.output:
        write_json(arguments.output, found)


if __name__ == "__main__":
    main()
