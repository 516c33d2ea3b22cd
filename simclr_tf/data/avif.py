"""AVIF: how large the picture is that the decoder will decode.

The container names a size, and so does the AV1 stream in it. The decoder believes the stream, and
scales afterwards, so a small file with a small name may cost gigabytes. Read here are the places of
the streams (ISO/IEC 14496-12, boxes `iinf`, `iloc`, `stco`) and the sequence header of each (AV1
specification, section 5.5). Standard library only.
"""

import struct

_MOST_BOXES = 4096
_MOST_ITEMS = 256
_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def coded_pixels(encoded):
    """The pixels of the largest AV1 stream in a file, 0 if no stream is found.

    Args:
        encoded: bytes.
    """
    try:
        places = [*_places_of_items(encoded), *_places_of_tracks(encoded)]
        return max((_pixels_of_stream(encoded, place) for place in places), default=0)
    except (struct.error, IndexError, OverflowError):
        return 0


def _boxes(data, start, end):
    """(kind, first byte of the content, end) of the boxes in a part of a file."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            size = struct.unpack_from(">Q", data, start + 8)[0]
            head = 16
        stop = end if size == 0 else min(start + size, end)
        if stop < start + head:
            return
        yield kind, start + head, stop
        start = stop


def _places_of_items(data):
    """Where the AV1 streams of still pictures begin."""
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind != b"meta":
            continue
        inside = {name: (first, stop) for name, first, stop in _boxes(data, start + 4, end)}
        if b"iloc" not in inside or b"iinf" not in inside:
            continue
        kinds = _kinds_of_items(data, *inside[b"iinf"])
        base = inside.get(b"idat", (0, 0))[0]
        for item, method, offset in _offsets_of_items(data, *inside[b"iloc"]):
            if kinds.get(item) == b"av01":
                yield offset + (base if method == 1 else 0)


def _kinds_of_items(data, start, end):
    """{number: kind} of items, such as b"av01"."""
    first = start + (6 if data[start] == 0 else 8)
    kinds = {}
    for name, at, _ in _boxes(data, first, end):
        if name == b"infe" and data[at] in (2, 3):
            wide = data[at] == 3
            number = struct.unpack_from(">I" if wide else ">H", data, at + 4)[0]
            place = at + (10 if wide else 8)
            kinds[number] = data[place : place + 4]
    return kinds


def _offsets_of_items(data, start, end):
    """(number, construction method, offset of the first part) of each item."""
    version = data[start]
    sizes = struct.unpack_from(">H", data, start + 4)[0]
    offset_size, length_size, base_size = sizes >> 12 & 15, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    at = start + 6
    count = int.from_bytes(data[at : at + (4 if version == 2 else 2)], "big")
    at += 4 if version == 2 else 2
    for _ in range(min(count, _MOST_ITEMS)):
        width = 4 if version == 2 else 2
        number = int.from_bytes(data[at : at + width], "big")
        at += width
        method = 0
        if version:
            method = data[at + 1] & 15
            at += 2
        at += 2
        base = int.from_bytes(data[at : at + base_size], "big")
        at += base_size
        extents = struct.unpack_from(">H", data, at)[0]
        at += 2
        first = at + index_size
        if extents:
            yield number, method, base + int.from_bytes(data[first : first + offset_size], "big")
        at += extents * (index_size + offset_size + length_size)
        if at > end:
            return


def _places_of_tracks(data):
    """Where the AV1 streams of image sequences begin."""
    pending = [(0, len(data))]
    while pending:
        start, end = pending.pop()
        for kind, first, stop in _boxes(data, start, end):
            if kind in _CONTAINERS:
                pending.append((first, stop))
            elif kind in (b"stco", b"co64"):
                yield struct.unpack_from(">I" if kind == b"stco" else ">Q", data, first + 8)[0]


def _pixels_of_stream(data, at):
    """Pixels that the sequence header of a stream allows, 0 without one among the first parts."""
    for _ in range(4):
        head = data[at]
        kind = head >> 3 & 15
        at += 2 if head & 4 else 1
        if not head & 2:  # without a size it is the last one
            return _pixels_of_sequence(data[at : at + 256]) if kind == 1 else 0
        size = 0
        for shift in range(0, 56, 7):
            byte = data[at]
            at += 1
            size |= (byte & 127) << shift
            if byte < 128:
                break
        if kind == 1:
            return _pixels_of_sequence(data[at : at + 256])
        at += size
    return 0


class _Bits:
    """Reads bits, the first one first; zeros after the end."""

    def __init__(self, content):
        self._left = int.from_bytes(content, "big")
        self._count = 8 * len(content)

    def take(self, count):
        """The next bits as a number."""
        self._count -= count
        if self._count < 0:
            raise IndexError("the header ends too early")
        return self._left >> self._count & ((1 << count) - 1)

    def skip_uvlc(self):
        """A number of variable length."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros == 32:
                return
        self.take(zeros)


def _pixels_of_sequence(content):
    """The largest width times height of a sequence header."""
    bits = _Bits(content)
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced
        bits.take(5)
    else:
        delays = 0
        has_model = 0
        if bits.take(1):  # timing
            bits.take(64)
            if bits.take(1):
                bits.skip_uvlc()
            has_model = bits.take(1)
            if has_model:
                delays = bits.take(5) + 1
                bits.take(42)
        initial = bits.take(1)
        for _ in range(bits.take(5) + 1):  # operating points
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if has_model and bits.take(1):
                bits.take(2 * delays + 1)
            if initial and bits.take(1):
                bits.take(4)
    width, height = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(width) + 1) * (bits.take(height) + 1)
