"""Images whose header says another size than the decoder uses, or that take minutes to decode."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from simclr_tf.data import decoding, diagnosis
from simclr_tf.errors import first_line
from simclr_tf.stack import tf

LIMIT = 10**6


def chunk(kind, content):
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))  # fmt: skip


def header(width, height, depth, color):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


def png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def gif(screen, frame):
    """A GIF with a screen and a frame of these sides, and hardly any data."""
    descriptor = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0)
    colors = b"\0\0\0\xff\xff\xff"
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + colors + descriptor + b"\x02\x02\x4c\x01\0;"  # fmt: skip


def os2_bmp(width, height):
    """A BMP of OS/2, whose header has 12 bytes and 16 bit for each side."""
    rows = b"".join(bytes([y] * 3 * width) + b"\0" * (-3 * width % 4) for y in range(height))
    core = struct.pack("<IHHHH", 12, width, height, 1, 24)
    return b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + core + rows


def jpeg(side=32, progressive=True):
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(stream, "JPEG", progressive=progressive)
    return stream.getvalue()


def with_scans(encoded, count):
    """A JPEG whose last scan is there `count` times more."""
    last = encoded.rindex(b"\xff\xda")
    return encoded[:-2] + encoded[last:-2] * count + b"\xff\xd9"


@pytest.mark.parametrize(
    "content",
    [
        gif((1, 1), (9000, 9000)),
        gif((9000, 9000), (1, 1)),
        gif((1, 1), (60000, 60000)),
        png(
            header(4, 4, 1, 0), header(60000, 60000, 1, 0), chunk(b"IDAT", b""), chunk(b"IEND", b"")
        ),
        png(header(2**31, 2**31, 8, 2), chunk(b"IEND", b"")),
        png(header(2**32 - 1, 2**32 - 1, 8, 2), chunk(b"IEND", b"")),
    ],
    ids=["frame", "screen", "huge frame", "second header", "overflow", "largest"],
)
def test_the_size_that_the_decoder_uses_decides(content):
    reason = diagnosis.why_unusable(content, LIMIT)
    assert "pixels" in reason, reason
    began = time.monotonic()
    try:
        assert int(decoding.pixels(content)) > LIMIT
    except (ValueError, tf.errors.OpError) as error:
        assert "pixels" in str(error)
    assert time.monotonic() - began < 2


def test_a_bmp_of_os2_is_as_large_as_it_is():
    assert int(decoding.pixels(os2_bmp(7, 5))) == 35
    image = decoding.decode(os2_bmp(7, 5)).numpy()
    assert image.shape == (5, 7, 3)
    assert image[:, 0, 0].tolist() == [4, 3, 2, 1, 0]  # rows are stored from the bottom
    assert diagnosis.why_unusable(os2_bmp(7, 5), LIMIT) is None


def test_sizes_of_usual_images_are_width_times_height(tmp_path):
    for kind, mode in [("PNG", "RGB"), ("PNG", "1"), ("PNG", "P"), ("GIF", "P"), ("BMP", "RGB"), ("BMP", "L"), ("JPEG", "L")]:  # fmt: skip
        stream = io.BytesIO()
        Image.new(mode, (31, 17)).save(stream, kind)
        assert int(decoding.pixels(stream.getvalue())) == 31 * 17, (kind, mode)
    assert int(decoding.pixels(jpeg())) == 32 * 32


def test_scans_of_a_jpeg_count_as_work():
    many = with_scans(jpeg(), 300)
    assert int(decoding.pixels(many)) == 32 * 32 * 20
    assert diagnosis.why_unusable(many, 32 * 32 * 20) is None
    reason = diagnosis.why_unusable(many, 32 * 32 * 20 - 1)
    assert reason.startswith("310 scans, the work of 20480 pixels, more than --max_image_pixels")


def test_chunks_of_a_png_are_walked_for_a_bounded_time():
    flood = png(header(4, 4, 8, 2), *[chunk(b"teSt", b"")] * 200_000)
    began = time.monotonic()
    assert diagnosis.why_unusable(flood, LIMIT).startswith("cannot be decoded: ")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "content, words",
    [
        (b"<html>404</html>", "not an image of a format that is read"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "damaged image"),
        (b"\xff\xd8\xff\xdb" + b"x" * 100, "Invalid JPEG data"),
        (jpeg()[:400], "JPEG"),
        (png(header(4, 4, 8, 2)), "PNG"),
        (gif((3, 3), (3, 3))[:20], "damaged image"),
    ],
)
def test_the_reason_is_what_is_wrong_with_the_image(content, words):
    import re

    reason = diagnosis.why_unusable(content, LIMIT)
    assert re.search(words, reason) and "Graph execution" not in reason and "{{" not in reason


def test_the_reason_of_an_array_says_what_to_do():
    stream = io.BytesIO()
    np.save(stream, np.full((4, 4, 3), 200, np.float32))
    reason = diagnosis.why_unusable(stream.getvalue(), LIMIT)
    assert reason == "cannot be decoded: values outside 0 to 1; scale float images to that"


def test_errors_of_graphs_are_told_by_what_failed():
    @tf.function
    def checked(x):
        tf.debugging.assert_positive(x, message="x must be positive")
        return x

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        checked(tf.constant(-1.0))
    assert "x must be positive" in first_line(caught.value)
