"""Processes that are really killed, and what the same command makes of it."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from simclr_tf.stack import tf
from simclr_tf.training import restore
from tests.test_training import TINY

TINY_FLAGS = [f"--{name}={value}" for name, value in TINY.items() if name != "strategy"]


def command(model_dir, *flags):
    """A tiny pretraining run; `flags` replace those of TINY that they name."""
    names = {flag.split("=")[0] for flag in flags}
    tiny = [flag for flag in TINY_FLAGS if flag.split("=")[0] not in names]
    where = ["--dataset=digits", "--strategy=default", f"--model_dir={model_dir}"]
    return [sys.executable, "-m", "simclr_tf", "--mode=pretrain", *where, *tiny, *flags]


CACHED = ["--train_batch_size=32", "--cached_batch_size=96", "--cached_separate_views"]


@pytest.mark.slow
@pytest.mark.parametrize("more, lines", [([], 5), ([*CACHED, "--log_steps=2"], 3)])
def test_a_killed_run_ends_with_the_same_weights(tmp_path, more, lines):
    flags = ["--deterministic", "--train_steps=12", "--checkpoint_steps=3", *more]
    whole = subprocess.run(command(tmp_path / "whole", *flags), capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr[-2000:]
    killed = subprocess.Popen(command(tmp_path / "cut", *flags), stderr=subprocess.DEVNULL)
    log = tmp_path / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while killed.poll() is None and time.monotonic() < deadline:
        if log.exists() and len(log.read_text().splitlines()) >= lines:
            killed.send_signal(signal.SIGKILL)
            break
    assert killed.wait(timeout=60) == -signal.SIGKILL
    again = subprocess.run(command(tmp_path / "cut", *flags), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "resuming at step 3" in again.stdout or "resuming at step 6" in again.stdout
    assert log.read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()
    one, two = (tf.train.load_checkpoint(str(tmp_path / n / "checkpoints")) for n in ("whole", "cut"))  # fmt: skip
    keys = [k for k in one.get_variable_to_shape_map() if k.endswith("VARIABLE_VALUE")]
    assert len(keys) > 100
    for key in keys:
        if not key.startswith("save_counter"):
            np.testing.assert_array_equal(one.get_tensor(key), two.get_tensor(key), err_msg=key)


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
    flags = ["--train_steps=400", "--checkpoint_steps=400"]
    process = subprocess.Popen(command(tmp_path / "run", *flags), stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and len(log.read_text().splitlines()) >= 2:
            process.terminate()
            break
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 75, errors[-2000:]
    assert "run the same command again" in errors and "Traceback" not in errors
    step = restore.load_trained(str(tmp_path / "run")).step
    assert 2 <= step < 400
