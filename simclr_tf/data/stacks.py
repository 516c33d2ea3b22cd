"""Images as NumPy arrays: `.npy` files with 1 to 16 channels, and TIFFs with more than 4.

| stored | becomes uint8 |
|---|---|
| uint8 | as it is |
| uint16 | the high byte of each value, as of PNGs |
| float32 in [0, 1] | 255 times, rounded; other values and NaN make a file unusable |

A `.npy` file holds [h, w] (one channel) or [h, w, c]; three channels are RGB. The header is matched,
never evaluated, and nothing is unpickled. The values of a TIFF have 8 or 16 bits, see `tiff`.
"""

import concurrent.futures
import functools
import io
import math
import os
import re
import typing

import numpy as np

from simclr_tf.data import formats, listing, tiff
from simclr_tf.errors import DataError

SUFFIX = ".npy"
_WITH_CHANNELS = (SUFFIX, *formats.FORMATS["TIFF"].suffixes)
RGB = 3
MOST_CHANNELS = 16
MOST_HEAD = 4096  # bytes in which the header of an image ends; NumPy writes 128
_MAGIC = b"\x93NUMPY"
_KINDS = {"u1": np.uint8, "u2": np.uint16, "f4": np.float32}
_ALLOWED = "uint8, uint16 or float32 [h, w] or [h, w, c] with c up to 16"
_DESCR = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?)([a-zA-Z]\d+)['"]""")
_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([\d\s,]*)\)""")


class Layout(typing.NamedTuple):
    """What a header says: dtype, shape (h, w, c), order "C" or "F", first byte of the data."""

    dtype: np.dtype
    shape: tuple
    order: str
    offset: int

    @property
    def pixels(self):
        """h times w."""
        return self.shape[0] * self.shape[1]

    @property
    def end(self):
        """The byte after the data."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def is_stack(encoded):
    """Whether bytes begin like a .npy file."""
    return encoded[:6] == _MAGIC


def layout_of(head):
    """Layout of the first MOST_HEAD bytes of a file.

    Raises:
        ValueError: no header of an image with 1 to 16 channels.
    """
    if not is_stack(head):
        raise ValueError("not a .npy file")
    start = 10 if head[6:7] == b"\x01" else 12
    length = int.from_bytes(head[8:start], "little")
    if head[6:7] not in (b"\x01", b"\x02", b"\x03") or start + length > min(len(head), MOST_HEAD):
        raise ValueError("damaged .npy header")
    return _parsed(head[start : start + length], start + length)


@functools.lru_cache(maxsize=256)
def _parsed(header, offset):
    """Layout of a header; files of one shape share theirs."""
    text = header.decode("latin-1")
    descr, order, shape = (pattern.search(text) for pattern in (_DESCR, _ORDER, _SHAPE))
    if not (descr and order and shape):
        raise ValueError(f"not a plain array; a .npy image is {_ALLOWED}")
    sides = tuple(int(part) for part in shape[1].split(",") if part.strip())
    known = descr[2] in _KINDS and len(sides) in (2, 3) and all(0 < n < 2**31 for n in sides)
    if not known or (len(sides) == 3 and sides[2] > MOST_CHANNELS):
        raise ValueError(f"{descr[2]} {list(sides)}; a .npy image is {_ALLOWED}")
    dtype = np.dtype(_KINDS[descr[2]]).newbyteorder(">" if descr[1] == ">" else "<")
    sides = sides if len(sides) == 3 else (*sides, 1)
    return Layout(dtype, sides, "F" if order[1] == "True" else "C", offset)


def pixels(head):
    """h times w as int64; arguments and errors as `layout_of`."""
    return np.int64(layout_of(head).pixels)


def decode(encoded, channels):
    """The image in the bytes of a .npy file or of a TIFF with many channels.

    Args:
        encoded: bytes; what follows the array of a .npy file is left out.
        channels: how many it must have.
    Returns:
        uint8 [h, w, channels].
    Raises:
        ValueError: damaged, truncated, of another kind, or with other channels.
    """
    if tiff.is_tiff(encoded):
        page = tiff.page_of(encoded)
        found = page.channels if page.channels > 4 else RGB
    else:
        page = None
        found = layout_of(encoded[:MOST_HEAD]).shape[2]
    if found != channels:
        raise ValueError(f"{found} channels, where the other images have {channels}")
    values = tiff.values_of(encoded, page) if page else values_of(encoded)
    if values.dtype.itemsize == 1:
        return np.ascontiguousarray(values)
    if values.dtype.kind == "u":
        return np.ascontiguousarray((values >> 8).astype(np.uint8))
    if not ((values >= 0) & (values <= 1)).all():  # NaN is neither
        raise ValueError("values outside 0 to 1; scale float images to that")
    return np.ascontiguousarray(np.rint(values * np.float32(255)).astype(np.uint8))


def values_of(encoded):
    """The stored values [h, w, c] of a .npy file; arguments and errors as of `decode`."""
    layout = layout_of(encoded[:MOST_HEAD])
    if len(encoded) < layout.end:
        raise ValueError(f"truncated: {len(encoded)} bytes of {layout.end}")
    count = math.prod(layout.shape)
    values = np.frombuffer(encoded, layout.dtype, count, layout.offset)
    return values.reshape(layout.shape, order=layout.order)


def stretched(values, least, most):
    """uint8 of values: `least` and below become 0, `most` and above 255.

    Raises:
        ValueError: NaN or infinite values.
    """
    share = (values.astype(np.float64) - least) / (most - least)
    if not np.isfinite(share).all():
        raise ValueError("values that are no numbers")
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def in_range(encoded, least, most):
    """The bytes of a .npy file with its values stretched to uint8; files of uint8 as they are."""
    values = values_of(encoded)
    if values.dtype.itemsize == 1:
        return encoded
    content = io.BytesIO()
    np.save(content, stretched(values, least, most), allow_pickle=False)
    return content.getvalue()


def read(path, max_pixels):
    """The bytes of a file; of a .npy with more pixels than allowed, only the first ones.

    Args:
        path: str or bytes, local or remote. max_pixels: int.
    Raises:
        tf.errors.OpError: the file cannot be read.
    """
    from simclr_tf.stack import tf

    with tf.io.gfile.GFile(path, "rb") as file:
        size = file.size()
        head = file.read(min(size, MOST_HEAD))
        end = size
        if is_stack(head):
            try:
                layout = layout_of(head)
            except ValueError:
                return head
            end = 0 if layout.pixels > max_pixels else min(size, layout.end)
        return head + file.read(end - len(head)) if end > len(head) else head


def common_channels(paths):
    """The number of channels that images share; reads the headers of .npy files and TIFFs.

    Args:
        paths: iterable of str; all that do not end in .npy, .tif or .tiff are RGB.
    Returns:
        int, 1 to 16; files whose header cannot be read do not count.
    Raises:
        DataError: images with different channels, or no file that can be read.
    """
    arrays = []
    first = {}
    for path in paths:
        if path.lower().endswith(_WITH_CHANNELS):
            arrays.append(path)
        else:
            first.setdefault(RGB, path)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        remote = bool(arrays) and listing.is_remote(arrays[0])
        for path, count in zip(arrays, (pool.map if remote else map)(_channels, arrays)):
            if count:
                first.setdefault(count, path)
    if arrays and not first:
        kind = os.path.splitext(arrays[0])[1]
        what = _ALLOWED if kind == SUFFIX else "TIFFs of 8 or 16 bits with up to 16 channels"
        raise DataError(f"none of the {kind} files, such as {arrays[0]}, can be used; give {what}.")
    if len(first) > 1:
        (one, here), (other, there) = sorted(first.items())[:2]
        raise DataError(
            f"{here} has {one} channel{'s' * (one > 1)} and {there} has {other}; give images with "
            "the same number of channels (all but .npy, and TIFF with more than 4, have 3)."
        )
    return next(iter(first), RGB)


def _channels(path):
    """Channels of a file by its header, 0 where that cannot be read or is none."""
    try:
        if not path.lower().endswith(SUFFIX):
            return _channels_of_tiff(path)
        if listing.is_remote(path):
            return layout_of(read(path, 0)).shape[2]
        with open(path, "rb") as file:
            return layout_of(file.read(MOST_HEAD)).shape[2]
    except (ValueError, OSError):
        return 0
    except Exception as error:  # tf.errors.OpError, known only where TensorFlow is loaded
        if hasattr(error, "error_code"):
            return 0
        raise


def _channels_of_tiff(path):
    if listing.is_remote(path):
        from simclr_tf.stack import tf

        with tf.io.gfile.GFile(path, "rb") as file:
            return _channels_by_head(file)
    with listing.open_regular(path) as file:
        return _channels_by_head(file)


def _channels_by_head(file):
    """Channels of a TIFF; RGB of another format under such a name."""
    if not tiff.is_tiff(file.read(4)):
        return RGB
    return tiff.channels_of(file)


def as_rgb(images):
    """For pictures: [..., c] -> [..., 3], the first three channels, or the first one as grey."""
    if images.shape[-1] >= RGB:
        return images[..., :RGB]
    return np.repeat(images[..., :1], RGB, axis=-1)
