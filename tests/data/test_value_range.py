"""Values that use only a part of their type: 12 bits in 16-bit files, floats of 0 to 255."""

import io

import numpy as np
import pytest
from PIL import Image

from simclr_tf import config
from simclr_tf.data import batches, decoding, sources, subset
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.stack import tf
from tests.data.test_folder import folder

GREY = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)


def deep_folder(root, kind="png", count=4, values=GREY):
    root.mkdir(exist_ok=True)
    for i in range(count):
        if kind == "png":
            Image.fromarray(values).save(root / f"{i}.png")
        else:
            np.save(root / f"{i}.npy", np.repeat(values[..., None], 3, -1))
    return root


def decoded(source):
    """uint8 [n, h, w, c]: every image as a training gets it."""

    def one(example):
        return {"image": decoding.decode(example["image"], source.channels)}

    return next(iter(batches.mapped_batches(source, one, source.num_examples)))["image"].numpy()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("png", marks=pytest.mark.current_stack),
        pytest.param("npy", marks=[pytest.mark.slow, pytest.mark.one_stack]),
    ],
)
def test_narrow_values_are_told_and_stretched(kind, tmp_path):
    data = folder(deep_folder(tmp_path / "deep", kind))
    found = sources.look(data)
    assert found.is_narrow and found.most == 4095 and "up to 4,095 of 65,535" in found.advice()
    assert "--value_range=auto (here 0,4095)" in found.advice()
    assert decoded(sources.open_source(data)).max() == 15
    wanted = np.rint(GREY / 4095 * 255)
    for text in ("0,4095", "auto"):
        stretched = folder(tmp_path / "deep", value_range=text)
        source = sources.open_source(stretched)
        got = decoded(source)
        np.testing.assert_array_equal(got[0, ..., 0], wanted)
        part = subset.subset(source, np.arange(2))
        np.testing.assert_array_equal(decoded(part), got[:2])
        one = next(iter(source.in_order().map(lambda e: decoding.decode(e["image"]))))
        np.testing.assert_array_equal(one, got[0])
    assert sources.with_settled_range(stretched).value_range == "0,4095"


def test_values_outside_the_range_become_black_and_white(tmp_path):
    data = folder(deep_folder(tmp_path / "deep"), value_range="1000,2000")
    got = decoded(sources.open_source(data))[0, ..., 0]
    np.testing.assert_array_equal(got, np.rint(np.clip((GREY - 1000.0) / 1000, 0, 1) * 255))


@pytest.mark.slow
@pytest.mark.current_stack
def test_full_range_and_images_of_8_bit_need_nothing(tmp_path):
    deep_folder(tmp_path / "full", values=GREY * 16)
    assert not sources.look(folder(tmp_path / "full")).advice()
    deep_folder(tmp_path / "eight", values=(GREY // 64).astype(np.uint8))
    data = folder(tmp_path / "eight")
    assert not sources.look(data).advice() and sources.look(data).words() == "4 of 4 images decoded"
    plain = decoded(sources.open_source(data))
    for text in ("auto", "0,4095"):
        same = sources.open_source(folder(tmp_path / "eight", value_range=text))
        np.testing.assert_array_equal(decoded(same), plain)


@pytest.mark.slow
@pytest.mark.one_stack
def test_float_arrays_of_0_to_255_are_usable_with_a_range(tmp_path):
    values = (GREY // 16).astype(np.float32)
    data = folder(deep_folder(tmp_path / "float", "npy", values=values))
    with pytest.raises(DataError, match="none of 4 images .*values outside 0 to 1"):
        sources.look(data)
    source = sources.open_source(folder(tmp_path / "float", value_range="auto"))
    assert source.value_range == (0, 255)
    np.testing.assert_array_equal(decoded(source)[0, ..., 0], values)
    np.save(tmp_path / "float" / "1.npy", np.full((4, 4, 3), np.nan, np.float32))
    source = sources.open_source(folder(tmp_path / "float", value_range="0,255"))
    decoded(source)
    assert list(source.quarantine.reasons.values()) == ["cannot be decoded: values that are no numbers"]  # fmt: skip


def test_orientation_and_transparency_survive_the_stretching():
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY[:8]).save(stream, "PNG", exif=exif)
    image = decoding.decode(decoding.in_range(tf.constant(stream.getvalue()), 0.0, 4095.0)).numpy()
    upright = np.rot90(GREY[:8], -1)
    np.testing.assert_array_equal(image[..., 0], np.rint(upright / 4095 * 255))


def test_the_sample_names_what_cannot_be_used(tmp_path):
    deep_folder(tmp_path / "few", values=(GREY // 64).astype(np.uint8))
    (tmp_path / "few" / "0.png").write_bytes(b"<html>")
    words = sources.look(folder(tmp_path / "few")).words()
    assert words.startswith("3 of 4 images decoded; ") and "not an image" in words


@pytest.mark.parametrize("text", ["4095", "1,1", "5,2", "a,b", "0,inf", "nan,1", "0,1,2"])
def test_other_ranges_are_one_sentence(text):
    with pytest.raises(SettingsError, match="value_range=.*give auto, or two numbers"):
        config.Data(value_range=text)
