"""Files that are written whole or not at all, on every file system of tf.io.gfile."""

import contextlib
import hashlib
import io
import json
import os
import uuid

import numpy as np

from simclr_tf.errors import DataError, first_line
from simclr_tf.stack import tf

_CHECKSUM = "file_checksum"
CHOOSE_ANOTHER = "choose a folder that you can write to."


def write_atomically(path, content):
    """Writes text or bytes so that a reader sees the old file or the new one, never a part.

    Raises:
        DataError: the file cannot be written; the old one is intact.
    """
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"  # a process id is not unique over machines
    try:
        with tf.io.gfile.GFile(temporary, "wb" if isinstance(content, bytes) else "w") as file:
            file.write(content)
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except tf.errors.OpError as error:
        with contextlib.suppress(tf.errors.OpError):  # a full disk leaves a part of it
            tf.io.gfile.remove(temporary)
        raise DataError(f"cannot write {path} ({error.message}); {CHOOSE_ANOTHER}") from error


def write_json(path, content):
    """Writes JSON (UTF-8, indented, one final newline) atomically; see write_atomically.

    Args:
        path: of the file.
        content: dict; the file also holds its checksum, so that a digit that a bad disk changed
            is not taken for a setting or a result.
    """
    whole = {**content, _CHECKSUM: _checksum(content)}
    write_atomically(path, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def read_json(path):
    """The content of a JSON file of `write_json`, without its checksum.

    Raises:
        DataError: the file is missing, unreadable, not JSON or does not fit its checksum.
    """
    try:
        with tf.io.gfile.GFile(path) as file:
            content = json.loads(file.read())
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except (tf.errors.OpError, ValueError) as error:
        raise DataError(
            f"cannot read {path} ({first_line(error)}); give an intact run folder."
        ) from error
    expected = content.pop(_CHECKSUM, None)  # absent: of a hand-made file
    if expected not in (None, _checksum(content)):
        raise DataError(
            f"{path} was changed after it was written; restore it, or remove its "
            f'"{_CHECKSUM}" to have it read as it is.'
        )
    return content


def _checksum(content):
    stored = json.loads(json.dumps(content))  # keys that are numbers become text, and sort as such
    canonical = json.dumps(stored, sort_keys=True).encode()
    return hashlib.sha256(canonical).hexdigest()[:16]


def write_array(path, array):
    """Writes a NumPy array (.npy, no objects) atomically; see write_atomically."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    write_atomically(path, content.getvalue())


def read_array(path):
    """The NumPy array of a file of `write_array`.

    Raises:
        DataError: the file is missing, unreadable or no array.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return np.load(io.BytesIO(file.read()), allow_pickle=False)
    except (tf.errors.OpError, ValueError, EOFError) as error:
        raise DataError(
            f"cannot read {path} ({first_line(error)}); give an intact run folder."
        ) from error


def clear_half_written(folder):
    """Removes what a killed save left in a folder of checkpoints: its temporary folders.

    TensorFlow uses them again only if the same step is saved again.
    """
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    for name in names:
        if name.rstrip("/").endswith("_temp"):
            with contextlib.suppress(tf.errors.NotFoundError):  # another worker was faster
                tf.io.gfile.rmtree(os.path.join(folder, name))
