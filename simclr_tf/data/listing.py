"""Finding the image files below a folder, local or remote (gs://, ram://).

Local folders are read with os.scandir, which knows symbolic links; remote ones have none and go
through tf.io.gfile. Memory while listing: the relative path of each image plus about 60 bytes.
"""

import os

from simclr_tf.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".npy")


def is_remote(path):
    """Whether a path names another file system, such as gs:// or ram://."""
    return "://" in path


def join(folder, name):
    """The path of `name` in a local or remote folder."""
    return folder.rstrip("/") + "/" + name if is_remote(folder) else os.path.join(folder, name)


def is_folder(path):
    """True if `path` is a folder that exists."""
    return _ask("isdir", path)


def _ask(question, path):
    """os.path or tf.io.gfile: isdir or exists."""
    if not is_remote(path):
        return getattr(os.path, question)(path)
    from simclr_tf.stack import tf

    return getattr(tf.io.gfile, question)(path)


def checked_folder(path):
    """`path` without ~, after checking that it is a folder.

    Raises:
        DataError: nothing there, a file, or a folder that may not be read.
    """
    folder = path if is_remote(path) else os.path.abspath(os.path.expanduser(path))
    if is_folder(folder):
        return folder
    if _ask("exists", folder):
        raise DataError(f"image_dir={path} is a file; give the folder that holds the images.")
    raise DataError(f"image_dir={path} does not exist; give a folder of images.")


def list_images(folder):
    """The image files below `folder`, at any depth.

    Names that begin with a dot are left out. A symbolic link is followed only if it stays inside
    `folder` and does not lead back to a folder that contains it.

    Args:
        folder: as `checked_folder` returns it.
    Returns:
        sorted list of paths relative to `folder`, with "/" between folders.
    """
    found = _remote_files(folder) if is_remote(folder) else _local_files(folder)
    return sorted(path for path in found if path.lower().endswith(IMAGE_SUFFIXES))


def _remote_files(folder):
    from simclr_tf.stack import tf

    pending = [""]
    while pending:
        below = pending.pop()
        for name in tf.io.gfile.listdir(join(folder, below) if below else folder):
            name = name.rstrip("/")
            path = f"{below}/{name}" if below else name
            if not name or name.startswith("."):
                continue
            if tf.io.gfile.isdir(join(folder, path)):
                pending.append(path)
            else:
                yield path


def _local_files(folder):
    root = os.path.realpath(folder)
    pending = [("", (root,))]
    while pending:
        below, containing = pending.pop()
        try:
            with os.scandir(os.path.join(folder, below)) as entries:
                entries = list(entries)
        except PermissionError:
            raise DataError(
                f"the folder {os.path.join(folder, below)} may not be read; change its "
                "permissions or move it out of the image folder."
            ) from None
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{below}/{entry.name}" if below else entry.name
            real = containing[-1] + os.sep + entry.name
            if entry.is_symlink():
                real = os.path.realpath(entry.path)
                if not real.startswith(root + os.sep) or real in containing:
                    continue
            if entry.is_dir():
                pending.append((path, (*containing, real)))
            else:
                yield path
