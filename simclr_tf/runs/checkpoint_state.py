"""The newest checkpoint of a folder, also where the file that says so is damaged; the next one."""

import os
import re
import sys

from simclr_tf.stack import tf

# what TensorFlow raises for damaged or unfitting files; a truncated one is an IndexError
READ_ERRORS = (tf.errors.OpError, ValueError, AssertionError, IndexError, RuntimeError)
_INDEX = re.compile(r"ckpt-(\d+)\.index")


def newest(folder):
    """Prefix of the newest complete checkpoint of a folder, None without one.

    The file `checkpoint` names it. Where that is missing, damaged or names a file that is gone, as
    after a kill at the wrong moment, it is the complete one with the highest step; TensorFlow
    would find none, and a training would start anew over the old one.
    """
    named = _named(folder)
    if named is not None and tf.io.gfile.exists(named + ".index"):
        return named
    found = complete(folder)
    return found[-1] if found else None


def mend(folder):
    """Writes the file `checkpoint` anew where it does not name what `newest` finds; says so."""
    path = newest(folder)
    named = _named(folder)
    state = os.path.join(folder, "checkpoint")
    if path == named:
        if path is None and tf.io.gfile.exists(state):
            tf.io.gfile.remove(state)  # TensorFlow's manager stumbles over an empty one
    elif path is not None:
        sys.stderr.write(f"note: {state} was missing or damaged; going on from {path}, the newest.\n")  # fmt: skip
        tf.compat.v1.train.update_checkpoint_state(folder, path, complete(folder))


class Saver:
    """A tf.train.CheckpointManager that is made late: it believes what is written of its folder.

    Args:
        checkpoint: tf.train.Checkpoint; folder: of its files; keep: how many of them stay.
        scratch: where a worker that is not the chief writes instead, over and over, or None.
    """

    def __init__(self, checkpoint, folder, keep, scratch=None):
        self._parts = (checkpoint, folder, keep)
        self._manager = None
        self._scratch = scratch

    def save(self, step):
        """Writes the checkpoint of `step` and returns its path; raises tf.errors.OpError."""
        if self._scratch is not None:
            return self._parts[0].write(self._scratch)
        if self._manager is None:
            mend(self._parts[1])
            self._manager = tf.train.CheckpointManager(*self._parts)
        return self._manager.save(checkpoint_number=step)


def _named(folder):
    try:
        state = tf.train.get_checkpoint_state(folder)
    except READ_ERRORS:
        return None
    return state.model_checkpoint_path if state else None


def complete(folder):
    """Prefixes of all complete checkpoints of a folder, by step.

    TensorFlow writes the index of one last.
    """
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    steps = sorted(int(found[1]) for found in map(_INDEX.fullmatch, names) if found)
    return [os.path.join(folder, f"ckpt-{step}") for step in steps]
