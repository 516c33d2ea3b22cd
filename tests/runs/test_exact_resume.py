"""A training that is killed again and again ends as one that nothing disturbs, bit for bit."""

import contextlib
import os
import random
import signal
import time

import numpy as np
import pytest

from simclr_tf.runs.files import read_json
from simclr_tf.stack import tf
from tests.tiny_run import images_in_folders

STEPS = 72
EVERY = 3
FLAGS = {
    "mode": "pretrain", "preset": "none", "deterministic": True, "strategy": "default",
    "encoder": "tests.tiny_encoder:encoder", "image_size": 16, "proj_out_dim": 8,
    "train_batch_size": 32, "warmup_epochs": 0, "ema_momentum": 0.9, "train_steps": STEPS,
    "checkpoint_steps": EVERY, "log_steps": 1, "keep_checkpoint_max": 3, "keep_best": "probe_top_1",
    "operators": "", "learning_rate": 0.3, "temperature": 0.5,
}  # fmt: skip


def command(model_dir, **changes):
    """Arguments of a pretraining of seconds; `changes` replace or add flags."""
    flags = {**FLAGS, "model_dir": model_dir, **changes}
    return [f"--{name}={value}" for name, value in flags.items()]


def lines_of(run):
    log = run / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def half_written(run, since):
    """Whether a checkpoint is being written that was begun after `since` (ns)."""
    begun = run.glob("checkpoints/*_temp*")
    try:
        return any(path.stat().st_mtime_ns > since for path in begun)
    except FileNotFoundError:  # complete by now
        return False


def kill(launcher, arguments, run, step, moment):
    """Starts a command and kills it.

    Args:
        step: logged step from which on it is killed; 0: during the start already.
        moment: seconds to wait then, or None to wait until a checkpoint is being written.
    Returns:
        whether it was killed before its end, and whether that left a checkpoint half written.
    """
    said = run.with_suffix(".txt")
    pid = launcher.start(arguments, said)
    begin = time.time_ns()
    deadline = time.monotonic() + 200

    def goes_on():
        """Whether it runs and has time; the exit code tells how it ended by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return time.monotonic() < deadline
        return False

    while lines_of(run) < step and goes_on():
        time.sleep(0.001)
    if moment is None:
        while not half_written(run, begin) and lines_of(run) < STEPS and goes_on():
            pass
    else:
        time.sleep(moment)
    in_time = time.monotonic() < deadline
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    code = launcher.wait()
    told = f"exit code {code}, {lines_of(run)} steps logged\n{said.read_text()[-3000:]}"
    assert in_time and code in (0, -signal.SIGKILL), told
    return code == -signal.SIGKILL, half_written(run, begin)


def random_kills(count, seed):
    """(step, moment) of `kill`: a third while a checkpoint is written, a third at the start."""
    dice = random.Random(seed)
    for number, step in enumerate(sorted(dice.sample(range(1, STEPS - EVERY), count))):
        if number % 3 == 1:
            yield 0, dice.uniform(0.0, 3.0)
        else:
            yield step, dice.uniform(0.0, 0.03) if number % 3 else None


def values_of(folder):
    """{key: value} of all variables of the newest checkpoint, except how often it was saved."""
    reader = tf.train.load_checkpoint(str(folder))
    keys = [key for key in reader.get_variable_to_shape_map() if key.endswith("VARIABLE_VALUE")]
    return {key: reader.get_tensor(key) for key in keys if not key.startswith("save_counter")}


def assert_same_run(one, two):
    for name in ("metrics.jsonl", "best/best.json"):
        assert (one / name).read_text() == (two / name).read_text(), name
    for folder in ("checkpoints", "best"):
        want = values_of(one / folder)
        got = values_of(two / folder)
        assert want.keys() == got.keys() and len(want) > 30
        for key in want:
            np.testing.assert_array_equal(got[key], want[key], err_msg=f"{folder}: {key}")
    figures = [read_json(str(run / "results.json")) for run in (one, two)]
    for result in figures:
        del result["images_per_second"], result["wall_seconds"]
    assert figures[0] == figures[1]
    assert len(list((two / "checkpoints").glob("*.index"))) == FLAGS["keep_checkpoint_max"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, kills", [pytest.param("folder", 21, marks=pytest.mark.one_stack), ("streamed", 2)]
)
def test_kills_at_any_moment_change_nothing(tmp_path, launcher, kind, kills):
    changes = {"cache_dataset": False, "data_dir": tmp_path / "tfds"}
    if kind == "folder":
        images_in_folders(tmp_path / "photos", {"bars": 40, "dots": 40})
        changes = {"image_dir": tmp_path / "photos"}
    whole = tmp_path / "whole"
    cut = tmp_path / "cut"
    assert launcher.run(command(whole, **changes), tmp_path / "whole.txt") == 0
    assert lines_of(whole) == STEPS
    found = [
        kill(launcher, command(cut, **changes), cut, *when) for when in random_kills(kills, seed=8)
    ]
    assert len(found) == kills and all(killed for killed, _ in found)
    assert sum(half for _, half in found) >= kills // 7  # as many as the machine lets us catch
    assert launcher.run(command(cut, **changes), tmp_path / "cut.txt") == 0
    assert_same_run(whole, cut)
    assert not list(cut.glob("*/*_temp*"))
