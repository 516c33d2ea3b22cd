"""Warnings about runs that do not learn, and the limit on wall time."""

import math

import pytest

from simclr_tf.distribution import stopping
from simclr_tf.errors import PreemptedError
from simclr_tf.training import loop
from simclr_tf.training.health import (
    ABOVE,
    EARLY,
    PATIENCE,
    YOUNG,
    HealthWatch,
    ViewsTooStrong,
    schedule_warning,
    weaken_words,
)
from simclr_tf.training.length import Steps

HEALTHY = {
    "loss": 2.0,
    "negative_similarity": 0.1,
    "positive_similarity": 0.8,
    "alignment": 0.4,
    "uniformity": -3.0,
    "effective_rank": 30.0,
}


@pytest.fixture
def warnings_of(caplog):
    """Function that shows the same logs again and again and returns the warnings as text."""

    def show(logs, count=YOUNG + 3 * PATIENCE, chance=math.log(511), warmup=0):
        caplog.clear()
        watch = HealthWatch(chance, warmup)
        for step in range(1, count + 1):
            watch.look(step, {**HEALTHY, **logs})
        return caplog.text

    return show


@pytest.mark.parametrize(
    "logs, text",
    [
        ({"loss": math.log(511) - 0.01}, "the loss stays at 6.2"),
        ({"negative_similarity": 0.995}, "mean cosine of 0.995 (uniformity -3.000), they collapse"),
        ({"positive_similarity": 0.1}, "cosine of 0.100 (alignment 0.400), no more than those"),
        ({"effective_rank": 1.2}, "effective rank of h is 1.20, the representation collapses"),
    ],
)
def test_each_symptom_is_named_once(warnings_of, logs, text):
    said = warnings_of(logs)
    assert said.count("at step") == 1 and f"at step {YOUNG + PATIENCE}:" in said
    assert text in said
    assert not warnings_of(logs, count=YOUNG + PATIENCE - 1)
    assert f"at step {150 + PATIENCE}:" in warnings_of(logs, count=200, warmup=150)


def test_health_is_silent(warnings_of, caplog):
    assert not warnings_of({})
    assert not warnings_of({"loss": math.log(511)}, chance=None)
    assert not warnings_of({"loss": 0.5}, chance=0.8)
    watch = HealthWatch(math.log(511), 0)
    for step in range(1, 200):  # never PATIENCE times in a row
        sick = step % PATIENCE != 0
        watch.look(step, {**HEALTHY, "loss": math.log(511) if sick else 2.0})
        watch.look(step, {"non_finite_steps": 5.0})  # all skipped: nothing to look at
    assert not caplog.text


def test_a_loss_above_chance_is_said_soon_with_the_flags_to_change(warnings_of):
    said = warnings_of({"loss": math.log(511) + 0.4})
    assert f"at step {YOUNG + ABOVE}: the loss 6.6" in said and said.count("views too strong") == 1
    assert not warnings_of({"loss": math.log(511) + 0.4}, count=YOUNG + ABOVE - 1)


def test_only_what_makes_the_views_strong_is_advised_against(caplog):
    strong = {"crop_area_min": 0.08, "color_jitter_strength": 1.0, "use_blur": False}
    watch = HealthWatch(9.0, 0, weaken=weaken_words(strong))
    watch.look(EARLY, {**HEALTHY, "contrastive_accuracy": 0.1})
    assert "raise --crop_area_min to 0.4, lower --color_jitter_strength" in caplog.text
    assert weaken_words({"crop_area_min": 0.2, "color_jitter_strength": 0.0}) == (
        "raise --crop_area_min to 0.4"
    )
    assert "color" not in weaken_words({"crop_area_min": 0.5, "color_jitter_strength": 0.0})


def test_views_that_are_hardly_told_apart_are_said_at_step_200(warnings_of):
    assert not warnings_of({"contrastive_accuracy": 0.1}, count=EARLY - 1)
    said = warnings_of({"contrastive_accuracy": 0.1}, count=2 * EARLY)
    assert f"at step {EARLY}: the contrastive accuracy is 0.100" in said
    assert said.count("views too strong") == 1
    assert not warnings_of({"contrastive_accuracy": 0.3}, count=2 * EARLY)
    assert not warnings_of({"contrastive_accuracy": 0.1}, count=2 * EARLY, warmup=3 * EARLY)


def test_the_accuracy_is_not_judged_in_large_batches_or_behind_the_early_steps(caplog):
    sick = {**HEALTHY, "contrastive_accuracy": 0.1}
    for watch in (HealthWatch(9.0, 0, batch=4096), HealthWatch(9.0, 0, start=EARLY)):
        for step in range(EARLY, EARLY + 50):
            watch.look(step, sick)
    assert not caplog.text


def test_a_run_that_may_start_again_is_ended_instead(caplog):
    watch = HealthWatch(9.0, 0, may_restart=True)
    with pytest.raises(ViewsTooStrong, match=f"at step {EARLY}: the contrastive accuracy is 0.1"):
        for step in range(1, 2 * EARLY):
            watch.look(step, {**HEALTHY, "contrastive_accuracy": 0.1})
    assert not caplog.text


def test_a_schedule_that_ends_inside_its_warm_up_is_told():
    assert "takes 325 of 326 steps" in schedule_warning(325, 326)
    assert "lower --warmup_epochs" in schedule_warning(200, 326)
    assert not schedule_warning(32, 326)


class Runner:
    """Counts steps; every step takes ten minutes of a clock that is turned by hand."""

    def __init__(self, clock):
        self.clock = clock
        self.steps = 0

    def run(self, count):
        self.steps += count
        self.clock[0] += 600.0 * count
        return count

    def take_metrics(self, step):
        return {"step": step}


class NoFaults:
    """A FaultWatch of a run in which nothing goes wrong."""

    def look(self, step, saving):
        pass


def test_the_time_limit_saves_within_one_step(monkeypatch):
    clock = [0.0]
    saved = []
    monkeypatch.setattr(stopping.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(loop, "_save", lambda *arguments: saved.append(arguments[2:]))
    runner = Runner(clock)
    runner.model = None
    steps = Steps(total=100, warmup=0, per_epoch=10, checkpoint=50, log=1, peak_learning_rate=1.0)
    with pytest.raises(PreemptedError, match="by --max_wall_minutes=25 after step 3 of 100"):
        loop.train(runner, steps, 0, None, [], NoFaults(), loop.Limits(1, loop.StopRequest(25.0)))
    assert saved == [(3, False, False)] and runner.steps == 3  # neither the last nor a regular one
    assert loop.train(runner, steps, 98, None, [], NoFaults())["step"] == 100
    assert saved[1:] == [(100, True, True)]
