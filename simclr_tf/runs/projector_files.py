"""The files of TensorBoard's embedding projector: points, names, pictures."""

import io
import math
import os

import numpy as np
from PIL import Image

from simclr_tf.files import write_atomically
from simclr_tf.stack import tf

_CONFIG = """embeddings {{
  tensor_name: "h"
  tensor_path: "{below}h.tsv"
  tensor_shape: {rows}
  tensor_shape: {width}
  metadata_path: "{below}names.tsv"
  sprite {{
    image_path: "{below}sprites.png"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""


def write_points(folder, points, pictures, lines, below=""):
    """Writes what `tensorboard --logdir=FOLDER` shows as a projector.

    Args:
        folder: path; made if missing. It gets projector_config.pbtxt.
        points: float [n, d].
        pictures: uint8 [n, s, s, 3].
        lines: the lines of names.tsv, one per point, a header before them if they have two columns.
        below: folder for the other files inside `folder`, such as "projector"; "" for none.
    """
    text = io.StringIO()
    np.savetxt(text, points, "%.6g", "\t")
    place = os.path.join(folder, below) if below else folder
    tf.io.gfile.makedirs(place)
    write_atomically(os.path.join(place, "h.tsv"), text.getvalue())
    write_atomically(os.path.join(place, "names.tsv"), "\n".join(lines) + "\n")
    write_atomically(os.path.join(place, "sprites.png"), png(sprite_sheet(pictures)))
    settings = {"rows": len(points), "width": points.shape[1], "side": pictures.shape[1]}
    settings["below"] = f"{below}/" if below else ""
    write_atomically(os.path.join(folder, "projector_config.pbtxt"), _CONFIG.format(**settings))


def sprite_sheet(pictures):
    """uint8 [n, s, s, 3] -> uint8 [rows * s, columns * s, 3], row by row, rows = columns."""
    count, side = pictures.shape[:2]
    across = math.ceil(math.sqrt(count))
    sheet = np.full((across * across, side, side, 3), 255, np.uint8)
    sheet[:count] = pictures
    sheet = sheet.reshape(across, across, side, side, 3).transpose(0, 2, 1, 3, 4)
    return sheet.reshape(across * side, across * side, 3)


def png(image):
    """uint8 [h, w, 3] -> bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
