"""Pipes and devices where a file is expected: refused at once, never waited for."""

import os

import pytest

from simclr_tf.errors import DataError
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json
from simclr_tf.weights.importing import import_weights


def test_pipes_are_refused_wherever_a_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "weights.pth")
    with pytest.raises(DataError, match="weights.pth is a pipe"):
        import_weights(str(tmp_path / "weights.pth"))
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(DataError, match="config.json is a pipe"):
        read_json(str(tmp_path / "config.json"))
    for suffix in (".index", ".data-00000-of-00001"):
        os.mkfifo(tmp_path / f"ckpt-1{suffix}")
        with pytest.raises(DataError, match="ckpt-1.* is a pipe"):
            restore.locate(str(tmp_path / "ckpt-1"))
        os.remove(tmp_path / f"ckpt-1{suffix}")


def test_a_device_is_refused():
    with pytest.raises(DataError, match="/dev/zero is a pipe, a socket or a device"):
        import_weights("/dev/zero")
