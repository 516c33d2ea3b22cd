"""Checkpoints under the names of the official SimCLR code."""

import os

from simclr_tf.files import write_atomically
from simclr_tf.stack import tf
from simclr_tf.weights.official_names import write_official


def write_checkpoint(folder, layout, trained):
    """Writes a checkpoint that the official code restores; returns the line to print.

    Args:
        folder: where it goes; made if missing.
        layout: of the names, see `weights.official_names.write_official`.
        trained: restore.Trained.
    """
    tf.io.gfile.makedirs(folder)
    prefix = os.path.join(folder, f"model.ckpt-{trained.step}")
    names = write_official(prefix, trained.encoder, trained.head, trained.probe, layout)
    state = f'model_checkpoint_path: "{os.path.basename(prefix)}"\n'
    write_atomically(os.path.join(folder, "checkpoint"), state)  # names the newest one
    return f"converted to {prefix}: {len(names)} variables under the names of the official code"
