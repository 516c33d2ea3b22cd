"""A sheet of pictures: queries, each followed by its nearest neighbours."""

import io

import numpy as np
from PIL import Image, ImageDraw

from simclr_tf.data import preprocess, stacks
from simclr_tf.evaluation.knn import nearest_neighbours
from simclr_tf.files import write_atomically
from simclr_tf.stack import tf

QUERIES = 10
NEIGHBOURS = 8
SIDE = 96  # pixels
CAPTION = 14
GAP = 4


def draw_neighbours(path, source, h, ids, paths):
    """Draws evenly spaced queries and, beside each, its nearest neighbours by cosine of h.

    Args:
        path: of the PNG file.
        source: data.source.Source.
        h: float [n, d], n >= 2, may be memory-mapped.
        ids: int64 [n], the image of each row in the source.
        paths: sequence of str by row.
    """
    queries = np.unique(np.linspace(0, len(h) - 1, QUERIES).astype(np.int64))
    count = min(NEIGHBOURS, len(h) - 1)
    cosine, rows = nearest_neighbours(h[queries], h, count + 1)
    lines = []
    for query, similar, found in zip(queries, cosine, rows):
        others = [(row, value) for row, value in zip(found, similar) if row != query][:count]
        lines.append([(query, "query"), *((row, f"{value:.3f}") for row, value in others)])
    draw_lines(path, lines, Thumbnails(source, ids), paths)


def draw_lines(path, lines, thumbnail, paths):
    """Draws one row of pictures per line.

    Args:
        path: of the PNG file.
        lines: list of lists of (key, words below the picture).
        thumbnail: function of a key -> PIL image of SIDE pixels.
        paths: sequence or dict of str by key, the second line below a picture.
    """
    write_atomically(path, _sheet(lines, thumbnail, paths))


def no_picture():
    """What stands for an image that is not here, a PIL image of SIDE pixels."""
    return Image.new("RGB", (SIDE, SIDE), (224, 224, 224))


class Thumbnails:
    """Pictures as the encoder sees them, by row, SIDE pixels."""

    def __init__(self, source, ids):
        self._ids = ids

        @tf.function(input_signature=[tf.TensorSpec([], tf.int64)], autograph=False)
        def load(example_id):
            image = source.resolve(source.fetch(example_id)[0])
            return preprocess.eval_encoded(image, SIDE, source.channels)

        self._load = load

    def __call__(self, row):
        pixels = self._load(tf.constant(int(self._ids[row]), tf.int64)).numpy()
        return Image.fromarray(np.uint8(np.rint(255.0 * stacks.as_rgb(pixels))))


def _sheet(lines, thumbnail, paths):
    """Bytes of a PNG: one row of pictures per line, captions below."""
    width = SIDE + GAP
    height = SIDE + 2 * CAPTION + GAP
    size = (max(map(len, lines)) * width + GAP, len(lines) * height + GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        for j, (row, words) in enumerate(line):
            left = GAP + j * width
            top = GAP + i * height
            sheet.paste(thumbnail(row), (left, top))
            for number, text in enumerate((words, _shortened(str(paths[row])))):
                draw.text((left, top + SIDE + number * CAPTION), text, fill="black")
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _shortened(path):
    """The end of a path, as far as it fits below a picture, in letters of the built-in font."""
    path = path.encode("ascii", "replace").decode()
    return path if len(path) <= 16 else "~" + path[-15:]
