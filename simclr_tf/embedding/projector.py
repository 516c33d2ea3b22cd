"""A folder for TensorBoard's embedding projector: points, names, pictures."""

import io
import math
import os

import numpy as np
from PIL import Image

from simclr_tf import names as texts
from simclr_tf.files import write_atomically
from simclr_tf.stack import tf

_CONFIG = """embeddings {{
  tensor_name: "h"
  tensor_path: "h.tsv"
  tensor_shape: {rows}
  tensor_shape: {width}
  metadata_path: "names.tsv"
  sprite {{
    image_path: "sprites.png"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""


def write_projector(folder, parts, names, class_names):
    """Writes the points whose pictures the parts hold; `tensorboard --logdir=FOLDER` shows them.

    Args:
        folder: path; made if missing.
        parts: Parts of `stream.embed`.
        names: function (start, stop) -> list of str, the paths of images by id.
        class_names: sequence of str, empty without labels.
    Returns:
        number of points.
    """
    pictures = []
    points = []
    lines = []
    for start, columns in parts:
        chosen = np.isin(columns.get("id", []), columns.get("sprite_id", []))
        if chosen.any():
            pictures.append(columns["sprite"])
            points.append(columns["h"][chosen])
            paths = names(start, int(columns["next"]))
            lines += [
                _metadata(paths[example_id - start], label, class_names)
                for example_id, label in zip(columns["id"][chosen], columns["label"][chosen])
            ]
    if not points:
        return 0
    points = np.concatenate(points)
    pictures = np.concatenate(pictures)
    text = io.StringIO()
    np.savetxt(text, points, "%.6g", "\t")
    header = ["path\tclass"] if class_names else []  # of one column TensorBoard wants none
    settings = {"rows": len(points), "width": points.shape[1], "side": pictures.shape[1]}
    tf.io.gfile.makedirs(folder)
    write_atomically(os.path.join(folder, "h.tsv"), text.getvalue())
    write_atomically(os.path.join(folder, "names.tsv"), "\n".join(header + lines) + "\n")
    write_atomically(os.path.join(folder, "sprites.png"), png(sprite_sheet(pictures)))
    write_atomically(os.path.join(folder, "projector_config.pbtxt"), _CONFIG.format(**settings))
    return len(points)


def _metadata(path, label, class_names):
    cells = [path] + ([class_names[label] if label >= 0 else ""] if class_names else [])
    return "\t".join(texts.cell(cell) for cell in cells)


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
