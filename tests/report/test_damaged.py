"""Pictures of damaged images in the page of a run."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.report import damaged, looks, run_page
from simclr_tf.report.html import Page
from simclr_tf.report.sample import Sample
from simclr_tf.runs import restore
from simclr_tf.stack import tf
from tests.tiny_run import images_in_folders

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
    images = tmp_path / "images"
    images.mkdir()
    odd = os.fsencode(images) + b"/caf\xe9.jpg"  # not UTF-8
    for path in (images / "cut.jpg", odd, tmp_path / "private.jpg"):
        with open(path, "wb") as file:
            file.write(encoded("JPEG")[:-300])
    settings = config.flatten(config.Pretrain(data=config.Data(image_dir=str(images))))
    info = sources.describe(restore.data_of(settings))
    named = ["images/cut.jpg", "images/caf\\xe9.jpg", "private.jpg", "images/../private.jpg"]
    lines = [f"{tmp_path}/{name}\ttruncated <b>\n" for name in named]
    (tmp_path / "quarantine.txt").write_text("".join([*lines, "gone.png\tcannot be decoded\n"]))
    page = Page("a", "", side=32)
    run_page._add_quarantine(page, str(tmp_path), settings, {"fingerprint": info.fingerprint})
    ((name, _, body),) = page._sections
    assert name == "quarantine" and body.count('class="pic"') == 2
    assert "truncated &lt;b&gt;" in body and "5 images gave way" in body and "No pict" not in body
    assert "gone.png" in body and body.count("<td>") == 3 and page.pictures.sheet().startswith("data:")  # fmt: skip
    for other, dataset in ((settings, {"fingerprint": "other"}), ({**settings, "image_dir": str(tmp_path / "away")}, {})):  # fmt: skip
        page = Page("a", "", side=32)
        run_page._add_quarantine(page, str(tmp_path), other, dataset)
        ((_, _, body),) = page._sections
        assert "No pictures: the images that the run" in body and 'class="pic"' not in body


def test_nothing_stands_in_for_a_bad_image_on_the_page(tmp_path):
    images_in_folders(tmp_path, {"": 3})
    (tmp_path / "bad.png").write_bytes(encoded("PNG")[:60])
    source = sources.open_whole(config.Data(image_dir=str(tmp_path)), "train")
    mean = lambda images, training: tf.reduce_mean(images, [1, 2])  # noqa: E731
    found = looks.look(mean, Sample(source, 0, 4), "training", 8)
    assert len(found) == 3 and not any("bad.png" in name for name in found.names)
    assert len(found.names) == len(found.thumbnails) == 3
