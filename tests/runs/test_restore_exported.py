"""A SavedModel of ours is as good a checkpoint as the run it came from."""

import shutil

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import embed as embedding
from simclr_tf.commands import export as export_run
from simclr_tf.commands import knn, linear_eval, pretrain
from simclr_tf.errors import DataError
from simclr_tf.runs import restore
from tests.training.test_pretraining import tiny


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(run folder, its SavedModel folder)."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    pretrain.run(tiny(folder, train_steps=2))
    settings = config.build(config.Export, {"checkpoint": str(folder)})
    export_run.run(settings, frozenset({"checkpoint"}))
    return folder, folder / "saved_model" / "2"


def test_weights_and_architecture_come_out_of_it(exported):
    folder, saved_model = exported
    want = restore.load_trained(str(folder))
    got = restore.load_trained(str(saved_model))
    assert (got.step, got.run_dir) == (2, str(folder))
    assert got.settings["width_multiplier"] == 0.125
    pairs = list(zip(want.encoder.weights, got.encoder.weights))
    assert len(pairs) > 50
    for a, b in pairs:
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_another_architecture_is_named(exported):
    with pytest.raises(DataError, match="--width_multiplier=1.0 differs"):
        restore.load_trained(str(exported[1]), {"width_multiplier": 1.0})


def of_both(exported, mode, run, tmp_path, **values):
    """What a mode returns for the run folder and for its SavedModel, moved away from the run."""
    folder, saved_model = exported
    moved = tmp_path / "elsewhere"
    shutil.copytree(saved_model, moved)
    found = []
    for number, checkpoint in enumerate((folder, moved)):
        given = {"checkpoint": str(checkpoint), "strategy": "default", **values}
        place = "output" if mode is config.Embed else "model_dir"
        given[place] = str(tmp_path / str(number))
        found.append(run(config.build(mode, given), frozenset(given)))
    return found


@pytest.mark.slow
@pytest.mark.current_stack
def test_knn_from_it_equals_knn_from_the_run(exported, tmp_path):
    want, got = of_both(exported, config.Knn, knn.run, tmp_path)
    assert sorted(got["rows"]) == ["h", "pixels", "untrained", "z1", "z2"]
    assert (got["rows"], got["encoder_sha256"]) == (want["rows"], want["encoder_sha256"])


@pytest.mark.slow
@pytest.mark.current_stack
def test_linear_evaluation_from_it_equals_that_of_the_run(exported, tmp_path):
    values = {"linear_form": "paper", "train_epochs": 1, "few_shot_draws": 1, "baselines": False}
    want, got = of_both(exported, config.LinearEval, linear_eval.run, tmp_path, **values)
    assert (got["top_1"], got["few_shot"]) == (want["top_1"], want["few_shot"])
    assert got["encoder_sha256"] == want["encoder_sha256"]


@pytest.mark.slow
@pytest.mark.one_stack
def test_embeddings_from_it_equal_those_of_the_run(exported, tmp_path):
    want, got = of_both(exported, config.Embed, embedding.run, tmp_path, split="test", embed_head=True)  # fmt: skip
    assert got["weights"] == want["weights"] and got["num_images"] == 360
    with np.load(tmp_path / "0/embeddings.npz") as a, np.load(tmp_path / "1/embeddings.npz") as b:
        for name in ("path", "h", "z"):
            np.testing.assert_array_equal(a[name], b[name])
