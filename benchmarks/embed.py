"""Images/s of `--mode=embed` against `tf.saved_model.load` in plain loops over the same files.

Draws JPEG files of 500x375, exports an encoder, and lets take turns, in one process:

* `embed`: our pipeline (decode only the part that is used, in parallel, ahead, in batches) from
  files to parts on disk, with the weights out of the same SavedModel;
* `one by one`: read, decode, crop, resize and `model.feature_vector` image by image, without a
  graph around it, as the usual few lines do; the target of 2 is against this;
* `batch of 32`: the same with a batch per call;
* `encoder alone`: our compiled encoder on images that wait in memory: the floor of `embed`.

All give the same h: the largest difference is printed. Medians of images per second, after one
round that compiles and reads everything.

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
from simclr_tf.runs import saved_models as reader
from simclr_tf.stack import tf

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


def candidates(folder, exported):
    """{name: function () -> h}."""
    model = tf.saved_model.load(exported)
    encoder, _, settings, _ = reader.load_exported(exported)
    source = sources.open_whole(config.Data(image_dir=folder), "")
    paths = source.names(0, source.num_examples)
    sprites = stream.Sprites.of(len(paths), config.EmbedSettings().projector_images, SIZE)

    def spaces(images, training):
        return {"h": encoder(images, training=training)}

    extractor = Extractor(spaces, config.EmbedSettings().eval_batch_size)

    def embed():
        with tempfile.TemporaryDirectory() as place:
            parts = Parts(place, {"weights": "the same"})
            stream.embed(source, extractor, parts, settings["image_size"], sprites)
            return np.concatenate([columns["h"] for _, columns in parts])

    ready = list(stream.prepared_batches(source, SIZE, extractor.global_batch_size))

    def encoder_alone():
        return np.concatenate([features["h"] for _, features in extractor.each(ready)])

    return {
        "embed": embed,
        "one by one": lambda: plain_loop(model, paths, 1),
        "batch of 32": lambda: plain_loop(model, paths, 32),
        "encoder alone": encoder_alone,
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
                began = time.perf_counter()
                function()
                seconds[name].append(time.perf_counter() - began)
    found = {}
    for name in functions:
        rate = arguments.images / statistics.median(seconds[name])
        error = np.abs(rows[name] - rows["embed"]).max() / np.abs(rows["embed"]).max()
        found[name] = {"images_per_second": rate, "difference": float(error)}
    ours = found["embed"]["images_per_second"]
    header = ["candidate", "images/s", "embed is faster by", "largest difference of h"]
    print(f"ResNet-{arguments.depth}, {WIDTH}x{HEIGHT} JPEG at {SIZE} px, {arguments.images} files")
    print_table(header, [
        [name, f"{one['images_per_second']:.1f}", f"{ours / one['images_per_second']:.2f}", f"{one['difference']:.1e}"]  # fmt: skip
        for name, one in found.items()
    ])  # fmt: skip
    if arguments.output:
        write_json(arguments.output, found)


if __name__ == "__main__":
    main()
