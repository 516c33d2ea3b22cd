"""Checkpoints: which one is the newest, which go, and what is said about one that cannot be read."""

import os

import numpy as np
import pytest

from simclr_tf.errors import DataError
from simclr_tf.runs import checkpoint_state, checkpoints
from simclr_tf.stack import keras, tf


def dense():
    layer = keras.layers.Dense(2)
    layer(tf.zeros([1, 3]))
    return layer


def names(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".index"))


@pytest.mark.parametrize("name", ["plain", "[exp1] lr=0.3", "a*b"])
def test_the_oldest_goes_whatever_the_folder_is_called(tmp_path, name):
    folder = tmp_path / name
    saver = checkpoint_state.Saver(tf.train.Checkpoint(v=tf.Variable(1.0)), str(folder), keep=2)
    for step in (2, 4, 6):
        saver.save(step)
    assert names(folder) == ["ckpt-4.index", "ckpt-6.index"]
    assert checkpoint_state.newest(str(folder)) == str(folder / "ckpt-6")
    state = tf.train.get_checkpoint_state(str(folder))
    assert state.model_checkpoint_path == str(folder / "ckpt-6")
    assert len(state.all_model_checkpoint_paths) == 2


def test_tensorflows_own_manager_goes_on_with_the_folder(tmp_path):
    checkpoint = tf.train.Checkpoint(v=tf.Variable(1.0))
    checkpoint_state.Saver(checkpoint, str(tmp_path), keep=2).save(2)
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path), 2)
    assert manager.latest_checkpoint == str(tmp_path / "ckpt-2")
    manager.save(checkpoint_number=4)
    assert checkpoint_state.newest(str(tmp_path)) == str(tmp_path / "ckpt-4")


def test_checkpoints_of_a_course_that_was_given_up_go(tmp_path):
    saver = checkpoint_state.Saver(tf.train.Checkpoint(v=tf.Variable(1.0)), str(tmp_path), keep=3)
    for step in (2, 4, 3):
        saver.save(step)
    assert names(tmp_path) == ["ckpt-2.index", "ckpt-3.index"]


def test_a_moved_folder_names_its_own_checkpoints(tmp_path):
    checkpoint_state.Saver(tf.train.Checkpoint(), str(tmp_path / "old"), keep=2).save(2)
    (tmp_path / "old").rename(tmp_path / "new")
    assert checkpoint_state.newest(str(tmp_path / "new")) == str(tmp_path / "new" / "ckpt-2")


def test_everything_is_on_the_disk_before_the_file_checkpoint_names_it(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(checkpoint_state, "flush", lambda path: flushed.append(path))
    real = checkpoint_state.write_atomically

    def write(path, content):
        assert {os.path.basename(name) for name in flushed} >= {"ckpt-2.index"}
        real(path, content)

    monkeypatch.setattr(checkpoint_state, "write_atomically", write)
    checkpoint_state.Saver(tf.train.Checkpoint(v=tf.Variable(1.0)), str(tmp_path), 1).save(2)
    assert len(flushed) == 3  # index, data, the folder


def test_a_changed_byte_is_damage_and_another_architecture_is_not(tmp_path):
    one = dense()
    prefix = checkpoints.save_parts(str(tmp_path), 2, encoder=one)
    assert checkpoints.damage(prefix) == ""
    other = keras.layers.Dense(5)
    other(tf.zeros([1, 3]))
    with pytest.raises(DataError, match="does not fit .*holds another architecture"):
        checkpoints.restore_strictly(prefix, encoder=other)
    data = tmp_path / "ckpt-2.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[content.find(one.kernel.numpy().tobytes())] ^= 0xFF
    data.write_bytes(content)
    assert checkpoints.damage(prefix)
    with pytest.raises(DataError, match="is damaged"):
        checkpoints.restore_strictly(prefix, encoder=dense())


def test_a_checkpoint_in_a_folder_with_brackets_is_restored(tmp_path):
    one = dense()
    prefix = checkpoints.save_parts(str(tmp_path / "[a]\\b*"), 2, encoder=one)
    two = dense()
    assert checkpoints.restore_strictly(prefix, encoder=two) == {"encoder": 2}
    np.testing.assert_array_equal(one.kernel.numpy(), two.kernel.numpy())
    assert checkpoints.read_step(prefix) == 2
