"""A folder for TensorBoard's embedding projector: points, names, pictures."""

import numpy as np

from simclr_tf import names as texts
from simclr_tf.runs.projector_files import png, sprite_sheet, write_points  # noqa: F401


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
    header = ["path\tclass"] if class_names else []  # of one column TensorBoard wants none
    write_points(folder, points, pictures, header + lines)
    return len(points)


def _metadata(path, label, class_names):
    cells = [path] + ([class_names[label] if label >= 0 else ""] if class_names else [])
    return "\t".join(texts.cell(cell) for cell in cells)
