"""Embeddings of images: order, bad images, interruption, memory, formats."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.data import decoding, preprocess, sources
from simclr_tf.embedding import stream, tables
from simclr_tf.embedding.parts import Parts
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.evaluation.features import Extractor
from simclr_tf.stack import keras, tf
from tests.tiny_run import images_in_folders

BAD = ("bars/004.png", "dots/zz.jpg")


def statistics(images, training):
    """float [b, s, s, 3] -> h [b, 6]: mean and deviation of the channels; z [b, 1]."""
    assert training is False
    mean, variance = tf.nn.moments(images, [1, 2])
    h = tf.concat([mean, tf.sqrt(variance)], axis=1)
    return {"h": h, "z": tf.reduce_sum(h, axis=1, keepdims=True)}


@pytest.fixture
def folder(tmp_path):
    images_in_folders(tmp_path / "images", {"bars": 9, "dots": 8})
    for name in BAD:
        (tmp_path / "images" / name).write_bytes(b"no image")
    names = [f"{kind}/{i:03d}.png" for kind, n in (("bars", 9), ("dots", 8)) for i in range(n)]
    return str(tmp_path / "images"), names + ["dots/zz.jpg"]


def open_folder(where, **settings):
    return sources.open_whole(config.Data(image_dir=where, **settings), "train")


def embed(source, parts, progress=None):
    extractor = Extractor(statistics, 4)
    stream.embed(source, extractor, parts, 40, stream.Sprites(2, 5), progress)


def expected(where, names):
    images = [tf.io.read_file(os.path.join(where, name)) for name in names]
    images = [preprocess.eval_image(decoding.decode(image), 40) for image in images]
    return statistics(tf.stack(images), False)


def relative(source, where):
    return lambda start, stop: [name[len(where) + 1 :] for name in source.names(start, stop)]


def test_rows_follow_the_files_and_bad_images_are_listed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "PART_ROWS", 8)
    where, names = folder
    source = open_folder(where)
    done = []
    parts = Parts(str(tmp_path / "parts"), {"weights": "a"})
    embed(source, parts, progress=done.append)
    assert parts.count == 3 and parts.next == done[-1] == len(names) == 18
    assert sorted(map(os.path.basename, source.quarantine.reasons)) == ["004.png", "zz.jpg"]
    table = tables.Table(parts, relative(source, where))
    good = [name for name in names if name not in BAD]
    want = expected(where, good)
    tables.write_npz(str(tmp_path / "e.npz"), table)
    with np.load(tmp_path / "e.npz") as found:
        assert found.files == ["path", "h", "z"] and found["path"].tolist() == good
        for name in ("h", "z"):
            np.testing.assert_allclose(found[name], want[name], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(tables.mapped(tmp_path / "e.npz", name), found[name])
        h = found["h"]
    import pyarrow.parquet

    tables.write_parquet(str(tmp_path / "e.parquet"), table)
    read = pyarrow.parquet.read_table(tmp_path / "e.parquet")
    assert read.column_names == ["path", "h", "z"] and read["path"].to_pylist() == good
    np.testing.assert_array_equal(np.float32(read["h"].to_pylist()), h)
    sprites = np.concatenate([columns["sprite_id"] for _, columns in parts if "id" in columns])
    assert sprites.tolist() == [0, 2, 6, 8, 10, 12, 14, 16]  # 4 is bad
    assert parts.read(0)["sprite"].shape == (4, 8, 8, 3)


def test_an_interrupted_run_ends_with_the_same_bytes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "PART_ROWS", 4)
    source = open_folder(folder[0])

    def stop(done):
        if done > 10:
            raise KeyboardInterrupt

    whole = Parts(str(tmp_path / "whole"), {"weights": "a"})
    embed(source, whole)
    with pytest.raises(KeyboardInterrupt):
        embed(source, Parts(str(tmp_path / "cut"), {"weights": "a"}), progress=stop)
    with pytest.raises(SettingsError, match="other weights; give another --output"):
        Parts(str(tmp_path / "cut"), {"weights": "b"})
    cut = Parts(str(tmp_path / "cut"), {"weights": "a"})
    done = []
    assert 0 < cut.next < 18
    embed(source, cut, progress=done.append)
    assert done[0] > cut.read(0)["next"]  # finished parts are not made again
    for (_, one), (_, two) in zip(whole, cut):
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
    assert whole.count == cut.count


def test_strict_data_stops_at_the_first_bad_image(folder, tmp_path):
    parts = Parts(str(tmp_path / "parts"), {"weights": "a"})
    with pytest.raises(DataError, match="004.png cannot be used"):
        embed(open_folder(folder[0], strict_data=True), parts)


def test_another_file_system_and_a_split(tmp_path):
    source = sources.open_whole(config.Data(), "test[:40]")
    assert source.num_examples == 40
    parts = Parts("ram://embed/parts", {"weights": "a"})
    embed(source, parts)
    table = tables.Table(parts, source.names)
    tables.write_npz("ram://embed/e.npz", table)
    tables.write_parquet("ram://embed/e.parquet", table)
    with tf.io.gfile.GFile("ram://embed/e.npz", "rb") as file, np.load(file) as found:
        assert found["h"].shape == (40, 6)
    parts.remove()
    assert sorted(tf.io.gfile.listdir("ram://embed")) == ["e.npz", "e.parquet"]


def test_two_replicas_give_the_rows_of_one(folder, tmp_path, two_replicas):
    one, two = (Parts(str(tmp_path / name), {"weights": "a"}) for name in "ab")
    with two_replicas.scope():
        layer = keras.layers.Dense(3)
        layer(tf.zeros([1, 6]))

    def encoder(images, training):
        return {"h": layer(statistics(images, training)["h"])}

    source = open_folder(folder[0])
    stream.embed(source, Extractor(encoder, 5), one, 40, stream.Sprites(0, 5))
    stream.embed(source, Extractor(encoder, 5, two_replicas), two, 40, stream.Sprites(0, 5))
    np.testing.assert_allclose(one.read(0)["h"], two.read(0)["h"], rtol=1e-5, atol=1e-6)


@pytest.mark.one_stack
@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """32 KiB of h per image: 2,000 more of them are 66 MB on disk, not in memory."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [sys.executable, "-m", "tests.embedding_memory", str(tmp_path), "500", "2500"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    few, many = json.loads(done.stdout.splitlines()[-1])
    print(f"peak memory: {few['peak'] / 1e6:.1f} MB, then {many['peak'] / 1e6:.1f} MB")
    assert many["bytes"] - few["bytes"] > 65e6
    assert many["peak"] - few["peak"] < 33e6  # half of it: allocators keep some at random


def test_pyarrow_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError, match="pyarrow.*requirements.txt.*ends in .npz"):
        tables.check_parquet()


def test_a_damaged_part_is_one_sentence(tmp_path):
    """Cut short, or with a bit flipped, anywhere."""
    parts = Parts(str(tmp_path / "parts"), {"weights": "a"})
    h = np.arange(6, dtype=np.float32)
    parts.add(3, {"h": h})
    path = tmp_path / "parts" / "000000.npz"
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        flipped = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
        for content in (whole[:place], flipped):
            path.write_bytes(content)
            try:
                np.testing.assert_array_equal(parts.read(0)["h"], h)
            except DataError as error:
                refused += 1
                assert "is damaged (" in str(error) and "\n" not in str(error)
    assert refused > len(whole) / 3  # every shorter one, and more
