"""What a run meets on a real machine: signals, a full disk, a folder that cannot be written to."""

import contextlib
import os
import resource
import signal
import time

import pytest

from simclr_tf.stack import tf
from tests.runs.test_exact_resume import assert_same_run, command, lines_of


@pytest.fixture(scope="module")
def whole(launcher, tmp_path_factory):
    """A run that nothing disturbed."""
    run = tmp_path_factory.mktemp("faults") / "whole"
    assert launcher.run(command(run), run.with_suffix(".txt")) == 0
    return run


def wait_for(run, lines):
    deadline = time.monotonic() + 120
    while lines_of(run) < lines and time.monotonic() < deadline:
        time.sleep(0.001)


def assert_readable(run):
    """The newest checkpoint is whole: reading a value compares its checksum."""
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(run / "checkpoints")))
    keys = list(reader.get_variable_to_shape_map())
    assert len(keys) > 30
    for key in keys:
        reader.get_tensor(key)


@pytest.mark.slow
@pytest.mark.one_stack
def test_sigterm_saves_within_a_step_and_the_same_command_goes_on(tmp_path, launcher, whole):
    run = tmp_path / "run"
    said = tmp_path / "said.txt"
    pid = launcher.start(command(run, checkpoint_steps=1000), said)
    wait_for(run, 2)
    os.kill(pid, signal.SIGTERM)
    lines = lines_of(run)
    assert launcher.wait() == 75
    text = said.read_text()
    assert "stopped by SIGTERM" in text and "run the same command again" in text
    assert "Traceback" not in text
    saved = int(tf.train.latest_checkpoint(str(run / "checkpoints")).split("-")[-1])
    assert lines <= saved == lines_of(run) <= lines + 2  # what ran when it came, and one step
    assert launcher.run(command(run), said) == 0
    assert (run / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.one_stack
def test_the_time_limit_ends_with_75_and_the_same_command_goes_on(tmp_path, launcher, whole):
    run = tmp_path / "run"
    said = tmp_path / "said.txt"
    assert launcher.run(command(run, max_wall_minutes=1e-6), said) == 75
    assert "--max_wall_minutes=1e-06 after step 1 of" in said.read_text()
    assert launcher.run(command(run), said) == 0
    assert "resuming at step 1 of" in said.read_text()
    assert_same_run(whole, run)


@pytest.mark.slow
@pytest.mark.one_stack
@pytest.mark.parametrize("more", [{}, {"cached_batch_size": 96, "cached_separate_views": True}])
def test_a_full_disk_ends_in_one_sentence_and_room_mends_it(tmp_path, launcher, whole, more):
    run = tmp_path / "run"
    said = tmp_path / "said.txt"
    pid = launcher.start(command(run, **more), said)
    wait_for(run, 4)  # one checkpoint is there
    half = max(path.stat().st_size for path in (run / "checkpoints").glob("*.data-*")) // 2
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (half, half))
    assert launcher.wait() == 3
    sentence = said.read_text().strip().splitlines()[-1]
    assert sentence.startswith("simclr_tf: cannot write") and "Traceback" not in said.read_text()
    assert "make room" in sentence
    assert_readable(run)
    assert not list(run.rglob("*.tmp"))
    assert launcher.run(command(run, **more), said) == 0
    if not more:
        assert_same_run(whole, run)


@contextlib.contextmanager
def read_only(*folders):
    for folder in folders:
        folder.chmod(0o555)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o755)


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_read_only_folder_is_one_sentence(tmp_path, launcher):
    run = tmp_path / "run"
    said = tmp_path / "said.txt"
    closed = tmp_path / "closed"
    closed.mkdir()
    short = {"train_steps": 6}
    assert launcher.run(command(run, **short), said) == 0
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    trials = [(closed / "new", short), (run, {**short, "extend_epochs": 1})]
    with read_only(closed, run, *(path for path in run.iterdir() if path.is_dir())):
        for folder, changes in trials:
            assert launcher.run(command(folder, **changes), said, obeys=True) == 3
            text = said.read_text()
            assert "Traceback" not in text and f"{folder}" in text.splitlines()[-1]
            assert "choose a folder that you can write to" in text
    assert {path: path.read_bytes() for path in files} == files


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_folder_that_becomes_read_only_keeps_its_last_checkpoint(tmp_path, launcher):
    run = tmp_path / "run"
    said = tmp_path / "said.txt"
    launcher.start(command(run), said, obeys=True)
    wait_for(run, 4)
    with read_only(run / "checkpoints"):
        assert launcher.wait() == 3
    assert "cannot write a checkpoint of step" in said.read_text().splitlines()[-1]
    assert_readable(run)
