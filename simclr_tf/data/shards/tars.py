"""WebDataset tar files: images with a label in a `.cls` or `.json` of the same stem.

The standard library's tarfile reads the headers. Only regular members count; their names tell stem
and suffix and are never used as paths.
"""

import json
import os
import tarfile

from simclr_tf.data.shards import opening
from simclr_tf.data.shards.entry import Labels, int64
from simclr_tf.errors import DataError, first_line
from simclr_tf.stack import tf

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "avif", "ppm", "pgm", "npy")
LABEL = "label"
_MOST_HEADER = 2**16  # bytes that tarfile may read at once: names and attributes of a member
_MOST_TEXT = 2**20  # bytes of a .json


def index(path, size, keys):
    """{name: value} of what an entry.Shard says of the images of a tar file.

    Raises:
        DataError: the file is cut short or damaged, or has no image.
    """
    offsets = []
    lengths = []
    labels = Labels()
    wanted = (keys.image.lstrip(".").lower(),) if keys.image else IMAGES
    sample = _Sample()

    def finish():
        if sample.image is not None:
            offset, length = sample.image
            offsets.append(offset)
            lengths.append(length)
            labels.add(sample.label(keys.label))

    suffixes = set()
    with opening.opened(path) as file, opening.opened(path) as contents:
        for member in _members(file, path, size):
            stem, suffix = stem_and_suffix(member.name)
            suffixes.add(suffix)
            if stem != sample.stem:
                finish()
                sample = _Sample(stem)
            place = member.offset_data, member.size
            if suffix in wanted and sample.image is None:
                sample.image = place
            elif suffix in ("cls", "json") and member.size <= _MOST_TEXT:
                contents.seek(member.offset_data)
                sample.texts[suffix] = contents.read(member.size)
        finish()
    if not offsets:
        seen = ", ".join(sorted(suffixes)[:10]) or "nothing"
        raise DataError(
            f"{path} holds no images: it has members of the kinds {seen}, and images are called "
            f"{', '.join(wanted)}; name another suffix by --shard_image_key, or leave it out."
        )
    numbers, texts = labels.found()
    return dict(offsets=int64(offsets), lengths=int64(lengths), labels=numbers, texts=texts)


def stem_and_suffix(name):
    """("a/0001", "seg.png") of a/0001.seg.png: WebDataset parts a name at its first dot."""
    folder, _, last = name.rpartition("/")
    first, _, suffix = last.partition(".")
    return f"{folder}/{first}", suffix.lower()


class _Sample:
    """The members with one stem."""

    def __init__(self, stem=None):
        self.stem = stem
        self.image = None  # (offset, length)
        self.texts = {}

    def label(self, key):
        """The label: number, text or None."""
        text = self.texts.get("cls")
        if text is not None and not key:
            text = text.decode("utf-8", "replace").strip()
            return int(text) if text.lstrip("-").isdecimal() and len(text) < 20 else text
        try:
            content = json.loads(self.texts.get("json", b"null"))
        except (ValueError, RecursionError):
            return None
        return content.get(key or LABEL) if isinstance(content, dict) else None


def _members(file, path, size):
    """The regular members of a tar file; what they claim lies inside the file."""
    try:
        with tarfile.open(fileobj=_Headers(file), mode="r:") as tar:
            for member in iter(tar.next, None):
                tar.members.clear()  # tarfile would keep them all, 1 KB each
                if not member.isreg() or member.issparse():
                    continue
                if member.size < 0 or member.offset_data + member.size > size:
                    raise DataError(
                        f"{path} is cut short at byte {member.offset:,}; copy it again, or leave it "
                        "out of --shards."
                    )
                yield member
    except (tarfile.TarError, OSError, ValueError, RecursionError, tf.errors.OpError) as error:
        raise DataError(
            f"{path} is a damaged tar file ({first_line(error)}); copy it again, or leave it out of "
            "--shards."
        ) from error


class _Headers:
    """A file of which tarfile reads headers only: a claimed name of a gigabyte is not read."""

    def __init__(self, file):
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, count=-1):
        if not 0 <= count <= _MOST_HEADER:
            raise tarfile.ReadError(f"a header of {count} bytes")
        return self._file.read(count)


def read(shard, rows):
    """The images of some rows of a shard, list of bytes."""
    found = []
    with opening.opened(shard.path) as file:
        for row in rows:
            file.seek(int(shard.offsets[row]))
            found.append(file.read(int(shard.lengths[row])))
    return found


def name_of(shard, row):
    """The name of the member that holds an image, for people; "" if it cannot be read."""
    begin = int(shard.offsets[row]) - tarfile.BLOCKSIZE
    try:
        with opening.opened(shard.path) as file:
            file.seek(begin)
            header = file.read(tarfile.BLOCKSIZE)
            return os.path.basename(tarfile.TarInfo.frombuf(header, "utf-8", "replace").name)
    except (tarfile.TarError, OSError, tf.errors.OpError):
        return ""
