"""A look at images, and images that are decoded once."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from simclr_tf import config
from simclr_tf.data import sources, stored
from simclr_tf.data.survey import survey
from simclr_tf.errors import DataError


def draw(folder, count, mode, size, ground, noise=False):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(folder)))
    for at in range(count):
        image = Image.new(mode, size, ground)
        if noise:
            pixels = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
            image = Image.fromarray(pixels)
        else:
            ImageDraw.Draw(image).ellipse([6, 6, 14 + at % 4, 18], fill=0 if mode == "L" else (200, 30, 30, 255))  # fmt: skip
        image.save(folder / f"{at:02d}.png")
    return sources.open_source(config.Data(image_dir=str(folder)))


@pytest.mark.one_stack
def test_grey_shapes_photographs_and_icons_are_told_apart(tmp_path):
    grey = survey(draw(tmp_path / "grey", 9, "L", (24, 30), 255))
    assert (grey.count, grey.side, grey.longest) == (9, 24, 30)
    assert grey.colored == grey.chroma == grey.transparent == 0 and grey.plain == 1
    icons = survey(draw(tmp_path / "icons", 9, "RGBA", (24, 24), (0, 0, 0, 0)))
    assert icons.colored == icons.transparent == icons.plain == 1 and 0.2 < icons.chroma < 0.9
    noise = survey(draw(tmp_path / "noise", 9, "RGB", (24, 24), 0, noise=True))
    assert noise.plain == 0 and noise.colored == 1
    assert "9 images looked at, median 24 x 24 pixels, 100% in colour" in noise.words()


@pytest.mark.one_stack
def test_a_look_passes_over_what_cannot_be_decoded(tmp_path):
    draw(tmp_path, 6, "L", (24, 24), 255)
    (tmp_path / "00.png").write_bytes(b"\x89PNG, but no more")
    source = sources.open_source(config.Data(image_dir=str(tmp_path)))
    assert survey(source).looked == 5
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of 6 images .* can be decoded"):
        survey(sources.open_source(config.Data(image_dir=str(tmp_path))))


def test_stored_images_are_the_central_squares_with_their_labels_and_names(tmp_path):
    for label, value in enumerate((40, 200)):
        folder = tmp_path / str(label)
        folder.mkdir()
        pixels = np.full((20, 30, 3), 255, np.uint8)
        pixels[:, 5:25] = value
        for at in range(4):
            Image.fromarray(pixels).save(folder / f"{at}.png")
    source = sources.open_source(config.Data(image_dir=str(tmp_path), eval_fraction=0.0))
    held = stored.stored(source, 10)
    assert held.image_shape == (10, 10, 3) and held.original is source
    np.testing.assert_array_equal(held.labels, source.labels)
    values = held.arrays().reshape(8, -1)
    assert (values == values[:, :1]).all()  # the white sides are cut off
    np.testing.assert_array_equal(values[:, 0], np.where(held.labels == 1, 200, 40))
    assert held.name_of(3) == source.name_of(3) and held.fingerprint == source.fingerprint
    assert stored.stored(source, 0) is source and stored.stored(held, 10) is held


def test_a_bad_image_is_noted_and_replaced_when_it_is_stored(tmp_path):
    source = draw(tmp_path, 6, "L", (24, 24), 255)
    (tmp_path / "03.png").write_bytes(b"no image")
    held = stored.stored(source, 12)
    assert held.num_examples == 6 and len(held.quarantine) == 1
    others = [np.array_equal(held.arrays()[3], held.arrays()[at]) for at in (0, 1, 2, 4, 5)]
    assert any(others)
