"""Warm-up that fits, the time between checkpoints, and what the progress line says of time."""

import io

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.runs.files import write_json
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.training import length, loop, progress, run_length, spacing
from simclr_tf.training.spacing import Spacing
from tests.training.test_health import NoFaults


def folder_of(settings):
    return RunFolder(settings.run.model_dir)


@pytest.fixture
def clock(monkeypatch):
    """A clock in seconds that is turned by hand: a list of one number."""
    now = [0.0]
    monkeypatch.setattr(spacing.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    "values, given, epochs",
    [
        (dict(train_epochs=5), (), 0.5),
        (dict(train_epochs=20), (), 2.0),
        (dict(train_epochs=100), (), 10.0),
        (dict(train_epochs=1000), (), 10.0),
        (dict(train_steps=30, train_batch_size=100), (), 0.3),
        (dict(train_epochs=20), ("warmup_epochs",), 10.0),
        (dict(train_epochs=20, warmup_epochs=7.0), (), 7.0),
    ],
)
def test_the_warm_up_is_a_tenth_of_a_short_run(values, given, epochs):
    settings = config.build(config.Pretrain, values)
    assert (
        run_length.fitted(settings, given, 1000, folder_of(settings)).optimizer.warmup_epochs
        == epochs
    )


def test_a_warm_up_that_was_asked_for_and_does_not_fit_is_refused():
    settings = config.build(config.Pretrain, dict(train_epochs=5, train_batch_size=100))
    asked = run_length.fitted(settings, {"warmup_epochs"}, 1000, folder_of(settings))
    with pytest.raises(SettingsError, match="lower --warmup_epochs"):
        length.resolve_steps(asked.training, asked.optimizer, 1000)


def test_a_run_keeps_the_warm_up_that_it_began_with(tmp_path):
    write_json(str(tmp_path / "config.json"), {"settings": {"warmup_epochs": 10.0}})
    settings = config.build(config.Pretrain, dict(train_epochs=20, model_dir=str(tmp_path)))
    assert (
        run_length.fitted(settings, (), 1000, folder_of(settings)).optimizer.warmup_epochs == 10.0
    )


@pytest.mark.parametrize(
    "values, given, minutes",
    [
        ({}, (), 3.0),
        (dict(checkpoint_steps=7), (), 0.0),
        (dict(checkpoint_epochs=1), ("checkpoint_epochs",), 0.0),
        (dict(keep_best="loss"), ("keep_best",), 0.0),
        (dict(checkpoint_steps=7, checkpoint_minutes=2.0), ("checkpoint_minutes",), 2.0),
    ],
)
def test_who_says_when_to_save_is_obeyed(values, given, minutes):
    assert length.as_asked(config.Training(**values), given).checkpoint_minutes == minutes


class Runner:
    """Counts steps of one minute."""

    model = None
    asynchronous = can_wait = False

    def __init__(self, clock):
        self.clock = clock

    def take_waited(self):
        return 0.0

    def run(self, count):
        self.clock[0] += 60.0 * count
        return count

    def take_metrics(self, step):
        return {}


@pytest.mark.parametrize("minutes, steps", [(0, [2, 4, 6, 8, 9]), (3, [4, 8, 9]), (60, [9])])
def test_checkpoints_are_minutes_apart_and_the_end_is_saved(monkeypatch, clock, minutes, steps):
    saved = []
    monkeypatch.setattr(loop, "_save", lambda model, checkpoints, step, last, regular: saved.append(step))  # fmt: skip
    lengths = length.Steps(total=9, warmup=0, per_epoch=2, checkpoint=2, log=9, peak_learning_rate=1.0)  # fmt: skip
    loop.train(Runner(clock), lengths, 0, None, [], NoFaults(), loop.Limits(spacing=Spacing(minutes)))  # fmt: skip
    assert saved == steps


def test_the_clock_of_the_chief_decides_for_all_workers(clock):
    class Group:
        count = 2

        def exchange(self, over):
            return np.array([[True], [over]])

    one = Spacing(5, Group())
    clock[0] = 1.0
    assert one.is_over()


def test_the_time_left_counts_neither_compiling_nor_earlier_runs(monkeypatch, clock):
    stream = io.StringIO()
    line = progress.Progress(100, 200, 64, stream=stream)
    monkeypatch.setattr(loop, "_save", lambda *args: None)
    lengths = length.Steps(total=200, warmup=0, per_epoch=50, checkpoint=100, log=50, peak_learning_rate=1.0)  # fmt: skip
    runner = Runner(clock)
    compiled = []

    def run(count):
        clock[0] += 1.0 * count + (0 if compiled else 600.0)
        compiled.append(count)
        return count

    runner.run = run
    left = []
    loop.train(
        runner, lengths, 100, None, [lambda step, logs: left.append(line.time_left(step))],
        NoFaults(), loop.Limits(), line,
    )  # fmt: skip
    assert stream.getvalue() == "compiling the first step ...\n"
    assert left == ["00:50", "00:00"]
