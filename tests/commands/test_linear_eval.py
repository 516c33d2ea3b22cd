"""`--mode=linear_eval` end to end on a tiny run: figures, proof, settings, user mistakes."""

import dataclasses
import json
import os

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import linear_eval
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.evaluation import linear_protocol
from simclr_tf.evaluation.frozen import FrozenEncoderError
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json
from tests.tiny_run import images_in_folders, save_tiny_run

SHORT = {"train_epochs": 2, "train_batch_size": 100, "few_shot_draws": 2, "strategy": "default"}


def evaluate(**values):
    values = {**SHORT, **values}
    return linear_eval.run(config.build(config.LinearEval, values), frozenset(values))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def results(run_dir):
    return evaluate(checkpoint=run_dir)


@pytest.mark.current_stack
def test_results_hold_the_keys_that_scripts_use(results, run_dir):
    assert read_json(f"{run_dir}/linear_eval/results.json") == results
    assert results["mode"] == "linear_eval" and results["dataset"] == "digits"
    assert (results["num_train"], results["num_eval"], results["step"]) == (1437, 360, 7)
    assert list(results["few_shot"]) == ["1", "2", "5", "10"]
    assert 0 <= results["top_1"] <= results["top_5"] <= 1
    assert results["images_per_second"] > 0 and results["wall_seconds"] > 0


@pytest.mark.current_stack
def test_baselines_stand_on_the_same_splits_and_give_the_known_figures(results):
    pixels = results["baselines"]["pixels"]
    untrained = results["baselines"]["untrained"]
    assert pixels["few_shot"]["1"] == pytest.approx(0.57, abs=0.08)
    assert pixels["top_1"] > 0.6
    assert set(untrained) == set(pixels)
    assert untrained["few_shot"]["10"] > 0.3


@pytest.mark.current_stack
def test_the_table_names_every_row_and_the_proof(results, run_dir):
    with open(f"{run_dir}/linear_eval/results.md", encoding="utf-8") as file:
        text = file.read()
    for part in ("raw pixels", "untrained encoder", "SimCLR", results["encoder_sha256"]):
        assert part in text
    assert f"{results['top_1']:.3f}" in text


@pytest.mark.current_stack
def test_running_again_gives_the_same_figures(results, run_dir, tmp_path):
    again = evaluate(checkpoint=run_dir, baselines=False, model_dir=str(tmp_path / "again"))
    measured = ("wall_seconds", "images_per_second", "baselines")
    assert {k: v for k, v in again.items() if k not in measured} == {
        k: v for k, v in results.items() if k not in measured
    }


@pytest.mark.current_stack
def test_settings_that_are_not_given_come_from_the_pretraining(results, run_dir):
    with open(f"{run_dir}/linear_eval/config.json", encoding="utf-8") as file:
        settings = json.load(file)["settings"]
    assert settings["image_size"] == 16 and settings["resnet_depth"] == 10
    assert settings["flip"] is False and settings["crop_area_min"] == 0.25  # not the defaults
    assert settings["train_epochs"] == 2


def test_classifiers_see_crops_and_flips_only(run_dir):
    trained = restore.load_trained(run_dir)
    given = {"flip": True, "crop_area_min": 0.5, "checkpoint": run_dir}
    resolved, views = linear_eval.resolve(
        config.build(config.LinearEval, given), trained, frozenset(given)
    )
    assert views == dataclasses.replace(
        config.Views(), flip=True, crop_area_min=0.5, color_jitter_strength=0.0, use_blur=False
    )
    assert resolved.protocol.flip is True


@pytest.mark.current_stack
def test_a_grid_is_trained_in_the_same_pass_and_leaves_the_first_classifier_alone(
    results, run_dir, tmp_path
):
    got = evaluate(
        checkpoint=run_dir, model_dir=str(tmp_path / "grid"), linear_form="paper", baselines=False,
        grid_learning_rates="3,30", grid_weight_decays="0,0.01",
    )  # fmt: skip
    pairs = [(one["learning_rate"], one["weight_decay"]) for one in got["grid"]]
    assert pairs == [(0.1, 0.0), (3.0, 0.0), (3.0, 0.01), (30.0, 0.0), (30.0, 0.01)]
    assert got["grid"][0]["top_1"] == got["top_1"] == pytest.approx(results["top_1"], abs=0.01)
    assert len({one["top_1"] for one in got["grid"]}) > 2
    with pytest.raises(SettingsError, match="grid_learning_rates=fast is not a list"):
        evaluate(checkpoint=run_dir, grid_learning_rates="fast", dry_run=True)


@pytest.mark.one_stack
def test_an_encoder_that_changes_fails_the_run(run_dir, tmp_path, monkeypatch):
    trained_for_real = linear_protocol.train_classifiers

    def updates_statistics(trainer, *arguments, **keywords):
        trained_for_real(trainer, *arguments, **keywords)
        encoder = encoders.pop()
        encoder(np.zeros([2, 16, 16, 3], np.float32), training=True)

    encoders = []
    load = restore.load_trained

    def remember(*arguments):
        trained = load(*arguments)
        encoders.append(trained.encoder)
        return trained

    monkeypatch.setattr(linear_protocol, "train_classifiers", updates_statistics)
    monkeypatch.setattr(restore, "load_trained", remember)
    with pytest.raises(FrozenEncoderError):
        evaluate(checkpoint=run_dir, model_dir=str(tmp_path / "out"), baselines=False)
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(run_dir, tmp_path, capsys):
    assert evaluate(checkpoint=run_dir, model_dir=str(tmp_path / "out"), dry_run=True) is None
    printed = capsys.readouterr().out
    assert "29 (2 epochs)" in printed and "1,437 training, 360 evaluation" in printed
    assert "0.00598 GB of main memory" in printed  # 1797 x (32 + 32 + 768) x 4 bytes
    assert not (tmp_path / "out").exists()


@pytest.mark.current_stack
def test_own_images_smaller_than_a_batch_and_prime_in_number(run_dir, tmp_path):
    images_in_folders(tmp_path / "pictures", {"bars": 11, "dots": 10, "rings": 8})
    got = evaluate(
        checkpoint=run_dir, image_dir=str(tmp_path / "pictures"), model_dir=str(tmp_path / "out"),
        eval_batch_size=7, baselines=False,
    )  # fmt: skip
    assert got["num_train"] + got["num_eval"] == 29
    assert got["num_classes"] == 3 and got["top_5"] == 1.0
    assert set(got["few_shot"]) <= {"1", "2", "5"}


def test_images_without_labels_are_refused(run_dir, tmp_path):
    images_in_folders(tmp_path / "pictures", {"": 12})
    with pytest.raises(DataError, match="no labels"):
        evaluate(checkpoint=run_dir, image_dir=str(tmp_path / "pictures"))


def test_another_architecture_is_refused_by_name(run_dir):
    with pytest.raises(DataError, match="resnet_depth=34"):
        evaluate(checkpoint=run_dir, resnet_depth=34)


def test_the_folder_of_the_pretraining_is_not_overwritten(run_dir):
    with pytest.raises(SettingsError, match="holds a pretrain run"):
        evaluate(checkpoint=run_dir, model_dir=run_dir)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no checkpoint|does not exist"):
        evaluate(checkpoint=str(tmp_path))


@pytest.mark.slow
@pytest.mark.current_stack
def test_a_finished_evaluation_says_so_and_a_lost_table_is_made_again(results, run_dir, capsys):
    assert evaluate(checkpoint=run_dir) == results
    said = capsys.readouterr().out
    assert "nothing left to do" in said and f"{results['top_1']:.3f}" in said
    path = f"{run_dir}/linear_eval/confusion.csv"
    os.remove(path)
    again = evaluate(checkpoint=run_dir)
    assert os.path.exists(path) and again["top_1"] == results["top_1"]
    assert "nothing left to do" not in capsys.readouterr().out
