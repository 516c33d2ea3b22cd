"""What runs write and read again: JSON with a checksum, arrays."""

import contextlib
import hashlib
import io
import json
import logging
import math
import os

import numpy as np

from simclr_tf.errors import DataError, first_line
from simclr_tf.files import check_regular, write_atomically
from simclr_tf.stack import tf

_CHECKSUM = "file_checksum"
_LOG = logging.getLogger(__name__)


def write_json(path, content):
    """Writes JSON (UTF-8, indented, one final newline) atomically; see write_atomically.

    Args:
        path: of the file.
        content: dict; the file also holds its checksum, so that a digit that a bad disk changed
            is not taken for a setting or a result. NaN and infinity become null, and a warning
            names them.
    """
    wrong = _non_finite(content)
    if wrong:
        _LOG.warning(
            "%s: %s not finite, the file says null",
            path,
            ", ".join(wrong[:5]) + (" is" if len(wrong) == 1 else " are"),
        )
    content = without_non_finite(content)
    whole = {**content, _CHECKSUM: _checksum(content)}
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def without_non_finite(content):
    """JSON content in which NaN and infinite numbers, which JSON has no words for, are None."""
    if isinstance(content, dict):
        return {name: without_non_finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_non_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _non_finite(content, name=""):
    """Names of the NaN and infinite numbers in JSON content, such as rows.h.top_1."""
    if isinstance(content, dict):
        pairs = content.items()
    elif isinstance(content, (list, tuple)):
        pairs = enumerate(content)
    else:
        wrong = isinstance(content, float) and not math.isfinite(content)
        return [name] if wrong else []
    return [
        one
        for key, value in pairs
        for one in _non_finite(value, f"{name}.{key}" if name else str(key))
    ]


def read_json(path):
    """The content of a JSON file of `write_json`, without its checksum.

    Raises:
        DataError: the file is missing, unreadable, not JSON or does not fit its checksum.
    """
    check_regular(path)
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
