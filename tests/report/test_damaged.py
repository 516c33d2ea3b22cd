"""Pictures of damaged images in the page of a run."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from simclr_tf.report import damaged, run_page
from simclr_tf.report.html import Page

pytestmark = pytest.mark.one_stack


def encoded(kind, height=64):
    """A ramp from black to red, from the top down, as bytes."""
    pixels = np.zeros((height, 48, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, height)[:, None]
    pixels[::2, ::3, 1] = 90  # so that it does not shrink to nothing
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def png_that_says(width, height):
    """A PNG whose head promises so many pixels; it holds few."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"0" * 100)), (b"IEND", b"")):
        checksum = zlib.crc32(kind + data)
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
    return content


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_upper_part_of_a_file_that_was_cut_off_is_seen(tmp_path, kind):
    content = encoded(kind)
    path = tmp_path / "cut"
    path.write_bytes(content[: int(0.7 * len(content))])
    found = damaged.visible_part(str(path), 32)
    assert found.shape == (32, 32, 3) and found.dtype == np.uint8
    assert found[2:8, 12:20, 0].mean() < found[12:15, 12:20, 0].mean()  # darker above
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_what_shows_nothing_has_no_picture(tmp_path):
    files = {"empty": b"", "words": b"no image" * 20, "head": encoded("PNG")[:60]}
    files["eps"] = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"  # would start a program
    files["vast"] = png_that_says(40_000, 40_000)  # Pillow refuses it with an error of its own
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    for name in (*files, "pipe", "missing", "."):
        assert damaged.visible_part(str(tmp_path / name), 32) is None, name


def test_the_page_shows_pictures_beside_names_and_reasons(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(encoded("JPEG")[:-300])
    lines = [f"{tmp_path}/cut.jpg\ttruncated <b>", "gone.png\tcannot be decoded"]
    (tmp_path / "quarantine.txt").write_text("".join(line + "\n" for line in lines))
    page = Page("a", "", side=32)
    run_page._add_quarantine(page, str(tmp_path))
    ((name, _, body),) = page._sections
    assert name == "quarantine" and body.count('class="pic"') == 1
    assert "truncated &lt;b&gt;" in body and "2 images gave way" in body
    assert "gone.png" in body and body.count("<td>") == 1 and page.pictures.sheet().startswith("data:")  # fmt: skip
