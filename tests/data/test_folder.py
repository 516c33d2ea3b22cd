"""The user's own folder: layouts, labels, links, names, errors."""

import os

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.data import decoding, listing, sources
from simclr_tf.errors import DataError
from simclr_tf.stack import tf


def write(path, value=0, size=(4, 5)):
    """A PNG of one grey value, whatever the name of the file says."""
    path = str(path)
    tf.io.gfile.makedirs(path.rsplit("/", 1)[0])
    pixels = np.full((*size, 3), value, np.uint8)
    tf.io.write_file(path, tf.io.encode_png(pixels))


def folder(root, **settings):
    return config.Data(image_dir=str(root), **settings)


def values(source):
    """{grey value of the image: label} in the order of the ids."""
    found = list(source.in_order().as_numpy_iterator())
    assert [int(one["id"]) for one in found] == list(range(source.num_examples))
    return {int(decoding.decode(one["image"])[0, 0, 0]): int(one["label"]) for one in found}


def test_flat_folder_has_no_labels(tmp_path):
    names = ["b.png", "a.JPG", "Ünï çødé 漢字.jpeg", "c.gif", "notes.txt", ".hid.png"]
    for i, name in enumerate(names):
        write(tmp_path / name, i)
    data = folder(tmp_path, eval_fraction=0.25)
    info = sources.describe(data)
    assert (info.num_train, info.num_eval, info.num_classes) == (3, 1, 0)
    train, held = (sources.open_source(data, which) for which in ("train", "eval"))
    assert {**values(train), **values(held)} == {0: -1, 1: -1, 2: -1, 3: -1}
    assert train.num_classes == 0 and train.arrays() is None


def test_class_folders_give_sorted_labels_at_any_depth(tmp_path):
    for value, name in enumerate(["zebra/deep/er/1.png", "ant/1.png", "ant/2.png", "Über/1.bmp"]):
        write(tmp_path / name, value)
    (tmp_path / "empty class").mkdir()
    data = folder(tmp_path, eval_fraction=0.01)
    source, held = (sources.open_source(data, which) for which in ("train", "eval"))
    assert source.class_names == ("ant", "zebra", "Über")
    got = {**values(source), **values(held)}
    assert got == {0: 1, 1: 0, 2: 0, 3: 2}


def test_one_class_or_images_beside_the_folders_are_no_labels(tmp_path):
    write(tmp_path / "only" / "1.png")
    write(tmp_path / "only" / "2.png")
    assert sources.describe(folder(tmp_path)).num_classes == 0
    write(tmp_path / "other" / "1.png")
    assert sources.describe(folder(tmp_path)).num_classes == 2
    write(tmp_path / "stray.png")
    assert sources.describe(folder(tmp_path)).num_classes == 0


def test_share_is_held_out_per_class_whatever_the_run_seed(tmp_path):
    for i in range(20):
        write(tmp_path / "ab"[i % 2] / f"{i}.png", i)
    data = folder(tmp_path, eval_fraction=0.3)
    train, held = (values(sources.open_source(data, w, seed=1)) for w in ("train", "eval"))
    assert sorted([*train, *held]) == list(range(20)) and len(held) == 6
    assert sum(held.values()) == 3
    assert held == values(sources.open_source(data, "eval", seed=2))
    other = folder(tmp_path, eval_fraction=0.3, split_seed=1)
    assert held != values(sources.open_source(other, "eval"))


def test_own_splits(tmp_path):
    for value, name in enumerate(["train/a/1.png", "train/b/1.png", "val/b/1.png", "odd/a/9.png"]):
        write(tmp_path / name, value)
    info = sources.describe(folder(tmp_path))
    assert (info.num_train, info.num_eval, info.num_classes) == (2, 1, 2)
    assert (info.train_split, info.eval_split) == ("train", "val")
    assert values(sources.open_source(folder(tmp_path), "eval")) == {2: 1}
    other = folder(tmp_path, train_split="val", eval_split="odd")
    assert values(sources.open_source(other)) == {2: -1}
    write(tmp_path / "val" / "c" / "1.png")
    with pytest.raises(DataError, match="class folder c, which the training folder has not"):
        sources.describe(folder(tmp_path))


def test_stream_skips_to_any_position(tmp_path):
    for i in range(7):
        write(tmp_path / f"{i}.png", i)
    source = sources.open_source(folder(tmp_path, eval_fraction=0.1))
    ids = [int(one["id"]) for one in source.stream(0).take(18)]
    assert sorted(ids[:6]) == sorted(ids[6:12]) == list(range(6)) and ids[:6] != ids[6:12]
    assert [int(one["id"]) for one in source.stream(0, 5).take(13)] == ids[5:]


def test_links_are_followed_only_inside(tmp_path):
    write(tmp_path / "in" / "a" / "1.png", 1)
    write(tmp_path / "in" / "b" / "2.png", 2)
    write(tmp_path / "out" / "3.png", 3)
    write(tmp_path / "in2" / "4.png", 4)
    os.symlink(tmp_path / "out", tmp_path / "in" / "leaves")
    os.symlink(tmp_path / "in2", tmp_path / "in" / "leaves too")  # same beginning of the name
    os.symlink(tmp_path / "out" / "3.png", tmp_path / "in" / "a" / "3.png")
    os.symlink(tmp_path / "in" / "a" / "1.png", tmp_path / "in" / "b" / "again.png")
    os.symlink(tmp_path / "in" / "a", tmp_path / "in" / "c")
    os.symlink(tmp_path / "in", tmp_path / "in" / "b" / "loop")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "in" / "b" / "broken.png")
    found = listing.list_images(str(tmp_path / "in"))
    assert found == ["a/1.png", "b/2.png", "b/again.png", "c/1.png"]


def test_links_that_meet_again_end(tmp_path):
    write(tmp_path / "a" / "1.png")
    write(tmp_path / "b" / "2.png")
    os.symlink(tmp_path / "b", tmp_path / "a" / "to b")
    os.symlink(tmp_path / "a", tmp_path / "b" / "to a")
    assert len(listing.list_images(str(tmp_path))) == 4


def test_folder_may_itself_be_a_link_or_begin_with_a_tilde(tmp_path, monkeypatch):
    write(tmp_path / "images" / "1.png")
    os.symlink(tmp_path / "images", tmp_path / "link")
    assert listing.list_images(str(tmp_path / "link")) == ["1.png"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.describe(folder("~/images")).num_train == 1


def test_remote_folder():
    for i, name in enumerate(["x/1.png", "y/2.png", "y/deep/3.png", "y/skip.txt"]):
        write(f"ram://data-folder/{name}", i)
    source = sources.open_source(folder("ram://data-folder", eval_fraction=0.1))
    held = sources.open_source(folder("ram://data-folder", eval_fraction=0.1), "eval")
    assert {**values(source), **values(held)} == {0: 0, 1: 1, 2: 1}


def test_folder_named_like_an_image_is_a_folder(tmp_path):
    write(tmp_path / "x.jpg" / "1.png", 1)
    write(tmp_path / "2.png", 2)
    assert listing.list_images(str(tmp_path)) == ["2.png", "x.jpg/1.png"]


def test_one_image_trains_and_cannot_be_evaluated(tmp_path):
    write(tmp_path / "1.png")
    assert sources.describe(folder(tmp_path)).num_eval == 0
    source = sources.open_source(folder(tmp_path))
    got = [(int(one["id"]), int(one["epoch"])) for one in source.stream(0).take(2)]
    assert got == [(0, 0), (0, 1)]
    with pytest.raises(DataError, match="no image left to evaluate on"):
        sources.open_source(folder(tmp_path), "eval")


@pytest.mark.parametrize("remote", [False, True])
def test_missing_empty_and_wrong_folders_are_one_sentence(tmp_path, remote):
    root = "ram://empty-folder" if remote else str(tmp_path)
    tf.io.gfile.makedirs(f"{root}/empty")
    tf.io.write_file(f"{root}/empty/readme.txt", "")
    with pytest.raises(DataError, match="holds no images; give a folder with .jpg"):
        sources.describe(folder(f"{root}/empty"))
    with pytest.raises(DataError, match="does not exist"):
        sources.describe(folder(f"{root}/missing"))
    with pytest.raises(DataError, match="no images|no text|image; give the folder|names no images"):
        sources.describe(folder(f"{root}/empty/readme.txt"))


def test_split_flags_without_such_folders_are_one_sentence(tmp_path):
    write(tmp_path / "1.png")
    with pytest.raises(DataError, match="no folders train and holdout"):
        sources.describe(folder(tmp_path, eval_split="holdout"))


def test_fingerprint_follows_names_and_split(tmp_path):
    write(tmp_path / "1.png")
    write(tmp_path / "2.png")
    first = sources.describe(folder(tmp_path)).fingerprint
    assert sources.describe(folder(tmp_path)).fingerprint == first
    os.rename(tmp_path / "2.png", tmp_path / "3.png")
    assert sources.describe(folder(tmp_path)).fingerprint != first
