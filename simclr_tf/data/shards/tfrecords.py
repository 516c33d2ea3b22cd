"""TFRecord files of tf.train.Example.

A record is a length, its checksum, an Example and that one's checksum. The index reads lengths and
labels and jumps over images; nothing is parsed as a whole. Lengths are compared with the size of
the file before anything of that length is read.
"""

import struct

from simclr_tf.data.shards import opening
from simclr_tf.data.shards.entry import Labels, int64
from simclr_tf.errors import DataError, first_line
from simclr_tf.stack import record_reader, tf

IMAGE = "image/encoded"
LABEL = "image/class/label"
_HEADER = 12
_FOOTER = 4
_BLOCK = 4096
_MOST_KEYS = 1000  # of an Example
_MOST_KEY = 1000  # bytes of a key
MOST_RECORD = 2**31 - 1  # bytes, what protobuf can parse


def index(path, size, keys):
    """{name: value} of what an entry.Shard says of the records of a TFRecord file.

    Raises:
        DataError: the file is cut short or damaged, or its records have no such image.
    """
    offsets = []
    lengths = []
    labels = Labels()
    image = (keys.image or IMAGE).encode()
    label = (keys.label or LABEL).encode()
    with opening.opened(path) as file:
        blocks = _Blocks(file, size)
        place = 0
        while place < size:
            length = _length_at(blocks, path, place, size, len(offsets))
            begin = place + _HEADER
            names, value = _scan(blocks, begin, begin + length, label)
            if not offsets and image not in names:
                known = ", ".join(repr(name.decode("utf-8", "replace")) for name in names[:10])
                raise DataError(
                    f"{path} has no image under the key {image.decode()!r}; its first record has "
                    f"{known or 'no keys, so it is no tf.train.Example'}: name the one with encoded "
                    "images by --shard_image_key."
                )
            if not offsets and keys.label and label not in names:
                raise DataError(
                    f"the first record of {path} has no key shard_label_key={keys.label}; it has "
                    f"{', '.join(repr(name.decode('utf-8', 'replace')) for name in names[:10])}."
                )
            offsets.append(place)
            lengths.append(length)
            labels.add(value)
            place = begin + length + _FOOTER
    numbers, texts = labels.found()
    return dict(offsets=int64(offsets), lengths=int64(lengths), labels=numbers, texts=texts)


def _length_at(blocks, path, place, size, done):
    """The length of the record that begins at a place, checked."""
    head = blocks.read(place, _HEADER)
    length, checksum = struct.unpack("<QI", head) if len(head) == _HEADER else (size, None)
    if checksum is not None and checksum != opening.masked_crc(head[:8]):
        raise DataError(
            f"{path} is damaged after {done:,} records, at byte {place:,}; copy it again, or leave "
            "it out of --shards."
        )
    if place + _HEADER + length + _FOOTER > size:
        raise DataError(
            f"{path} is cut short after {done:,} records, at byte {place:,} of {size:,}; copy it "
            "again, or leave it out of --shards."
        )
    if length > MOST_RECORD:
        raise DataError(f"{path} has a record of {length:,} bytes at byte {place:,}; a record may have {MOST_RECORD:,}.")  # fmt: skip
    return length


class _Blocks:
    """A few bytes at any place of a file, read block by block."""

    def __init__(self, file, size):
        self._file = file
        self._size = size
        self._begin = 0
        self._block = b""

    def read(self, place, count):
        """bytes, fewer than `count` at the end of the file."""
        inside = place - self._begin
        if inside < 0 or inside + count > len(self._block):
            self._file.seek(place)
            self._begin = place
            self._block = self._file.read(min(max(_BLOCK, count), max(0, self._size - place)))
            inside = 0
        return self._block[inside : inside + count]


def _scan(blocks, begin, end, label):
    """(keys of the Example between two places, its label or None) without reading the image."""
    names = []
    value = None
    try:
        for number, first, last in _fields(blocks, begin, end):
            if number != 1:
                continue
            for entry, at, until in _fields(blocks, first, last):
                if entry != 1 or len(names) >= _MOST_KEYS:
                    continue
                parts = {part: (a, b) for part, a, b in _fields(blocks, at, until)}
                a, b = parts.get(1, (0, 0))
                name = blocks.read(a, min(b - a, _MOST_KEY))
                names.append(name)
                if name == label and 2 in parts:
                    value = _first_value(blocks, *parts[2])
    except ValueError:  # its image cannot be parsed either, and is told when it is used
        pass
    return names, value


def _fields(blocks, place, end):
    """(number, begin, end) of the length-delimited fields of a protobuf message."""
    while place < end:
        tag, place = _varint(blocks, place, end)
        kind = tag & 7
        if kind == 2:
            length, place = _varint(blocks, place, end)
            if length > end - place:
                raise ValueError("a field is longer than its message")
            yield tag >> 3, place, place + length
            place += length
        elif kind == 0:
            _, place = _varint(blocks, place, end)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError("no protobuf")


def _varint(blocks, place, end):
    data = blocks.read(place, min(10, end - place))
    value = 0
    for count, byte in enumerate(data):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError("no number")


def _first_value(blocks, begin, end):
    """The first number or text of a tf.train.Feature; None for floats and empty lists."""
    for kind, first, last in _fields(blocks, begin, end):
        if kind == 1:  # bytes
            for _, a, b in _fields(blocks, first, last):
                return blocks.read(a, min(b - a, 4 * 256))
        if kind == 3 and last > first:  # int64: 0x0a packed, 0x08 not
            tag, place = _varint(blocks, first, last)
            if tag == 0x0A:
                _, place = _varint(blocks, place, last)
            if tag not in (0x08, 0x0A) or place >= last:
                return None
            number, _ = _varint(blocks, place, last)
            number &= 2**64 - 1
            return number - 2**64 if number >= 2**63 else number
    return None


def read(shard, rows):
    """The records of some rows of a shard, list of bytes; b"" for one whose checksum is wrong."""
    found = []
    reader = record_reader(shard.path)
    for row in rows:
        try:
            found.append(reader.read(int(shard.offsets[row]))[0])
        except (tf.errors.OpError, IndexError):
            found.append(b"")
    return found


def why_unreadable(shard, row):
    """Why `read` gave b"" for a row."""
    try:
        record_reader(shard.path).read(int(shard.offsets[row]))
    except (tf.errors.OpError, IndexError) as error:
        return f"its record is damaged: {first_line(error)}"
    return "its record is empty"


def image_of(reference, key):
    """The encoded image in a record; runs in tf.data.

    Raises:
        tf.errors.InvalidArgumentError: the record is no tf.train.Example.
    """
    name = key or IMAGE
    feature = tf.io.FixedLenFeature([], tf.string, default_value="")
    return tf.io.parse_single_example(reference, {name: feature})[name]
