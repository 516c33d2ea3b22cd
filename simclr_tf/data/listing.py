"""Finding the image files below a folder, local or remote (gs://, ram://).

Only regular files with the name of an image are images. What is left out is counted by reason, so
that a plan can say it. Local folders are read with os.scandir, which knows symbolic links; remote
ones have none and go through tf.io.gfile. Memory while listing: the relative path of each image
plus about 60 bytes.
"""

import collections
import dataclasses
import errno
import json
import os
import stat

from simclr_tf import names, phases
from simclr_tf.data import formats
from simclr_tf.errors import DataError

_MOST_LINKED = 10_000  # folders that are read a second time, by way of links

# of operating systems, network drives and archives; hidden names begin with a dot
_SYSTEM = frozenset(
    """$recycle.bin #recycle @recycle #snapshot @recently-snapshot @eadir __macosx lost+found
    thumbs.db ehthumbs.db desktop.ini __pycache__""".split()
    + ["system volume information", "network trash folder", "temporary items", "icon\r"]
)
MARK = "simclr_tf"  # in the first bytes of a picture that this project wrote
_SHEETS = ("views.png", "overview.png", "contact_sheet.png")
_FEW = 64  # images beside class folders that are looked into for the mark
_CONFIG_KEYS = ("mode", "settings", "dataset", "versions")
_MOST_CONFIG = 2**20  # bytes of a config.json that are read

FORMAT = "formats"
HIDDEN = "hidden"
WRITTEN = "written"
OUTSIDE = "outside"
BROKEN = "broken"
LOOP = "loop"
IRREGULAR = "irregular"
BESIDE = "beside"
NO_FILE = "no file"

_WORDS = {  # reason: (one, several), followed by an example
    HIDDEN: ("1 hidden or system file or folder", "{} hidden or system files and folders"),
    WRITTEN: ("1 file or folder that simclr_tf wrote", "{} files and folders that simclr_tf wrote"),
    OUTSIDE: ("1 link that leads out of the folder", "{} links that lead out of the folder"),
    BROKEN: ("1 link that leads nowhere", "{} links that lead nowhere"),
    LOOP: ("1 link that leads in a circle", "{} links that lead in a circle"),
    IRREGULAR: (
        "1 pipe, socket or device under an image's name",
        "{} pipes, sockets and devices under images' names",
    ),
    NO_FILE: ("1 line that names no file", "{} lines that name no file"),
    BESIDE: ("1 file or folder beside the splits", "{} files and folders beside the splits"),
}


@dataclasses.dataclass
class Listing:
    """What lies below a folder.

    Attributes:
        images: relative paths, sorted, "/" between folders.
        left_out: {reason: number} of what is no image.
        examples: {reason: relative path of one}.
        suffixes: {suffix: number} of the files of other formats.
    """

    images: list = dataclasses.field(default_factory=list)
    left_out: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    examples: dict = dataclasses.field(default_factory=dict)
    suffixes: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    def leave_out(self, reason, path):
        """Counts something that is no image."""
        self.left_out[reason] += 1
        self.examples.setdefault(reason, path)
        if reason == FORMAT:
            suffix = os.path.splitext(path)[1].lower()
            self.suffixes[suffix if len(suffix) < 12 else "others"] += 1

    def add(self, other, folder):
        """Counts what was left out of another listing, whose paths begin below `folder`."""
        self.left_out += other.left_out
        self.suffixes += other.suffixes
        for reason, path in other.examples.items():
            self.examples.setdefault(reason, f"{folder}/{path}")

    def words(self):
        """One phrase for each reason, list of str; empty if every file is an image."""
        phrases = []
        if self.left_out[FORMAT]:
            phrases.append(_formats_in_words(self.suffixes))
        for reason, (one, several) in _WORDS.items():
            count = self.left_out[reason]
            if count:
                phrase = one if count == 1 else several.format(f"{count:,}")
                example = names.shown(self.examples[reason])
                phrase += f" ({example})" if count == 1 else f", such as {example}"
                if reason == OUTSIDE:
                    phrase += ", which --follow_links follows"
                phrases.append(phrase)
        return phrases


def _formats_in_words(suffixes, most=4):
    """ "14 files are no images this project reads: 12 .txt, 2 .psd"."""
    total = sum(suffixes.values())
    first = [f"{count:,} {names.shown(suffix) or 'without a suffix'}" for suffix, count in suffixes.most_common(most)]  # fmt: skip
    rest = total - sum(count for _, count in suffixes.most_common(most))
    first += [f"{rest:,} others"] if rest else []
    are = "1 file is no image" if total == 1 else f"{total:,} files are no images"
    missing = sorted(set(filter(None, map(formats.missing_by_suffix, suffixes))))
    return f"{are} this project reads: {', '.join(first)}" + "".join(f" ({one})" for one in missing)


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


def is_passed_over(name):
    """Whether a name is hidden or one that an operating system, drive or archive makes."""
    return name.startswith(".") or name.lower() in _SYSTEM


def entries(folder):
    """Names directly in a folder as `checked_folder` returns it, sorted, without passed-over ones."""
    if is_remote(folder):
        from simclr_tf.stack import tf

        found = [name.rstrip("/") for name in tf.io.gfile.listdir(folder)]
    else:
        found = os.listdir(folder)
    return sorted(name for name in found if name and not is_passed_over(name))


def list_images(folder, follow_links=False):
    """The image files below a folder, at any depth; see `look_below`."""
    return look_below(folder, follow_links).images


def look_below(folder, follow_links=False, image_formats="all"):
    """The image files below a folder, at any depth, and what is left out.

    Left out are hidden and system names, what this project wrote (run folders, sheets of views),
    and everything that is not a regular file. A symbolic link is followed only if it does not lead
    back to a folder that contains it and, unless `follow_links`, stays inside `folder`.

    Args:
        folder: as `checked_folder` returns it.
        follow_links: whether links that lead out of the folder are followed.
        image_formats: the setting: which formats count as images.
    Returns:
        Listing.
    Raises:
        DataError: a folder may not be read, or links between folders multiply them.
    """
    found = Listing()
    suffixes = formats.suffixes_of(image_formats)
    with phases.phase("listing files", unit=""):
        if is_remote(folder):
            _look_remotely(folder, found, suffixes)
        else:
            _look_locally(folder, follow_links, found, suffixes)
        found.images.sort()
    _leave_out_old_sheets(found)
    return found


def _leave_out_old_sheets(found):
    """Earlier versions wrote sheets without a mark into the working folder.

    Under their names, beside folders that hold every other image, they are nobody's class.
    """
    beside = [path for path in found.images if "/" not in path]
    if beside and len(beside) < len(found.images) and set(beside) <= set(_SHEETS):
        for path in beside:
            found.images.remove(path)
            found.leave_out(WRITTEN, path)


def _look_remotely(folder, found, suffixes):
    from simclr_tf.stack import tf

    pending = [""]
    while pending:
        below = pending.pop()
        for listed in tf.io.gfile.listdir(join(folder, below) if below else folder):
            name = listed.rstrip("/")
            path = f"{below}/{name}" if below else name
            if not name:
                continue
            if is_passed_over(name):
                found.leave_out(HIDDEN, path)
            elif tf.io.gfile.isdir(join(folder, path)):
                pending.append(path)
            elif not name.lower().endswith(suffixes):
                found.leave_out(FORMAT, path)
            else:
                found.images.append(path)


def _look_locally(folder, follow_links, found, suffixes):
    root = os.path.realpath(folder)
    pending = [("", (root,), False)]
    linked = 0
    while pending:
        below, containing, by_link = pending.pop()
        linked += by_link
        if linked > _MOST_LINKED:
            raise DataError(
                f"links between the folders below {names.shown(folder)} multiply them, more than "
                f"{_MOST_LINKED:,} times so far; remove links such as {names.shown(below)}."
            )
        inside = _entries_of(os.path.join(folder, below), below, found)
        if any(entry.name == "config.json" for entry in inside) and _is_run_folder(folder, below):
            found.leave_out(WRITTEN, below or ".")
            continue
        few = not below and sum(entry.name.lower().endswith(suffixes) for entry in inside) <= _FEW
        for entry in inside:
            path = f"{below}/{entry.name}" if below else entry.name
            if is_passed_over(entry.name):
                found.leave_out(HIDDEN, path)
                continue
            real = containing[-1] + os.sep + entry.name
            link = entry.is_symlink()
            if link:
                real = os.path.realpath(entry.path)
                reason = _reason_against_link(entry, real, root, containing, follow_links)
                if reason:
                    found.leave_out(reason, path)
                    continue
            if _is_folder(entry):
                pending.append((path, (*containing, real), link or by_link))
            elif not entry.name.lower().endswith(suffixes):
                found.leave_out(FORMAT, path)
            elif not entry.is_file():
                found.leave_out(IRREGULAR, path)
            elif (few or entry.name in _SHEETS) and _is_our_picture(entry.path):
                found.leave_out(WRITTEN, path)
            else:
                found.images.append(path)


def _entries_of(place, below, found):
    """os.DirEntry of everything in a folder."""
    try:
        with os.scandir(place) as inside:
            return list(inside)
    except PermissionError:
        raise DataError(
            f"the folder {names.shown(place)} may not be read; change its permissions or move it "
            "out of the image folder."
        ) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(
                f"the path of a folder below {names.shown(place[:80])}... is too long to be read; "
                "move it up or out of the image folder."
            ) from None
        if below and error.errno in (errno.ENOENT, errno.ENOTDIR):  # removed while it was listed
            return []
        raise


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link that cannot be resolved is left out already
        return False


def _reason_against_link(entry, real, root, containing, follow_links):
    """Why a link is not followed, or None."""
    if real in containing:
        return LOOP
    if not follow_links and not real.startswith(os.path.join(root, "")):
        return OUTSIDE if os.path.exists(real) else BROKEN
    try:
        entry.stat()
    except OSError as error:
        return LOOP if error.errno == errno.ELOOP else BROKEN
    return None


def _is_run_folder(folder, below):
    """Whether a folder below the image folder is a run folder or one of embeddings."""
    return bool(below) and is_ours(os.path.join(folder, below, "config.json"))


def is_ours(config_path):
    """Whether a config.json is that of a run folder or of a folder of embeddings."""
    try:
        with open_regular(config_path) as file:
            stored = json.loads(file.read(_MOST_CONFIG))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(stored, dict) and all(key in stored for key in _CONFIG_KEYS)


def _is_our_picture(path):
    """Whether this project drew a picture; its sheets bear MARK."""
    try:
        with open_regular(path) as file:
            return MARK.encode() in file.read(512)
    except OSError:
        return False


def open_regular(path, mode="rb"):
    """Opens a local file for reading if it is a regular one.

    A pipe would wait for a writer for ever, and a device may hold no end: neither is opened.

    Raises:
        OSError: the file cannot be read, or it is a folder, pipe, socket or device.
    """
    # the pipe is opened without waiting, and only then looked at: it may change in between
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))  # fmt: skip
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return open(descriptor, mode)
