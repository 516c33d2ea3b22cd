"""Steps whose loss or gradients are NaN: left out without a trace, or the end of the run."""

import json

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import pretrain
from simclr_tf.data import sources
from simclr_tf.errors import DivergedError
from simclr_tf.models import non_finite
from simclr_tf.models.simclr import SimCLR
from simclr_tf.optimizers.table import make_optimizer
from simclr_tf.runs.checkpoints import Checkpoints
from simclr_tf.stack import tf
from simclr_tf.training import faults, replay
from simclr_tf.training.gradient_cache import GradientCache
from simclr_tf.training.loop import StepRunner
from simclr_tf.views import multi_crop
from tests.training import test_gradient_cache as parts
from tests.training.test_pretraining import tiny

POISON = 3  # the id of the image that makes a step go wrong


def batches(poisoned):
    """One batch per element of `poisoned`; rows of the last half, so one replica of two, differ."""
    for number, bad in enumerate(poisoned):
        batch = {**parts.batch_of(), "id": tf.range(100, 100 + parts.BATCH, dtype=tf.int64)}
        ids = tf.concat([batch["id"][:-1], [POISON if bad else 99]], 0)
        yield {**batch, "images": batch["images"] + tf.cast(number, tf.uint8), "id": ids}


def views_of(batch):
    views = parts.views_of(batch)
    bad = tf.where(batch["id"] == POISON, np.float32(np.nan), 0.0)[:, None, None, None]
    return views + tf.tile(bad, [views.shape[0] // bad.shape[0], 1, 1, 1])


def prepared(poisoned, strategy=None, form="plain", skip=True):
    """A SimCLR and the runner of its steps; form: plain, jit, cached or cached_jit."""
    strategy = strategy or tf.distribute.get_strategy()
    settings = config.Optimizer(ema_momentum=0.5)  # LARS with momentum and averages
    with strategy.scope():
        base = parts.build(parts.SmoothEncoder)
        model = SimCLR(base.encoder, base.head, base.contrastive_loss, views_of, base.probe)
        model.compile(optimizer=make_optimizer(settings, 0.1))
        model.optimizer.build(model.trainable_variables)
    model.skips_non_finite = skip
    rows = parts.ROWS // strategy.num_replicas_in_sync
    jit = "jit" in form
    cache = None
    if "cached" in form:
        cache = GradientCache(
            model,
            strategy,
            micro_batches=parts.PARTS,
            num_views=2,
            rows=rows,
            z_dim=parts.Z_DIM,
            jit_compile=jit,
        )
    structure = tf.nest.map_structure(tf.TensorSpec.from_tensor, next(batches([False])))
    dataset = tf.data.Dataset.from_generator(lambda: batches(poisoned), output_signature=structure)
    return model, StepRunner(model, strategy, dataset, jit, cache)


def values_of(model):
    """All numbers of a model but those that count steps: weights, slots, averages, figures."""
    slots = [v for v in model.optimizer.variables if "iteration" not in v.name]
    counted = [m for m in model.metrics if m.name != "non_finite_steps"]
    trained = [v for part in (model.encoder, model.head, model.probe) for v in part.variables]
    everything = [*trained, *slots, *(v for m in counted for v in m.variables)]
    return [np.array(tf.convert_to_tensor(v)) for v in everything if "learning_rate" not in v.name]


def assert_skips(model, runner):
    """A good step, two that go wrong, and a good one again."""
    runner.run(1)
    want = values_of(model)
    assert len(want) > 50 and all(np.isfinite(value).all() for value in want)
    runner.run(1), runner.run(1)
    for before, after in zip(want, values_of(model)):
        np.testing.assert_array_equal(after, before)
    count = model.running["non_finite_steps"]
    parts_of = (count.result(), count.first, count.in_a_row, model.optimizer.iterations)
    assert [int(value.numpy()) for value in parts_of] == [2, 2, 2, 3]
    runner.run(1)
    changed = [(before != after).any() for before, after in zip(want, values_of(model))]
    assert sum(changed) > 0.9 * len(changed)
    assert [int(v.numpy()) for v in (count.total, count.longest, count.in_a_row)] == [2, 2, 0]


@pytest.mark.parametrize(
    "form",
    [
        "plain",
        pytest.param("jit", marks=pytest.mark.slow),
        "cached",
        pytest.param("cached_jit", marks=pytest.mark.slow),
    ],
)
def test_a_skipped_step_leaves_no_trace(form):
    assert_skips(*prepared([False, True, True, False], form=form))


@pytest.mark.parametrize("form", ["plain", pytest.param("cached", marks=pytest.mark.slow)])
def test_one_bad_replica_is_enough(two_replicas, form):
    assert_skips(*prepared([False, True, True, False], two_replicas, form))


def test_without_skipping_the_step_is_counted_and_taken():
    model, runner = prepared([False, True, False], skip=False)
    for _ in range(3):
        runner.run(1)
    count = model.running["non_finite_steps"]
    assert int(count.first) == 2 and int(count.result()) == 2  # NaN weights spoil the third
    count.reset_state()
    assert [int(v) for v in (count.result(), count.first, count.total)] == [0, 0, 2]


def test_a_loss_that_is_finite_does_not_hide_its_gradients():
    w = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        loss = tf.sqrt(w)
    gradient = tape.gradient(loss, w)
    assert bool(non_finite.is_wrong(loss, [tf.ones(3), gradient]))
    assert not bool(non_finite.is_wrong(loss, [tf.ones(3)]))
    assert bool(non_finite.is_wrong(tf.constant(np.nan), [tf.ones(3)]))
    assert not bool(non_finite.is_wrong(loss, [gradient], tf.constant(2.0)))
    assert bool(non_finite.is_wrong(loss, [gradient], tf.constant(1.0)))


def poisoned_run(monkeypatch, folder, step, **changes):
    """A tiny run whose batch of `step` has an image that becomes NaN; returns it and that id."""
    settings = tiny(folder, encoder="tests.tiny_encoder:encoder", train_steps=8, **changes)
    source = sources.open_source(settings.data, "train", 0)
    bad = replay.examples_of_step(source, 0, 64, step)[0][5]
    plain = multi_crop.make_views

    def make_views(*args, **options):
        make = plain(*args, **options)

        def poisoned(batch):
            here = tf.reduce_any(batch["id"] == bad)
            return make(batch) + tf.where(here, np.float32(np.nan), 0.0)

        return poisoned

    monkeypatch.setattr(multi_crop, "make_views", make_views)
    return settings


@pytest.mark.one_stack
def test_a_run_skips_a_step_and_says_so(tmp_path, monkeypatch, caplog):
    settings = poisoned_run(monkeypatch, tmp_path / "run", 5, on_nan="skip")
    results = pretrain.run(settings)
    assert results["skipped_steps"] == 1 and np.isfinite(results["loss"])
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["non_finite_steps"] for line in lines] == [0, 0, 0, 0, 1, 0, 0, 0]
    assert set(lines[4]) == {"step", "non_finite_steps", "learning_rate"}
    assert "1 of 8 steps were skipped" in caplog.text
    assert "the first of them step 5, example ids" in caplog.text


@pytest.mark.current_stack
def test_a_run_stops_and_names_the_step_and_the_examples(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    settings = poisoned_run(monkeypatch, folder, 5, log_steps=4, checkpoint_steps=4)
    with pytest.raises(DivergedError) as caught:
        pretrain.run(settings)
    text = str(caught.value)
    record = json.loads((folder / "diverged.json").read_text())
    monkeypatch.undo()
    want = replay.views_of_step(str(folder), 5)["id"].numpy()
    assert record["step"] == 5 and record["example_ids"] == list(want)
    assert record["names"][0] == f"digits example {want[0]}"
    ids = ", ".join(str(i) for i in want[:8])
    assert f"at step 5, example ids {ids} and 56 more (all in {folder}/diverged.json)" in text
    assert f"last good checkpoint: {folder}/checkpoints/ckpt-4;" in text
    assert "--on_nan=skip" in text and "\n" not in text and caught.value.exit_code == 4


class Folder:
    """A folder that keeps what is written to it out of the way."""

    def __init__(self, place):
        self.place = place

    def join(self, name):
        return str(self.place / name)


def test_too_many_skipped_steps_in_a_row_end_the_run(tmp_path):
    model, _ = prepared([])
    checkpoints = Checkpoints(str(tmp_path / "checkpoints"), model, 1)
    watch = faults.FaultWatch(model, checkpoints, Folder(tmp_path), lambda step: ([step], ["it"]))
    count = model.running["non_finite_steps"]
    for step in range(1, faults.MOST_IN_A_ROW):
        count.update_state(True, step)
    watch.look(19, saving=True)
    count.reset_state()  # as after a logged line
    count.update_state(True, 20)
    with pytest.raises(DivergedError, match="20 steps in a row, .* step 20, example ids 20 "):
        watch.look(20, saving=False)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model, _ = prepared([])
    checkpoints = Checkpoints(str(tmp_path / "checkpoints"), model, 1)
    watch = faults.FaultWatch(model, checkpoints, Folder(tmp_path), lambda step: ([step], ["it"]))
    model.trainable_variables[0].assign(model.trainable_variables[0] + np.inf)
    watch.look(7, saving=False)
    with pytest.raises(DivergedError, match="weights became NaN or infinite at or before step 7"):
        watch.look(7, saving=True)
