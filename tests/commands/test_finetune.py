"""`--mode=finetune` end to end on a tiny run: shares, layers, freezing, resuming, replicas."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import finetune, finetune_start, finetune_text
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json
from simclr_tf.stack import tf
from simclr_tf.training import length, supervised_run
from simclr_tf.training.gradient_cache import batch_norms
from simclr_tf.training.supervised_model import build_model
from tests.tiny_run import SETTINGS, images_in_folders, save_tiny_run

SHORT = {"train_steps": 4, "train_batch_size": 16, "label_fraction": 0.05, "strategy": "default"}


def tune(**values):
    values = {**SHORT, **values}
    return finetune.run(config.build(config.Finetune, values), frozenset(values))


def started(**values):
    values = {**SHORT, **values}
    return finetune_start.find(config.build(config.Finetune, values), frozenset(values))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def results(run_dir):
    return tune(checkpoint=run_dir, supervised_baseline=True)


@pytest.mark.current_stack
def test_the_table_has_all_rows_and_the_number_of_labels(results, run_dir):
    folder = f"{run_dir}/finetune/5pct"
    assert read_json(f"{folder}/results.json") == results
    assert list(results["rows"]) == ["untrained", "frozen", "supervised", "fine_tuned"]
    assert results["num_labels"] == 72 and results["num_train"] == 1437
    for figures in results["rows"].values():
        low, high = figures["top_1_interval"]
        assert 0 <= low <= figures["top_1"] <= high <= 1
    with open(f"{folder}/results.md", encoding="utf-8") as file:
        text = file.read()
    assert "72 of 1437 training labels used" in text
    for words in finetune_text.TITLES.values():
        assert words in text
    with open(f"{folder}/confusion.csv", encoding="utf-8") as file:
        rows = [line.split(",") for line in file.read().splitlines()]
    counts = np.array([row[1:] for row in rows[1:]], int)
    assert counts.sum() == 360 and np.trace(counts) == round(results["top_1"] * 360)


@pytest.mark.current_stack
def test_running_it_again_has_nothing_left_to_do(results, run_dir, capsys):
    assert tune(checkpoint=run_dir, supervised_baseline=True) == results
    assert "nothing left to do" in capsys.readouterr().out


@pytest.mark.current_stack
def test_all_weights_are_trained_from_those_of_the_checkpoint(results, run_dir):
    before = restore.load_trained(run_dir)
    after = restore.load_trained(f"{run_dir}/finetune/5pct")
    assert after.step == 4 and after.probe is not None and after.settings["resnet_depth"] == 10
    moved = [
        np.abs(a.numpy() - b.numpy()).max()
        for a, b in zip(before.encoder.trainable_variables, after.encoder.trainable_variables)
    ]
    # behind a zero scale the first steps are below float32's resolution for some tensors
    assert np.mean(np.array(moved) > 0) > 0.8 and max(moved) < 1
    assert results["encoder_sha256_before"] == results["rows"]["frozen"]["encoder_sha256"]


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_resumed_run_equals_the_uninterrupted_one(run_dir, tmp_path, monkeypatch):
    settings = dict(checkpoint=run_dir, baselines=False, checkpoint_steps=2, log_steps=1)
    whole = tune(**settings, model_dir=str(tmp_path / "whole"))

    def stop(runner, steps, start, *others):
        limit = length.Steps(**{**vars(steps), "total": 2})
        train(runner, limit, start, *others)
        raise KeyboardInterrupt

    train = supervised_run.train
    monkeypatch.setattr(supervised_run, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        tune(**settings, model_dir=str(tmp_path / "halves"))
    monkeypatch.undo()
    halves = tune(**settings, model_dir=str(tmp_path / "halves"))
    assert halves["top_1"] == whole["top_1"]
    (tmp_path / "halves" / "results.md").unlink()  # as a kill between two files leaves it
    again = tune(**settings, model_dir=str(tmp_path / "halves"))
    assert again["top_1"] == whole["top_1"] and (tmp_path / "halves" / "results.md").exists()
    assert tune(**settings, model_dir=str(tmp_path / "halves")) == again  # now it is finished
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "halves")]
    assert logs[0] == logs[1] and logs[0].count("\n") == 4


def model_of(run_dir, **values):
    start = started(checkpoint=run_dir, **values)
    steps = length.resolve_steps(start.config.training, start.config.optimizer, 300, whole=False)
    return build_model(start.config, start.encoder, start.head, 10, steps), start


def trained_names(model):
    return len(model.encoder.trainable_variables), len(model.head.trainable_variables)


@pytest.mark.parametrize("after, share", [(-1, 39), (0, 36), (2, 18), (3, 9), (4, 0)])
def test_blocks_are_frozen_up_to_the_given_one(run_dir, after, share):
    model, _ = model_of(run_dir, fine_tune_after_block=after)
    assert trained_names(model) == (share, 0)
    images = np.random.default_rng(0).random((4, 16, 16, 3), np.float32)
    stem = [v.numpy() for v in model.encoder.stem.variables]
    model(images, training=True)
    same = [np.array_equal(a, b.numpy()) for a, b in zip(stem, model.encoder.stem.variables)]
    assert all(same) == (after >= 0)  # frozen BatchNormalization keeps its averages


@pytest.mark.parametrize(
    "selector, width, trained", [(0, 32, 0), (1, 32, 3), (2, 8, 5), (-1, 8, 5)]
)
def test_the_classifier_stands_on_the_selected_layer(run_dir, selector, width, trained):
    model, start = model_of(run_dir, ft_proj_selector=selector)
    assert model.probe.dense.kernel.shape == [width, 10]
    assert trained_names(model)[1] == trained
    images = np.random.default_rng(0).random((4, 16, 16, 3), np.float32)
    layer = start.head.outputs(start.encoder(images, training=False), training=False)[selector]
    want = layer.numpy() @ model.probe.dense.kernel.numpy() + model.probe.dense.bias.numpy()
    np.testing.assert_allclose(model(images, training=False), want, rtol=1e-4, atol=1e-5)


@pytest.mark.current_stack
def test_a_run_on_a_layer_of_the_head_can_be_loaded(run_dir, tmp_path):
    folder = str(tmp_path / "z1")
    tune(checkpoint=run_dir, ft_proj_selector=-1, baselines=False, model_dir=folder, train_steps=1)
    trained = restore.load_trained(folder)
    assert trained.settings["ft_proj_selector"] == trained.head.depth == 2
    assert trained.probe.dense.kernel.shape == [8, 10]


@pytest.mark.parametrize("batch, decay", [(16, 0.9), (1, 1 - 10 / 300)])
def test_averages_decay_by_the_rule_of_the_paper(run_dir, batch, decay):
    model, _ = model_of(run_dir, train_batch_size=batch)
    assert {norm.momentum for norm in batch_norms(model.encoder, model.head)} == {decay}
    model, _ = model_of(run_dir, train_batch_size=batch, bn_decay_rule=False)
    assert {norm.momentum for norm in batch_norms(model.encoder, model.head)} == {0.9}


def test_crop_and_flip_are_those_of_the_pretraining_colour_and_blur_are_asked_for(run_dir):
    views = started(checkpoint=run_dir).config.views
    assert (views.crop_area_min, views.flip) == (0.25, False)
    assert (views.color_jitter_strength, views.use_blur, views.rotate_degrees) == (0.0, False, 0.0)
    views = started(checkpoint=run_dir, color_jitter_strength=0.5, use_blur=True).config.views
    assert (views.color_jitter_strength, views.use_blur) == (0.5, True)


@pytest.mark.slow
@pytest.mark.current_stack
def test_scratch_has_random_weights_of_the_same_architecture(run_dir, tmp_path):
    start = started(checkpoint=run_dir, init="scratch")
    assert start.scratch and start.config.model.width_multiplier == 0.0625
    other = started(checkpoint=run_dir, init="scratch", seed=5)
    assert start.sha256 != other.sha256
    results = tune(init="scratch", model_dir=str(tmp_path / "s"), **{
        name: value for name, value in SETTINGS.items() if name not in ("use_blur",)
    })  # fmt: skip
    assert list(results["rows"]) == ["untrained", "supervised"]
    assert results["init"] == "random weights"


def test_lars_takes_the_decay_of_the_classifier_into_the_loss(run_dir):
    model, _ = model_of(run_dir, optimizer="lars", weight_decay=0.1)
    kernel = model.probe.dense.kernel
    want = 0.05 * float(tf.reduce_sum(kernel**2))
    assert float(model._penalty()) == pytest.approx(want, rel=1e-5)
    assert model.optimizer._is_excluded(kernel)


@pytest.mark.slow
@pytest.mark.current_stack
def test_own_images_few_and_prime_in_number(run_dir, tmp_path):
    images_in_folders(tmp_path / "pictures", {"bars": 11, "dots": 10, "rings": 10})
    got = tune(
        checkpoint=run_dir, image_dir=str(tmp_path / "pictures"), label_fraction=0.2,
        model_dir=str(tmp_path / "out"), eval_batch_size=4, train_steps=2,
    )  # fmt: skip
    assert got["num_train"] + got["num_eval"] == 31 and got["num_labels"] == 6
    counts = (tmp_path / "out" / "confusion.csv").read_text().splitlines()
    assert counts[0].endswith("bars,dots,rings")


@pytest.mark.parametrize(
    "values, error, words",
    [
        ({}, SettingsError, "neither --checkpoint nor --init"),
        ({"init": "scratch"}, SettingsError, "model_dir is not given"),
        ({"init": "a", "checkpoint": "b"}, SettingsError, "two starting points"),
        ({"ft_proj_selector": 3}, SettingsError, "head has 2 layers"),
        ({"init": "nowhere"}, DataError, "does not exist"),
    ],
)
def test_contradictions_are_refused(run_dir, values, error, words):
    given = values if values == {} or "init" in values else {"checkpoint": run_dir, **values}
    with pytest.raises(error, match=words):
        tune(**given)


def test_a_dry_run_prints_the_plan_and_writes_nothing(run_dir, tmp_path, capsys):
    assert tune(checkpoint=run_dir, model_dir=str(tmp_path / "o"), dry_run=True) is None
    assert "labels used" in capsys.readouterr().out and not (tmp_path / "o").exists()


@pytest.mark.current_stack
def test_a_subset_of_imagenet_passes_through(run_dir, capsys):
    tune(
        init="scratch", dataset="imagenet2012_subset/1pct", label_fraction=1.0, dry_run=True,
        width_multiplier=0.0625, train_batch_size=4096, train_epochs=60, train_steps=0,
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert "12,811 training, 50,000 evaluation" in printed and "peak 0.8, momentum" in printed
    assert "188 (3 per epoch)" in printed
