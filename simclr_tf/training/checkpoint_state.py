"""Which checkpoint of a folder is the newest, also where the file that says so is damaged."""

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
    path, state = newest(folder), os.path.join(folder, "checkpoint")
    if path is None and tf.io.gfile.exists(state) and _named(folder) is None:
        tf.io.gfile.remove(state)  # TensorFlow's manager stumbles over an empty one
    if path is None or path == _named(folder):
        return
    sys.stderr.write(f"note: {state} was missing or damaged; going on from {path}, the newest.\n")
    tf.compat.v1.train.update_checkpoint_state(folder, path, complete(folder))


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
