"""Which checkpoints a folder holds, and the writing of the next one.

A checkpoint of step 12 is the files `ckpt-12.index` and `ckpt-12.data-*`. The file `checkpoint`
names the newest one, as TensorFlow's own CheckpointManager writes it.
"""

import contextlib
import logging
import os
import re
import time

from simclr_tf.files import flush, write_atomically
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)
# what TensorFlow raises for damaged or unfitting files; a truncated one is an IndexError
READ_ERRORS = (tf.errors.OpError, ValueError, AssertionError, IndexError, RuntimeError)
_FILE = re.compile(r"ckpt-(\d+)\.(index|data-\d+-of-\d+)")


def newest(folder):
    """Prefix of the newest complete checkpoint of a folder, None without one.

    The file `checkpoint` names it. If that is missing, damaged or names a file that is gone, it is
    the complete one with the highest step. TensorFlow would find none, and a training would start
    anew over the old one.
    """
    named = _named(folder)
    if named is not None and tf.io.gfile.exists(named + ".index"):
        return named
    found = complete(folder)
    return found[-1] if found else None


def mend(folder):
    """Writes the file `checkpoint` anew if it does not name what `newest` finds; says so."""
    path = newest(folder)
    if path is None or path == _named(folder):
        return
    state = os.path.join(folder, "checkpoint")
    _LOG.warning("%s was missing or damaged; going on from %s, the newest", state, path)
    steps = [step_of(prefix) for prefix in complete(folder)]
    _write_state(folder, step_of(path), steps)


def step_of(prefix):
    """12 of FOLDER/ckpt-12."""
    return int(prefix.rpartition("-")[2])


class Saver:
    """Writes checkpoints into one folder and removes the oldest.

    Like tf.train.CheckpointManager, but it takes a folder's name literally, believes the files
    rather than the file `checkpoint`, and has a checkpoint on the disk before it removes another.
    """

    def __init__(self, checkpoint, folder, keep, scratch=None):
        """
        Args:
            checkpoint: tf.train.Checkpoint.
            folder: of its files; made at the first save.
            keep: how many checkpoints stay.
            scratch: prefix that a worker other than the chief writes to instead, over and over, or
                None.
        """
        self._checkpoint = checkpoint
        self._folder = folder
        self._keep = keep
        self._scratch = scratch

    def save(self, step):
        """Writes the checkpoint of `step` and returns its path.

        Raises:
            tf.errors.OpError, OSError: it cannot be written; the older ones are intact.
        """
        if self._scratch is not None:
            return self._checkpoint.write(self._scratch)
        tf.io.gfile.makedirs(self._folder)
        self._checkpoint.save_counter.assign_add(1)
        path = self._checkpoint.write(os.path.join(self._folder, f"ckpt-{step}"))
        names = _files(self._folder)
        for name in names[step]:
            flush(os.path.join(self._folder, name))
        flush(self._folder)
        earlier = sorted(other for other in names if other < step)
        # later steps are of a course that was not gone on with
        unwanted = [other for other in names if other > step]
        unwanted += earlier[: max(0, len(earlier) - (self._keep - 1))]
        _write_state(self._folder, step, set(names) - set(unwanted))
        for other in unwanted:
            self._remove(names[other])
        return path

    def _remove(self, names):
        for name in sorted(names, reverse=True):  # the index first: without it there is none
            with contextlib.suppress(tf.errors.NotFoundError):
                tf.io.gfile.remove(os.path.join(self._folder, name))


def _write_state(folder, step, kept):
    """Writes the file `checkpoint`; names are relative, so the folder may be moved."""
    lines = [f'model_checkpoint_path: "ckpt-{step}"']
    lines += [f'all_model_checkpoint_paths: "ckpt-{other}"' for other in sorted(kept)]
    lines += [f"all_model_checkpoint_timestamps: {time.time()}" for _ in kept]
    write_atomically(os.path.join(folder, "checkpoint"), "\n".join(lines) + "\n")


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
    found = _files(folder)
    steps = sorted(step for step in found if f"ckpt-{step}.index" in found[step])
    return [os.path.join(folder, f"ckpt-{step}") for step in steps]


def _files(folder):
    """{step: names of the files of its checkpoint} of a folder."""
    found = {}
    for name in tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []:
        match = _FILE.fullmatch(name)
        if match:
            found.setdefault(int(match[1]), []).append(name)
    return found
