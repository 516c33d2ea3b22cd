"""Shards opened for reading at any place, on a local disk or by tf.io.gfile."""

import io
import struct

from simclr_tf.errors import DataError
from simclr_tf.files import is_remote
from simclr_tf.stack import tf

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"


def opened(path):
    """A binary file that can be read at any place; use it in a `with` block.

    Raises:
        OSError, tf.errors.OpError: it cannot be opened (a remote one: when it is read).
    """
    return io.BufferedReader(_Remote(path), 2**20) if is_remote(path) else open(path, "rb")


class _Remote(io.RawIOBase):
    """tf.io.gfile.GFile as other libraries expect a file."""

    def __init__(self, path):
        super().__init__()
        self._file = tf.io.gfile.GFile(path, "rb")
        self._size = tf.io.gfile.stat(path).length

    def readable(self):
        return True

    def seekable(self):
        return True

    def readinto(self, buffer):
        part = self._file.read(min(len(buffer), max(0, self._size - self._file.tell())))
        buffer[: len(part)] = part
        return len(part)

    def seek(self, offset, whence=0):
        base = (0, self._file.tell(), self._size)[whence]
        self._file.seek(base + offset)
        return self._file.tell()

    def tell(self):
        return self._file.tell()

    def close(self):
        if not self.closed:
            self._file.close()
        super().close()


def kind_of(path, head):
    """The format of a shard, told by its first bytes: "parquet", "tar" or "tfrecord".

    Args:
        path: of the shard, for the error.
        head: its first 512 bytes.
    Raises:
        DataError: compressed, or nothing of these.
    """
    if head[:4] == b"PAR1":
        return "parquet"
    if head[257:262] == b"ustar":
        return "tar"
    if head[:2] == GZIP or head[:4] == ZSTD or _is_zlib(head):
        raise DataError(
            f"{path} is compressed as a whole, so no record of it can be read by its place; "
            "decompress the shards (images are compressed already) and give those."
        )
    if len(head) >= 12:
        length, checksum = struct.unpack("<QI", head[:12])
        if checksum == masked_crc(head[:8]) and length < 2**40:
            return "tfrecord"
    raise DataError(
        f"{path} is no TFRecord, Parquet or tar file (it begins with {head[:8].hex(' ')}); give "
        "shards of these formats, or --image_dir for a folder of images."
    )


def _is_zlib(head):
    """Whether the bytes begin like a zlib stream, whose two bytes are a multiple of 31."""
    return len(head) > 12 and head[0] == 0x78 and (head[0] * 256 + head[1]) % 31 == 0 and struct.unpack("<I", head[8:12])[0] != masked_crc(head[:8])  # fmt: skip


def _table():
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return tuple(table)


_CRC_TABLE = _table()  # CRC-32C, of which the standard library has none


def masked_crc(data):
    """The checksum that TFRecord files hold of a few bytes, such as the length of a record."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
