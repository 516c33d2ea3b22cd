"""Whether an embedding is finished: every output is whole and belongs to the images as they are."""

import concurrent.futures
import dataclasses
import hashlib
import os
import zipfile

import numpy as np

from simclr_tf.errors import DataError
from simclr_tf.files import is_remote
from simclr_tf.stack import tf

_AT_ONCE = 32  # files that are asked for at a time
_BLOCK = 1 << 20  # bytes


def stamp_of(paths, verify=False):
    """A hash that changes when one of the image files does.

    It knows the size and the modification time of each file, and whether it may be read; the names
    are in the fingerprint of the source.

    Args:
        paths: list of str, the files in order; [] for images that are no files.
        verify: whether the contents are hashed instead of the times.
    Returns:
        hexadecimal str; "" without files.
    """
    if not paths:
        return ""
    digest = hashlib.sha256(b"contents" if verify else b"times")
    describe = _content_of if verify else _state_of
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(paths), 10_000):
            for state in pool.map(describe, paths[start : start + 10_000]):
                digest.update(state.encode() + b"\n")
    return digest.hexdigest()


def _state_of(path):
    try:
        if is_remote(path):
            found = tf.io.gfile.stat(path)
            return f"{found.length} {found.mtime_nsec}"
        found = os.stat(path)
        return f"{found.st_size} {found.st_mtime_ns} {os.access(path, os.R_OK)}"
    except (OSError, tf.errors.OpError):
        return "unreadable"


@dataclasses.dataclass(frozen=True)
class FileStates:
    """What tells that files did not change.

    Attributes:
        size: int64 [n], bytes.
        mtime: int64 [n], time of modification in ns; -1 where a file cannot be read.
    """

    size: np.ndarray
    mtime: np.ndarray

    def named(self, ids):
        """{"size": int64 [m], "mtime": int64 [m]} of files by position."""
        return {"size": self.size[ids], "mtime": self.mtime[ids]}


def states_of(paths):
    """FileStates of files in order; asks for many at a time."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        blocks = (paths[start : start + 10_000] for start in range(0, len(paths), 10_000))
        words = [state.split() for block in blocks for state in pool.map(_state_of, block)]
    known = [len(state) > 1 and state[-1] != "False" for state in words]
    columns = ([int(state[at]) if fine else -1 for state, fine in zip(words, known)] for at in (0, 1))  # fmt: skip
    return FileStates(*(np.array(column, np.int64) for column in columns))


def _content_of(path):
    digest = hashlib.sha256()
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                digest.update(block)
    except (OSError, tf.errors.OpError):
        return "unreadable"
    return digest.hexdigest()


def newest_change(paths):
    """The latest modification time of local files in seconds, 0.0 where there is none."""
    times = [os.stat(path).st_mtime for path in paths if not is_remote(path) and os.path.exists(path)]  # fmt: skip
    return max(times, default=0.0)


def sizes_of(folder, paths):
    """{path relative to the folder: bytes} of files, and of the files below folders."""
    found = {}
    for path in paths:
        if tf.io.gfile.isdir(path):
            below = [os.path.join(path, name) for name in tf.io.gfile.listdir(path)]
            found.update(sizes_of(folder, [one for one in below if not tf.io.gfile.isdir(one)]))
        elif tf.io.gfile.exists(path):
            found[path[len(folder) :].lstrip("/")] = tf.io.gfile.stat(path).length
    return found


def missing_output(folder, results, files):
    """What is wrong with the outputs of a finished embedding, in a few words; "" for nothing.

    Args:
        folder: of the outputs.
        results: content of its results.json.
        files: {suffix: path} of the tables.
    """
    expected = results.get("outputs")
    if expected is None:  # written before the sizes were
        expected = {os.path.basename(path): None for path in files.values()}
    for name, size in sorted(expected.items()):
        path = os.path.join(folder, name)
        if not tf.io.gfile.exists(path):
            return f"{name} is gone"
        if size is not None and tf.io.gfile.stat(path).length != size:
            return f"{name} does not have its {size:,} bytes"
    table = files.get(".npz")
    if table and not is_remote(table) and _rows_of(table) != results.get("num_images"):
        return f"{os.path.basename(table)} is damaged"
    return ""


def _rows_of(path):
    """Rows of a table that `tables.write_npz` wrote, None if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("path.npy") as member:
            np.lib.format.read_magic(member)
            return np.lib.format.read_array_header_2_0(member)[0][0]
    except (OSError, KeyError, ValueError, EOFError, IndexError, zipfile.BadZipFile):
        return None


def refuse_empty(num_rows, num_images, quarantine):
    """Refuses a table without rows, as of a folder that vanished meanwhile.

    Raises:
        DataError: none of the images could be used.
    """
    if not num_rows:
        raise DataError(
            f"none of {num_images:,} images could be used, so nothing was written; see "
            f"{quarantine}, then run the same command again."
        )
