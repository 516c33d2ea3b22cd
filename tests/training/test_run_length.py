"""Which checkpoints a run keeps, and how a finished run is made longer."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import pretrain
from simclr_tf.errors import PreemptedError, SettingsError
from simclr_tf.optimizers import schedule
from simclr_tf.runs import extension, restore
from simclr_tf.runs.best import BestKeeper
from simclr_tf.runs.checkpoint_state import Saver
from simclr_tf.runs.checkpoints import latest_in
from simclr_tf.runs.files import read_json
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.selftest.resume import stored_values
from simclr_tf.stack import keras, tf
from simclr_tf.training import length
from tests.training.test_pretraining import light

STEPS = length.Steps(total=7, warmup=2, per_epoch=22, checkpoint=2, log=1, peak_learning_rate=1.0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("length") / "run"
    pretrain.run(light(folder, keep_best="loss", train_steps=6, keep_checkpoint_max=2))
    return folder


def test_the_best_checkpoint_outlives_the_newer_ones(finished):
    lines = [json.loads(x) for x in (finished / "metrics.jsonl").read_text().splitlines()]
    saved = {line["step"]: line["loss"] for line in lines if line["step"] % 2 == 0}
    best = read_json(str(finished / "best/best.json"))
    assert best == {"metric": "loss", "value": min(saved.values()), "step": min(saved, key=saved.get)}  # fmt: skip
    assert len(list((finished / "checkpoints").glob("*.index"))) == 2
    assert len(list((finished / "best").glob("*.index"))) == 1
    trained = restore.load_trained(str(finished / "best"), trust_code=True)
    assert trained.step == best["step"] and trained.run_dir == str(finished)


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_stop_makes_no_candidate_and_forgets_no_figure(tmp_path):
    """Saved at 3 and 6, logged at 2, 4 and 6; the other run is stopped after 1 and after 2."""
    settings = dict(keep_best="loss", train_steps=6, checkpoint_steps=3, log_steps=2)
    for folder, stops in ((tmp_path / "whole", 0), (tmp_path / "stopped", 2)):
        for _ in range(stops):
            with pytest.raises(PreemptedError):
                pretrain.run(light(folder, **settings, max_wall_minutes=1e-6))
            assert not (folder / "best").exists()
        pretrain.run(light(folder, **settings))
    found = [read_json(str(tmp_path / name / "best/best.json")) for name in ("whole", "stopped")]
    assert found[0].pop("value") == pytest.approx(found[1].pop("value"), rel=1e-5)
    assert found[0] == found[1]


def keeper(folder, metric="probe_top_1"):
    saver = Saver(tf.train.Checkpoint(x=tf.Variable(1.0)), str(folder), 1)
    return BestKeeper(saver, str(folder), metric)


def saved_steps(one, figures):
    """{step: figure, or None where none was logged} -> the steps that were kept, in order."""
    kept = []
    for step, figure in figures.items():
        if figure is not None:
            one.observe(step, {one.metric: figure})
        one.save(step)
        kept.append(int(tf.train.latest_checkpoint(os.path.dirname(one._path)).split("-")[-1]))
    return kept


def test_only_a_better_figure_replaces_the_best_and_a_resume_remembers_it(tmp_path):
    assert saved_steps(keeper(tmp_path), {1: 0.5, 2: 0.4, 3: None, 4: 0.6, 5: 0.6}) == [1, 1, 1, 4, 4]  # fmt: skip
    assert saved_steps(keeper(tmp_path), {5: 0.6, 6: 0.59, 7: 0.7}) == [4, 4, 7]
    assert saved_steps(keeper(tmp_path, "loss"), {8: 0.9, 9: 0.8, 10: 0.85}) == [8, 9, 9]


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(keep_best="knn_top_1"), "keep_best=knn_top_1 is not measured without knn_while"),
        (
            dict(keep_best="probe_top_1", lineareval_while_pretraining=False),
            "keep_best=probe_top_1 is not measured without lineareval_while_pretraining",
        ),
        (dict(keep_best="accuracy"), "keep_best=accuracy is not allowed"),
    ],
)
def test_a_figure_that_is_not_measured_is_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        config.Training(**changes)


def test_each_extension_is_one_more_round_of_the_schedule():
    steps = dataclasses.replace(STEPS, total=7 + 30 + 5, rounds=(30, 5))
    rate = length.learning_rate(steps)
    first, second, third = (schedule.WarmUpCosine(1.0, *n) for n in ((2, 7), (2, 30), (0, 5)))
    want = [*map(first, range(7)), *map(second, range(30)), *map(third, range(5)), 0.0]
    np.testing.assert_allclose([float(rate(s)) for s in range(43)], want, atol=1e-7)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert float(again(20)) == float(rate(20))
    compiled = tf.function(rate, jit_compile=True, autograph=False)
    assert float(compiled(tf.constant(38, tf.int64))) == pytest.approx(float(rate(38)))


@pytest.mark.slow
@pytest.mark.current_stack
def test_a_finished_run_is_extended_again_and_again(tmp_path, capsys):
    folder = tmp_path / "run"
    short = dict(train_steps=3, train_batch_size=700, log_steps=1)
    first = pretrain.run(light(folder, **short))
    assert first["step"] == 3
    shutil.copytree(folder, tmp_path / "other")
    longer = pretrain.run(light(folder, **short, extend_epochs=2))  # 2 steps an epoch
    assert longer["step"] == 7
    check_stopped_extension(tmp_path / "other", folder, **short, extend_epochs=2)
    assert pretrain.run(light(folder, **short, extend_epochs=2)) is None
    assert "step 7 of 7, nothing left to do" in capsys.readouterr().out
    assert pretrain.run(light(folder, **short, extend_epochs=3))["step"] == 9
    assert read_json(str(folder / "extensions.json")) == {"extend_epochs": [2, 3]}
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 10))
    rates = [line["learning_rate"] for line in lines]
    assert rates[2] == rates[6] == rates[8] == 0.0 and rates[3] > rates[4] > 0
    for less in (0, 1):
        with pytest.raises(SettingsError, match=f"extend_epochs={less} is less than the 3 epochs"):
            pretrain.run(light(folder, **short, extend_epochs=less))


def check_stopped_extension(folder, whole, **settings):
    """An extension that is stopped and started again ends like the one that was not."""
    with pytest.raises(PreemptedError, match="after step 4 of 7"):
        pretrain.run(light(folder, **settings, max_wall_minutes=1e-6))
    assert pretrain.run(light(folder, **settings))["step"] == 7
    ends = [stored_values(latest_in(str(path / "checkpoints"))) for path in (folder, whole)]
    assert ends[0].keys() == ends[1].keys()
    for key, value in ends[0].items():
        np.testing.assert_allclose(value, ends[1][key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_only_finished_runs_are_extended(tmp_path, finished):
    with pytest.raises(SettingsError, match="extend_epochs=2 continues a finished run and .* none"):
        pretrain.run(light(tmp_path / "new", extend_epochs=2))
    assert not (tmp_path / "new").exists()
    with pytest.raises(SettingsError, match="is at step 6 of 7; finish it by its own command"):
        extension.extended(RunFolder(str(finished)), 2, STEPS)
