"""How often the nearest image in another style shows the same thing: h beside baselines.

    python -m benchmarks.styles --image_dir=letters --checkpoints=runs/letters

The folder holds one folder per thing, and a style has the same file name in all of them, such as
`A/serif.png` and `B/serif.png`. Each image looks for its nearest among all images of other styles,
by the cosine of standardised features. The share that find their own thing is printed for h of each
run, and for raw pixels, the histogram of colours and HOG of images of 32 and of 64 pixels.
"""

import argparse
import os

import numpy as np

import simclr_tf
from benchmarks.timing import print_table, write_json
from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.embedding.stream import prepared_batches
from simclr_tf.evaluation import baselines
from simclr_tf.evaluation.features import extract_features

SIDES = (32, 64)
NAMES = {"pixels": "raw pixels", "color": "colour histogram", "hog": "HOG"}
ROWS = 256


def same_thing_share(features, things, styles):
    """Share of the rows whose nearest row of another style is of the same thing.

    Args:
        features: float [n, d].
        things, styles: [n].
    """
    rows = baselines.Standardiser(features)(np.asarray(features, np.float32))
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    hits = 0
    for start in range(0, len(rows), ROWS):
        similarity = rows[start : start + ROWS] @ rows.T
        similarity[styles[start : start + ROWS, None] == styles[None]] = -2.0
        hits += (things[similarity.argmax(1)] == things[start : start + ROWS]).sum()
    return hits / len(rows)


def untrained(source, side):
    """{name: float32 [n, d]} of features that nobody trained."""
    functions = {"pixels": baselines.pixel_features, **baselines.handmade(source.channels)}

    def all_of(images, training=False):
        return {name: function(images) for name, function in functions.items()}

    return extract_features(all_of, prepared_batches(source, side, ROWS), ROWS).h


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image_dir", required=True)
    parser.add_argument("--checkpoints", default="", help="Run folders, comma-separated.")
    parser.add_argument("--output", default="", help="JSON file for the figures.")
    arguments = parser.parse_args()
    source = sources.open_whole(config.Data(image_dir=arguments.image_dir), "train")
    paths = source.files()
    things = np.array([os.path.basename(os.path.dirname(path)) for path in paths])
    styles = np.array([os.path.splitext(os.path.basename(path))[0] for path in paths])
    found = {}
    for side in SIDES:
        for name, rows in untrained(source, side).items():
            found[f"{NAMES[name]}, {side} pixels"] = float(same_thing_share(rows, things, styles))
    for run in filter(None, arguments.checkpoints.split(",")):
        h = simclr_tf.load(run).embed(arguments.image_dir)
        found[f"h of {run}"] = float(same_thing_share(h, things, styles))
    print(f"{len(paths):,} images, {len(set(things)):,} things, {len(set(styles)):,} styles")
    print_table(["features", "same thing"], [[name, f"{one:.3f}"] for name, one in found.items()])
    if arguments.output:
        write_json(arguments.output, found)


if __name__ == "__main__":
    main()
