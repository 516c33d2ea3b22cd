"""`.npy` images: what is read, how it is converted, and what is refused."""

import io
import os
import struct

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.data import decoding, diagnosis, sources, stacks
from simclr_tf.errors import DataError
from simclr_tf.stack import tf
from simclr_tf.views.batches import eval_batches
from tests.data.test_folder import write

BIG = 10**8


def npy(array, version=None):
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version=version)
    return file.getvalue()


def pixels(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def claiming(descr="|u1", shape="(4, 5, 4)", order="False"):
    """A file whose header says anything and that ends behind it."""
    header = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def decode(encoded, channels):
    """Both ways to read: at once, and inside tf.data."""
    dataset = tf.data.Dataset.from_tensors(encoded).map(lambda e: decoding.decode(e, channels))
    inside = dataset.get_single_element()
    assert inside.dtype == tf.uint8 and dataset.element_spec.shape[-1] == channels
    np.testing.assert_array_equal(inside, decoding.decode(tf.constant(encoded), channels))
    return inside.numpy()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 16])
def test_every_number_of_channels_comes_out_as_it_was_saved(channels):
    image = pixels((6, 4, channels), channels)
    image[-1] = 0  # a string that ends in zeros
    np.testing.assert_array_equal(decode(npy(image), channels), image)
    assert int(decoding.pixels(tf.constant(npy(image)))) == 24


def test_every_way_to_save_it_gives_the_same_image():
    image = pixels((5, 7, 4))
    wide = image.astype(np.uint16) * 256 + 255
    tenths = (image / np.float32(255)).astype(np.float32)
    for array in (np.asfortranarray(image), wide, wide.astype(">u2"), tenths, tenths.astype(">f4")):
        np.testing.assert_array_equal(decode(npy(array), 4), image)
    np.testing.assert_array_equal(decode(npy(image, (2, 0)), 4), image)
    np.testing.assert_array_equal(decode(npy(image) + b"more", 4), image)
    np.testing.assert_array_equal(decode(npy(image[..., 0]), 1), image[..., :1])


@pytest.mark.parametrize(
    "encoded, why",
    [
        (npy(pixels((4, 5, 4)))[:-1], "truncated"),
        (npy(pixels((4, 5, 4)))[:40], "damaged .npy header"),
        (npy(pixels((4, 5, 5))), "5 channels, where the other images have 4"),
        (npy(pixels((4, 5, 17))), r"\[4, 5, 17\]"),
        (npy(np.zeros((4, 5, 4), np.float64)), "f8"),
        (npy(np.full((4, 5, 4), 1.5, np.float32)), "outside 0 to 1"),
        (npy(np.full((4, 5, 4), np.nan, np.float32)), "outside 0 to 1"),
        (npy(np.zeros((2, 2, 2, 4), np.uint8)), "c up to 16"),
        (npy(np.zeros((0, 2, 4), np.uint8)), "c up to 16"),
        (claiming(descr="|O"), "not a plain array"),
        (claiming(shape="(__import__('os').abort(), 1, 4)"), "not a plain array"),
        (claiming(shape="(4000000, 4000000, 4)"), "16000000000000 pixels"),
        (claiming(shape=f"({'9' * 40}, 1, 4)"), "c up to 16"),
        (b"words", "not a .npy file"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(encoded, why):
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(diagnosis.why_unusable(encoded, BIG, 4))


def test_an_object_array_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    file = io.BytesIO()
    np.lib.format.write_array(file, np.array([[Trap()]], object), allow_pickle=True)
    assert "not a plain array" in diagnosis.why_unusable(file.getvalue(), BIG, 1)
    assert not (tmp_path / "sprung").exists()


def test_of_an_image_above_the_limit_only_the_beginning_is_read(tmp_path):
    path = str(tmp_path / "large.npy")
    np.save(path, pixels((300, 300, 4)))
    assert len(stacks.read(path, 300 * 300)) == os.path.getsize(path)
    assert len(stacks.read(path, 300 * 300 - 1)) == stacks.MOST_HEAD
    with open(path, "ab") as file:
        file.write(b"x" * 10**6)
    assert len(stacks.read(path, BIG)) == os.path.getsize(path) - 10**6


def test_damaged_stacks_of_a_folder_give_way_to_others(tmp_path):
    for number in range(6):
        np.save(tmp_path / f"{number}.npy", np.full((8 + number, 9, 4), number, np.uint8))
    (tmp_path / "cut.NPY").write_bytes(npy(pixels((8, 8, 4)))[:-3])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "huge.npy").write_bytes(npy(pixels((400, 400, 4))))
    (tmp_path / "words.npy").write_bytes(b"not an array")
    data = config.Data(image_dir=str(tmp_path), eval_fraction=0.01, max_image_pixels=1000)
    info = sources.describe(data)
    source = sources.open_whole(data, "train")
    assert info.channels == source.channels == 4 and source.num_examples == 10
    (batch,) = list(eval_batches(source, 8, 16))
    assert batch["images"].shape == (10, 8, 8, 4)
    values = np.rint(255 * batch["images"].numpy()).std(axis=(1, 2, 3))
    np.testing.assert_array_equal(values, 0)  # only the whole files, each of one value
    reasons = {os.path.basename(name): why for name, why in source.quarantine.reasons.items()}
    assert set(reasons) == {"cut.NPY", "empty.npy", "huge.npy", "words.npy"}
    assert "truncated" in reasons["cut.NPY"] and "160000 pixels" in reasons["huge.npy"]
    assert reasons["empty.npy"] == "empty file"


def test_mixed_channels_are_told_before_any_image_is_read(tmp_path):
    np.save(tmp_path / "a.npy", pixels((8, 8, 4)))
    np.save(tmp_path / "b.npy", pixels((8, 8)))
    with pytest.raises(DataError, match="b.npy has 1 channel and .*a.npy has 4"):
        sources.describe(config.Data(image_dir=str(tmp_path)))
    (tmp_path / "b.npy").unlink()
    write(tmp_path / "c.png")
    for opened in (sources.describe, lambda data: sources.open_whole(data, "train")):
        with pytest.raises(DataError, match="c.png has 3 channels and .*a.npy has 4"):
            opened(config.Data(image_dir=str(tmp_path)))


def test_three_channels_are_rgb_beside_other_files(tmp_path):
    image = pixels((8, 8, 3))
    np.save(tmp_path / "a.npy", image)
    write(tmp_path / "c.png", 7, (8, 8))
    source = sources.open_whole(config.Data(image_dir=str(tmp_path)), "train")
    first, second = [decoding.decode(one["image"]).numpy() for one in source.in_order()]
    np.testing.assert_array_equal(first, image)
    np.testing.assert_array_equal(second, np.full((8, 8, 3), 7))
    assert source.channels == 3 and not source.quarantine.reasons


def test_a_folder_of_nothing_but_damaged_stacks_is_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="none of the .npy files"):
        sources.describe(config.Data(image_dir=str(tmp_path)))


def test_pictures_show_three_channels():
    image = pixels((2, 3, 5))
    np.testing.assert_array_equal(stacks.as_rgb(image), image[..., :3])
    np.testing.assert_array_equal(stacks.as_rgb(image[..., :2]), image[..., [0, 0, 0]])
