"""Files that are written whole, and paths that TensorFlow would read as patterns."""

import os
import threading

import numpy as np
import pytest

from simclr_tf import files
from simclr_tf.errors import DataError
from simclr_tf.stack import tf


def test_a_file_is_on_the_disk_before_it_replaces_the_old_one(tmp_path, monkeypatch):
    events = []

    def noted(name, real):
        """`real`, which notes its calls; locks that other tests hold are renewed by other threads."""

        def call(*arguments, **named):
            if threading.get_ident() == mine:
                events.append(name)
            return real(*arguments, **named)

        return call

    mine = threading.get_ident()
    monkeypatch.setattr(os, "fsync", noted("fsync", os.fsync))
    monkeypatch.setattr(tf.io.gfile, "rename", noted("rename", tf.io.gfile.rename))
    files.write_atomically(str(tmp_path / "config.json"), "{}")
    assert events == ["fsync", "rename", "fsync"]  # the file, its new name, the folder


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "results.json"
    files.write_atomically(str(target), "old")

    class Broken(Exception):
        pass

    with pytest.raises(Broken):
        with files.writing(str(target)) as temporary:
            with open(temporary, "w") as file:
                file.write("half")
            raise Broken
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["results.json"]
    with pytest.raises(DataError, match="cannot write"):
        files.write_atomically(str(tmp_path / "no" / "results.json"), "new")


def test_only_temporary_files_are_leftovers(tmp_path):
    for name in ("a.json.0a1b2c3d.tmp", "notes.tmp", "b.12345678.tmp.txt"):
        (tmp_path / name).write_text("x")
    files.remove_leftovers(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["b.12345678.tmp.txt", "notes.tmp"]


@pytest.mark.parametrize("name", ["[exp1] lr=0.3", "a*b", "what?", "back\\slash", "plain"])
def test_checkpoints_and_saved_models_are_read_from_any_folder(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    folder.mkdir(parents=True)
    variable = tf.Variable([1.0, 2.0])
    prefix = tf.train.Checkpoint(v=variable).write(str(folder / "ckpt-1"))
    variable.assign([0.0, 0.0])
    with files.literal(prefix) as readable:
        assert not files.PATTERN.search(readable)
        assert (readable == prefix) == (name == "plain")
        tf.train.Checkpoint(v=variable).read(readable).assert_consumed()
    np.testing.assert_array_equal(variable.numpy(), [1.0, 2.0])
    with files.literal(str(folder)) as readable:  # a folder
        assert "ckpt-1.index" in os.listdir(readable)


def test_a_prefix_that_is_a_pattern_itself(tmp_path):
    prefix = tf.train.Checkpoint(v=tf.Variable(3.0)).write(str(tmp_path / "model[1]"))
    with files.literal(prefix) as readable:
        assert tf.train.load_checkpoint(readable).get_tensor("v/.ATTRIBUTES/VARIABLE_VALUE") == 3.0


def test_where_no_link_can_be_made_the_files_are_copied(tmp_path, monkeypatch):
    def no_link(*args):
        raise OSError("not permitted")

    monkeypatch.setattr(os, "symlink", no_link)
    (tmp_path / "[a]" / "variables").mkdir(parents=True)
    (tmp_path / "[a]" / "variables" / "x").write_text("1")
    with files.literal(str(tmp_path / "[a]")) as readable:
        assert open(os.path.join(readable, "variables", "x")).read() == "1"
