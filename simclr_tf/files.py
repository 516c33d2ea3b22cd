"""Files that are written whole or not at all, on every file system of tf.io.gfile.

`write_atomically` and `writing` are the only way to write a file of a run. `literal` is the only
way to hand TensorFlow a path that it would read as a pattern.
"""

import contextlib
import io
import os
import re
import tempfile
import typing
import uuid

from simclr_tf.errors import DataError
from simclr_tf.stack import tf

CHOOSE_ANOTHER = "choose a folder that you can write to."
PATTERN = re.compile(r"[*?\[\]\\]")  # what TensorFlow's file systems take for a pattern
_LEFTOVER = re.compile(r".+\.[0-9a-f]{8}\.tmp")


def check_regular(path: str) -> None:
    """Refuses a local path that is there and neither a file nor a folder.

    A pipe would keep its reader waiting for ever, and a device may have no end.

    Raises:
        DataError: it is a pipe, a socket or a device.
    """
    if "://" in path or not os.path.exists(path):
        return
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise DataError(f"{path} is a pipe, a socket or a device; give a regular file.")


def read_bytes(path: str) -> bytes:
    """The content of a file that a user named, on any file system of tf.io.gfile.

    Raises:
        DataError: it is no regular file, or cannot be read.
    """
    check_regular(path)
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        raise DataError(f"{path} cannot be read ({error.message}); check the path.") from error


def write_atomically(path: str, content: typing.Union[str, bytes]) -> None:
    """Writes a file so that a reader sees the old one or the new one, never a part.

    The new one is on the disk before it replaces the old one, so that a power cut cannot leave an
    empty file.

    Args:
        path: of the file; its folder exists.
        content: text (written as UTF-8) or bytes.
    Raises:
        DataError: the file cannot be written; the old one is intact.
    """
    with writing(path) as temporary:
        with tf.io.gfile.GFile(temporary, "wb" if isinstance(content, bytes) else "w") as file:
            file.write(content)


@contextlib.contextmanager
def writing(path: str) -> typing.Iterator[str]:
    """Around the writing of a file: yields a temporary path, which becomes `path` at the end.

    Raises:
        DataError: the file cannot be written; the old one is intact.
    """
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"  # a process id is not unique over machines
    done = False
    try:
        yield temporary
        flush(temporary)
        tf.io.gfile.rename(temporary, path, overwrite=True)
        flush(os.path.dirname(path) or ".")
        done = True
    except tf.errors.OpError as error:
        raise DataError(f"cannot write {path} ({error.message}); {CHOOSE_ANOTHER}") from error
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}); {CHOOSE_ANOTHER}") from error
    finally:
        if not done:  # a full disk leaves a part of it
            with contextlib.suppress(tf.errors.OpError):
                tf.io.gfile.remove(temporary)


def flush(path: str) -> None:
    """Waits until a local file, or the names in a local folder, are on the disk.

    Object stores keep what they have accepted. A folder that cannot be opened for this, as on
    some network drives, is left to its file system.

    Raises:
        OSError: the disk is full or broken.
    """
    if is_remote(path):
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        if os.path.isdir(path):
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not os.path.isdir(path):
            raise
    finally:
        os.close(handle)


def is_remote(path: str) -> bool:
    """Whether a path is on a file system of its own, such as gs://."""
    return "://" in path


@contextlib.contextmanager
def printed_into(path: str) -> typing.Iterator[None]:
    """What is printed meanwhile goes to the end of a file; object stores cannot append to one."""
    log = io.StringIO() if is_remote(path) else open(path, "a", encoding="utf-8")
    with log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield


def remove_leftovers(folder: str) -> None:
    """Removes the temporary files of killed processes from a folder that this process holds."""
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    for name in names:
        if is_leftover(name):
            with contextlib.suppress(tf.errors.OpError):
                tf.io.gfile.remove(os.path.join(folder, name))


def is_leftover(name: str) -> bool:
    """Whether a file has the name of a temporary one of `writing`."""
    return _LEFTOVER.fullmatch(name) is not None


@contextlib.contextmanager
def literal(path: str) -> typing.Iterator[str]:
    """The same file, folder or checkpoint prefix under a name that is no pattern.

    TensorFlow looks for checkpoints by pattern: in `runs/[a]/ckpt-1` it looks for `runs/a/ckpt-1`,
    and there is no way to escape that. A path without `*`, `?`, `[`, `]` and a backslash is given
    back as it is. For others this makes a link to its folder in a temporary folder; where links
    cannot be made, as on gs://, it copies the files.

    Args:
        path: file, folder or checkpoint prefix.
    Yields:
        a path to read from while the `with` block lasts.
    """
    path = path.rstrip("/") or path
    if not PATTERN.search(path):
        yield path
        return
    folder, name = os.path.split(path)
    plain = PATTERN.sub("_", name)
    with tempfile.TemporaryDirectory(prefix="simclr_tf_") as scratch:
        if tf.io.gfile.isdir(path):
            _link_or_copy(path, os.path.join(scratch, plain))
        elif name == plain:
            _link_or_copy(folder or ".", os.path.join(scratch, "folder"), only=name)
            plain = os.path.join("folder", name)
        else:
            for other in tf.io.gfile.listdir(folder or "."):
                if other.startswith(name):
                    copy = os.path.join(scratch, plain + other[len(name) :])
                    _link_or_copy(os.path.join(folder, other), copy)
        yield os.path.join(scratch, plain)


def _link_or_copy(source, target, only=""):
    """Links a file or folder; copies it where that fails: of a folder the files named `only`*."""
    if not is_remote(source):
        with contextlib.suppress(OSError):  # Windows allows links to few users
            os.symlink(os.path.abspath(source), target)
            return
    if not tf.io.gfile.isdir(source):
        tf.io.gfile.copy(source, target)
        return
    for at, _, names in tf.io.gfile.walk(source):
        below = at[len(source) :].lstrip("/")
        tf.io.gfile.makedirs(os.path.join(target, below))
        for name in names:
            if name.startswith(only):
                tf.io.gfile.copy(os.path.join(at, name), os.path.join(target, below, name))
