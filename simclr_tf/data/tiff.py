"""TIFF: what its first page holds, and its values where they have 16 bits or many channels.

Pillow decodes pages of up to 4 channels with 8 bits. It cuts 16 bits down to 8 and refuses more
channels, so such pages are read here: each strip or tile is handed to Pillow as a page of its own
with one channel, so that libtiff still undoes the compression, and cannot write more than the
strip holds. The tags are read here too, because a directory that names a tag twice would mean one
thing to Pillow and another to libtiff.
"""

import io
import math
import struct
import typing

import numpy as np

MOST_CHANNELS = 16
RGB = 3
_MOST_VALUES = 2**24  # offsets of strips or tiles in one tag
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES = 266, 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 284, 317, 322, 323, 324, 325
_EXTRA, _SAMPLE_FORMAT, _PROFILE = 338, 339, 34675
_WANTED = frozenset(
    [_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIPS, _ORIENTATION]
    + [_SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES]
    + [_TILE_BYTES, _EXTRA, _SAMPLE_FORMAT, _PROFILE]
)
_PLACES = frozenset([_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _PROFILE])  # read when needed
_LOSSLESS = {5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "zstd"}  # fmt: skip


class Page(typing.NamedTuple):
    """What the directory of the first page says.

    Attributes:
        order: "<" or ">", byte order of the file.
        width, height, channels, bits: of the page; bits is 0 where channels differ.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 5 CMYK and others.
        has_alpha: whether the last channel is opacity.
        is_number: whether values are unsigned integers.
        tile: (width, height) of a tile, or (width, rows) of a strip.
        orientation: 1 to 8.
        tags: {tag: (type, count, 8 or 4 bytes)} of the wanted ones.
    """

    order: str
    width: int
    height: int
    channels: int
    bits: int
    photometric: int
    has_alpha: bool
    is_number: bool
    tile: tuple
    orientation: int
    tags: dict

    @property
    def pixels(self):
        """Width times height, or those of a tile where it is larger than the page."""
        return max(self.width * self.height, self.tile[0] * self.tile[1])

    @property
    def is_wide(self):
        """Whether `values_of` reads the page, not Pillow."""
        return self.channels > 4 or (self.bits == 16 and self.is_number)


def is_tiff(encoded):
    """Whether bytes begin like a TIFF."""
    return encoded[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def page_of(file):
    """The Page of a file.

    Args:
        file: binary, open for reading; or bytes.
    Raises:
        ValueError: no TIFF, damaged, more than 16 channels, or a tag that is there twice.
    """
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    file.seek(0)
    head = file.read(16)
    if not is_tiff(head) or len(head) < 16:
        raise ValueError("not a TIFF image")
    order = "<" if head[:1] == b"I" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    try:
        return _page(file, order, big, head)
    except (struct.error, OverflowError, IndexError) as error:
        raise ValueError(f"damaged image: {error}") from None


def _page(file, order, big, head):
    entry, count_kind, size = ("HHQ8s", "Q", 20) if big else ("HHI4s", "H", 12)
    file.seek(struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0])
    count_bytes = file.read(struct.calcsize(count_kind))
    count = min(struct.unpack(order + count_kind, count_bytes)[0], 4096)
    directory = file.read(count * size)
    tags = {}
    for place in range(0, len(directory) - size + 1, size):
        tag, kind, number, value = struct.unpack_from(order + entry, directory, place)
        if tag in tags:
            raise ValueError(f"damaged image: the tag {tag} is there twice")
        if tag in _WANTED:
            tags[tag] = kind, number, value

    def numbers(tag, default):
        if tag not in tags:
            return (default,)
        return _numbers(file, order, tags[tag], 64)

    width, height = (numbers(tag, 0)[0] for tag in (_WIDTH, _HEIGHT))
    channels = numbers(_SAMPLES, 1)[0]
    if not (width and height and channels):
        raise ValueError("damaged image: a page without a size")
    if channels > MOST_CHANNELS:
        raise ValueError(f"{channels} channels; at most {MOST_CHANNELS} are read")
    bits = set(numbers(_BITS, 1))
    tiled = _TILE_WIDTH in tags
    rows = min(numbers(_ROWS, height)[0] or height, height)
    return Page(
        order=order,
        width=width,
        height=height,
        channels=channels,
        bits=bits.pop() if len(bits) == 1 else 0,
        photometric=numbers(_PHOTOMETRIC, 1)[0],
        has_alpha=_EXTRA in tags and numbers(_EXTRA, 0)[-1] in (1, 2),
        is_number=set(numbers(_SAMPLE_FORMAT, 1)) == {1},
        tile=(numbers(_TILE_WIDTH, 0)[0], numbers(_TILE_HEIGHT, 0)[0]) if tiled else (width, rows),
        orientation=numbers(_ORIENTATION, 1)[0],
        tags=tags,
    )


def _numbers(file, order, entry, most):
    """The values of a tag as a tuple of int."""
    kind, count, value = entry
    if kind not in _NUMBERS or not 0 < count <= most:
        raise ValueError(f"damaged image: a tag with {count} values of type {kind}")
    content = _content(file, order, kind, count, value)
    return struct.unpack(f"{order}{count}{_NUMBERS[kind]}", content)


def _content(file, order, kind, count, value):
    """The bytes of a tag, which lie elsewhere unless they are few."""
    size = _SIZES[kind] * count
    if size <= len(value):
        return value[:size]
    file.seek(struct.unpack(order + ("Q" if len(value) == 8 else "I"), value)[0])
    content = file.read(size)
    if len(content) < size:
        raise ValueError(f"truncated: a tag has {len(content)} bytes of {size}")
    return content


def channels_of(file):
    """How many channels an image of this file has: 3 (RGB) for up to 4 stored ones.

    Args, Raises: as `page_of`.
    """
    channels = page_of(file).channels
    return channels if channels > 4 else RGB


def profile_of(encoded, page):
    """The colour profile of a page, bytes; b"" without."""
    if _PROFILE not in page.tags:
        return b""
    kind, count, value = page.tags[_PROFILE]
    if kind not in (1, 7) or count > 2**22:
        return b""
    try:
        return _content(io.BytesIO(encoded), page.order, kind, count, value)
    except (ValueError, struct.error):
        return b""


def values_of(encoded, page):
    """The stored values of a page that is wide.

    Args:
        encoded: bytes of the file.
        page: its Page.
    Returns:
        uint8 or uint16 [h, w, channels], upright; white is the largest value.
    Raises:
        ValueError: damaged, or values or a compression that are not read.
    """
    if page.bits not in (8, 16) or not page.is_number:
        raise ValueError(
            f"values of {page.bits or 'several numbers of'} bits"
            f"{'' if page.is_number else ', signed or floating-point'}; save 8 or 16 bits without "
            "sign, or float32 as .npy"
        )
    try:
        values = _joined(encoded, page)
    except struct.error as error:
        raise ValueError(f"damaged image: {error}") from None
    if page.photometric == 0 and page.channels <= 4:
        values = np.iinfo(values.dtype).max - values
    return np.ascontiguousarray(_upright(values, page.orientation))


def _joined(encoded, page):
    """uint8 or uint16 [h, w, channels] from its strips or tiles."""
    tags = page.tags
    file = io.BytesIO(encoded)
    tiled = _TILE_WIDTH in tags
    where, sizes = (_TILES, _TILE_BYTES) if tiled else (_STRIPS, _STRIP_BYTES)
    if where not in tags or sizes not in tags:
        raise ValueError("damaged image: a page without the places of its strips")
    offsets, lengths = (
        _numbers(file, page.order, tags[tag], _MOST_VALUES) for tag in (where, sizes)
    )
    first = lambda tag, default: (
        _numbers(file, page.order, tags[tag], 64)[0] if tag in tags else default
    )  # noqa: E731
    planes = page.channels if first(_PLANAR, 1) == 2 else 1
    samples = page.channels // planes
    width, height = page.tile
    if not (width and height):
        raise ValueError("damaged image: tiles without a size")
    across = math.ceil(page.width / width)
    down = math.ceil(page.height / height)
    if min(len(offsets), len(lengths)) < planes * across * down:
        raise ValueError(f"truncated: {len(offsets)} strips of {planes * across * down}")
    reader = _Strips(
        page.order,
        page.bits,
        samples,
        first(_COMPRESSION, 1),
        first(_PREDICTOR, 1),
        first(_FILL_ORDER, 1),
    )
    values = np.zeros([page.height, page.width, page.channels], f"u{page.bits // 8}")
    for plane in range(planes):
        for place in range(across * down):
            number = plane * across * down + place
            y, x = place // across * height, place % across * width
            rows = height if tiled else min(height, page.height - y)
            content = encoded[offsets[number] : offsets[number] + lengths[number]]
            strip = reader.read(content, width, rows)[: page.height - y, : page.width - x]
            end = y + strip.shape[0], x + strip.shape[1]
            values[y : end[0], x : end[1], plane * samples : (plane + 1) * samples] = strip
    return values


class _Strips(typing.NamedTuple):
    """How the strips or tiles of a page are stored."""

    order: str
    bits: int
    samples: int
    compression: int
    predictor: int
    fill_order: int

    def read(self, content, width, rows):
        """The bytes of one strip -> uint8 or uint16 [rows, width, samples]."""
        if self.compression == 1 and self.fill_order == 1:
            dtype = np.dtype(f"{self.order}u{self.bits // 8}")
            count = rows * width * self.samples
            if len(content) < count * dtype.itemsize:
                raise ValueError(f"truncated: {len(content)} bytes of {count * dtype.itemsize}")
            flat = np.frombuffer(content, dtype, count)
        elif self.compression in _LOSSLESS:
            flat = self._decompressed(content, width * self.samples, rows)
        else:
            raise ValueError(
                f"the compression {self.compression} of 16 bits or more than 4 channels; save it "
                f"uncompressed or with {', '.join(sorted(set(_LOSSLESS.values())))}"
            )
        strip = flat.reshape(rows, width, self.samples)
        if self.predictor == 2 and self.compression != 1:
            return np.cumsum(strip, axis=1, dtype=f"u{self.bits // 8}")
        if self.predictor not in (1, 2):
            raise ValueError(f"the predictor {self.predictor}; save it without")
        return strip

    def _decompressed(self, content, width, rows):
        """The strip as the only one of a grey page, which libtiff decodes."""
        from PIL import Image, TiffImagePlugin

        tags = {
            _WIDTH: width,
            _HEIGHT: rows,
            _BITS: self.bits,
            _COMPRESSION: self.compression,
            _PHOTOMETRIC: 1,
            _FILL_ORDER: self.fill_order,
            _STRIPS: 8 + 2 + 10 * 12 + 4,
            _SAMPLES: 1,
            _ROWS: rows,
            _STRIP_BYTES: len(content),
        }
        head = (b"II*\0" if self.order == "<" else b"MM\0*") + struct.pack(self.order + "IH", 8, 10)
        for tag, value in tags.items():
            head += struct.pack(self.order + "HHII", tag, 4, 1, value)
        page = io.BytesIO(head + struct.pack(self.order + "I", 0) + content)
        try:
            # not Image.open: its limit and its warning are those of whole images
            with TiffImagePlugin.TiffImageFile(page) as image:
                return np.asarray(image).astype(f"u{self.bits // 8}")
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"damaged image: {error}") from None


def _upright(values, orientation):
    """[h, w, c] turned so that its orientation, 1 to 8 as in EXIF, becomes 1."""
    if not 2 <= orientation <= 8:
        return values
    if orientation >= 5:
        values = values.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if orientation in (2, 3, 6, 7) else values
