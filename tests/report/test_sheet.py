"""`--mode=views`: the sheet, its rows, its refusals."""

import re

import numpy as np
import pytest
from PIL import Image
from simclr_tf.flags.parse import parse

from simclr_tf.__main__ import main
from simclr_tf.commands import views
from simclr_tf.report import sheet

SMALL = ["--preset=none", "--image_size=24", "--sheet_images=3"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for i in range(6):
        pixels = random.integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.mark.current_stack
def test_the_sheet_shows_originals_every_operator_and_both_views(
    photos, tmp_path, capsys, monkeypatch
):
    kept = {}
    write = sheet.write_sheet

    def keep(rows, path):
        kept.update(rows)
        return write(rows, path)

    monkeypatch.setattr(views, "write_sheet", keep)
    path = tmp_path / "new" / "sheet.png"
    arguments = ["--mode=views", f"--image_dir={photos}", f"--sheet={path}", "--operators=cutout"]
    assert main([*arguments, *SMALL]) == 0
    said = capsys.readouterr().out
    assert f"picture: {path}" in said and re.search("operators +cutout", said)
    with Image.open(path) as picture:
        assert picture.size == (150 + 3 * 100, 15 * 100 + 4)
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]

    crop, gray, solarized = (kept[name] for name in ("crop, flip", "grayscale", "solarize"))
    assert all(images.shape == (3, 24, 24, 3) for images in kept.values())
    np.testing.assert_allclose(gray[..., 0], crop @ [0.2989, 0.587, 0.114], atol=1.01)
    np.testing.assert_array_equal(solarized, np.where(crop >= 128, 255 - crop, crop))
    first, second = (kept[f"view {view}\n(cutout)"] for view in (1, 2))
    np.testing.assert_array_equal(first, kept["cutout"])  # the same crop, the only operator
    assert np.abs(second - np.float32(first)).mean() > 1


def test_presets_of_pretraining_give_their_views(tmp_path):
    config = parse(["--mode=views", "--preset=cifar10"])[1]
    assert config.views.color_jitter_strength == 0.5 and not config.views.use_blur
    assert config.data.image_size == 32
    assert parse(["--mode=views"])[1].views.rotate_degrees == 20  # the digits' preset
    assert parse(["--mode=views", f"--image_dir={tmp_path}"])[1].auto.auto


def test_a_preset_of_another_mode_is_refused(capsys):
    assert main(["--mode=views", "--preset=cifar10_linear"]) == 2
    assert "presets of this mode: auto, cifar10" in capsys.readouterr().err


def test_a_sheet_that_cannot_be_written_is_one_sentence(photos, capsys):
    target = photos / "0.png" / "sheet.png"
    assert main(["--mode=views", f"--image_dir={photos}", f"--sheet={target}", *SMALL]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
