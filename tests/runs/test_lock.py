"""One process at a time in a run folder."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from simclr_tf.errors import DataError, SettingsError
from simclr_tf.files import write_atomically
from simclr_tf.runs import lock
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf

IMAGES = {"name": "a", "fingerprint": "b"}


def holder_on_another_machine(folder, renewal=0):
    """A lock file that this process did not write."""
    content = {"host": "elsewhere", "process": 7, "since": "yesterday", "id": "x"}
    path = os.path.join(folder, lock.NAME)
    write_atomically(path, json.dumps({**content, "renewal": renewal}))


@pytest.fixture
def sleeper():
    """Another process of this machine that lives."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate(b"\n")


def held_by(folder, process):
    """The lock file that a process of this machine would have written."""
    mine = lock._Lease(os.path.join(folder, lock.NAME))
    mine.content.update(process=process.pid, process_started=lock._started(process.pid))
    lock._write(mine.path, mine.content)


def test_a_living_process_keeps_the_folder_and_is_named(tmp_path, sleeper):
    held_by(tmp_path, sleeper)
    with pytest.raises(SettingsError, match=f"in use by process {sleeper.pid} on .* since 2"):
        RunFolder(str(tmp_path)).claim("pretrain", {}, (), IMAGES)
    assert sorted(os.listdir(tmp_path)) == [lock.NAME]


def test_a_dead_holder_of_this_machine_gives_the_folder_back_at_once(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    held_by(tmp_path, process)
    process.wait()
    begin = time.monotonic()
    with lock.scope():
        lock.acquire(str(tmp_path))
        assert lock._read(str(tmp_path / lock.NAME))["process"] == os.getpid()
    assert time.monotonic() - begin < 5.0 and os.listdir(tmp_path) == []


def test_another_process_with_the_number_of_a_dead_one_is_not_the_holder(tmp_path, sleeper):
    held_by(tmp_path, sleeper)
    content = lock._read(str(tmp_path / lock.NAME))
    lock._write(str(tmp_path / lock.NAME), {**content, "process_started": 1})
    with lock.scope():
        lock.acquire(str(tmp_path))


def test_a_holder_elsewhere_that_shows_no_sign_of_life_is_dead(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(lock, "LEASE", 0.3)
    holder_on_another_machine(tmp_path)
    with lock.scope():
        lock.acquire(str(tmp_path))
    assert "process 7 on elsewhere" in caplog.text


def test_a_holder_elsewhere_that_renews_its_lease_keeps_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "LEASE", 20.0)
    holder_on_another_machine(tmp_path)
    timer = threading.Timer(0.2, holder_on_another_machine, (tmp_path, 1))
    timer.start()
    with pytest.raises(SettingsError, match="in use by process 7 on elsewhere"):
        lock.acquire(str(tmp_path))
    timer.join()


def test_a_folder_of_an_object_store_is_locked_too():
    folder = "ram://lock-test"
    tf.io.gfile.makedirs(folder)
    path = os.path.join(folder, lock.NAME)
    with lock.scope():
        lock.acquire(folder)
        lock.acquire(folder)  # the same process may ask again
        assert lock._read(path)["process"] == os.getpid()
    assert not tf.io.gfile.exists(path)


def test_the_lease_is_renewed_and_a_lost_one_stops_the_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "RENEW", 0.05)
    with lock.scope():
        lock.acquire(str(tmp_path))
        deadline = time.monotonic() + 20.0
        while lock._read(str(tmp_path / lock.NAME))["renewal"] < 2:
            assert time.monotonic() < deadline
        lock.check(str(tmp_path))
        holder_on_another_machine(tmp_path)
        with pytest.raises(DataError, match="process 7 on elsewhere .* took it over"):
            lock.check(str(tmp_path))
    assert lock._read(str(tmp_path / lock.NAME))["id"] == "x"  # it is not ours to remove


def test_a_lock_file_that_is_none_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_SETTLE", 0.01)
    for content in ("", "[1]", "[" * 100_000, "\x00\xff"):
        (tmp_path / lock.NAME).write_text(content)
        with lock.scope():
            lock.acquire(str(tmp_path))


def test_what_a_killed_process_left_goes_with_the_next_claim(tmp_path):
    folder = RunFolder(str(tmp_path))
    with lock.scope():
        folder.claim("knn", {"k": 1}, (), IMAGES)
    (tmp_path / "results.json.0a1b2c3d.tmp").write_text("{")
    with lock.scope():
        assert folder.claim("knn", {"k": 1}, (), IMAGES)
    assert os.listdir(tmp_path) == ["config.json"]


def test_a_folder_without_results_may_be_claimed_anew(tmp_path):
    folder = RunFolder(str(tmp_path / "knn"))
    folder.claim("knn", {"k": 1}, (), IMAGES)
    (tmp_path / "knn" / "unfinished").mkdir()
    (tmp_path / "knn" / "unfinished" / "identity.json").write_text("{}")
    assert not folder.claim("knn", {"k": 2}, (), IMAGES)
    assert not (tmp_path / "knn" / "unfinished").exists()
    (tmp_path / "knn" / "results.json").write_text("{}")
    with pytest.raises(SettingsError, match="other settings: --k=3"):
        folder.claim("knn", {"k": 3}, (), IMAGES)
