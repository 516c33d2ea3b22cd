"""What can be seen in finished embeddings: projector, nearest neighbours, near-duplicates."""

import os
import tempfile

import numpy as np

from simclr_tf import phases
from simclr_tf.data import listing
from simclr_tf.embedding import duplicates, projector, sheet, tables
from simclr_tf.stack import tf


def draw(job, parts):
    """Makes projector, sheet and list of duplicates; returns their figures."""
    folder = job.output.folder
    embed = job.config.embed
    found = {}
    if embed.projector_images:
        found["projector_images"] = projector.write_projector(
            folder.join("projector"), parts, job.names, job.source.class_names
        )
    with tempfile.TemporaryDirectory() as local:
        path = _local(job.output.files[".npz"], local)
        paths = tables.mapped(path, "path")
        if len(paths) < 2:
            return found
        h = tables.mapped(path, "h")
        ids = np.concatenate([columns["id"] for _, columns in parts if "id" in columns])
        sheet.draw_neighbours(folder.join("neighbours.png"), job.source, h, ids, paths)
        if embed.duplicate_similarity:
            with phases.phase("compare", len(h)) as phase:
                *pairs, found["near_duplicate_pairs"] = duplicates.near_duplicates(
                    h, embed.duplicate_similarity, progress=phase.reach
                )
            duplicates.write_duplicates(folder.join("duplicates.tsv"), pairs, paths)
    return found


def _local(path, folder):
    """The path, or a copy in a local folder: only local files can be mapped into memory."""
    if not listing.is_remote(path):
        return path
    copy = os.path.join(folder, "embeddings.npz")
    tf.io.gfile.copy(path, copy)
    return copy
