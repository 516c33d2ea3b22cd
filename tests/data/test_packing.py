"""`--mode=pack`: a folder becomes shards that train as the folder does, and goes on after a stop."""

import json
import os

import pytest

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.data import sources
from simclr_tf.data.shards import packing
from tests.tiny_run import images_in_folders


def pack(folder, *flags):
    return main(["pack", f"--image_dir={folder}/photos", f"--output={folder}/packed", "--images_per_shard=4", *flags])  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    images_in_folders(tmp_path / "photos", {"cats": 5, "dogs": 6}, side=12)
    return tmp_path


def contents(source):
    """{encoded image: name of its class}."""
    return {
        one["image"].numpy(): source.class_names[int(one["label"])] for one in source.in_order()
    }


def test_shards_hold_the_files_unchanged_with_their_classes(folder, capsys):
    assert pack(folder) == 0
    assert "11 images in 3 shards" in capsys.readouterr().out
    packed = config.Data(shards=str(folder / "packed"))
    info = sources.describe(packed)
    assert (info.num_train, info.num_eval) == (9, 2)
    assert info.classes == (("cats", 4), ("dogs", 5))
    own = sources.open_whole(config.Data(image_dir=str(folder / "photos")), "train")
    assert contents(sources.open_whole(packed, "train")) == contents(own)
    manifest = json.loads((folder / "packed" / "manifest.json").read_text())
    assert manifest["complete"] and [one["records"] for one in manifest["shards"]] == [4, 4, 3]


def test_a_stopped_packing_goes_on_where_it_was(folder, monkeypatch):
    assert pack(folder) == 0
    want = {path.name: path.read_bytes() for path in (folder / "packed").iterdir()}
    for path in (folder / "packed").iterdir():
        path.unlink()
    write = packing._write_shard
    written = []

    def stopped(packing, target, *others):
        if written:
            raise KeyboardInterrupt
        written.append(target)
        return write(packing, target, *others)

    monkeypatch.setattr(packing, "_write_shard", stopped)
    assert pack(folder) == 130
    assert sorted(os.listdir(folder / "packed")) == ["manifest.json", "train-00000-of-00003"]
    monkeypatch.setattr(packing, "_write_shard", lambda p, t, *o: written.append(t) or write(p, t, *o))  # fmt: skip
    assert pack(folder) == 0
    assert len(written) == 3  # each once
    assert {path.name: path.read_bytes() for path in (folder / "packed").iterdir()} == want


def test_split_folders_become_shards_of_their_own(folder, capsys):
    (folder / "photos").rename(folder / "train")
    (folder / "photos").mkdir()
    (folder / "train").rename(folder / "photos" / "train")
    images_in_folders(folder / "photos" / "val", {"dogs": 3}, side=12)
    assert pack(folder) == 0
    assert 'packed/train-*" "--eval_shards=' in capsys.readouterr().out
    packed = folder / "packed"
    info = sources.describe(config.Data(shards=f"{packed}/train-*", eval_shards=f"{packed}/val*"))
    assert (info.num_train, info.num_eval, info.num_classes) == (11, 3, 2)


def test_what_cannot_be_read_is_left_out_and_named(folder):
    (folder / "photos" / "cats" / "001.png").write_bytes(b"")
    assert pack(folder) == 0
    manifest = json.loads((folder / "packed" / "manifest.json").read_text())
    (out,) = manifest["left_out"]
    assert out["name"].endswith("cats/001.png") and out["reason"] == "empty file"
    assert sum(one["records"] for one in manifest["shards"]) == 10


def test_another_packing_in_the_same_folder_is_refused(folder, capsys):
    assert pack(folder, "--dry_run") == 0 and not (folder / "packed").exists()
    assert pack(folder) == 0
    assert pack(folder, "--seed=1") == 2
    assert "seed 1 (was 0)" in capsys.readouterr().err
    (folder / "packed" / "manifest.json").unlink()
    assert pack(folder) == 2
    assert "holds no manifest.json" in capsys.readouterr().err
