"""Peak memory of embedding few and many images, in one process, for embedding/test_embedding.py.

Usage: python -m tests.embedding_memory FOLDER NUMBER NUMBER ...; prints a list of figures as JSON.
"""

import json
import os
import sys

from PIL import Image

from benchmarks.timing import PeakMemory
from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.embedding import duplicates, stream, tables
from simclr_tf.embedding.parts import Parts
from simclr_tf.evaluation.features import Extractor
from simclr_tf.stack import tf

WIDTH = 8192


def wide(images, training):
    """float [b, 16, 16, 3] -> h float [b, WIDTH]."""
    return {"h": tf.tile(tf.reshape(images, [-1, 768]), [1, 11])[:, :WIDTH]}


def run(folder, number):
    """Embeds `number` images into the .npz and the .parquet, and compares all pairs."""
    images = os.path.join(folder, f"images{number}")
    output = os.path.join(folder, str(number))
    os.makedirs(images)
    for i in range(number):
        Image.new("RGB", (16, 16), (i % 251, i // 251, 90)).save(f"{images}/{i:05d}.png")
    with PeakMemory() as memory:
        source = sources.open_whole(config.Data(image_dir=images), "train")
        parts = Parts(output, {"weights": "none"})
        stream.embed(source, Extractor(wide, 32), parts, 16, stream.Sprites.of(number, 100, 16))
        table = tables.Table(parts, source.names)
        tables.write_npz(output + ".npz", table)
        tables.write_parquet(output + ".parquet", table)
        h = tables.mapped(output + ".npz", "h")
        duplicates.near_duplicates(h[:200], 0.99999, most=100)
    assert h.shape == (number, WIDTH)
    return {"peak": memory.total, "bytes": os.path.getsize(output + ".npz")}


if __name__ == "__main__":
    stream.PART_ROWS = 64
    counts = [int(number) for number in sys.argv[2:]]
    run(sys.argv[1], 100)  # what TensorFlow allocates once
    print(json.dumps([run(sys.argv[1], count) for count in counts]))
