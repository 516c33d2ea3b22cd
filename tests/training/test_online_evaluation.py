"""Evaluation during pretraining: the probe and k-NN leave the encoder's weights alone."""

import json

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import pretrain
from simclr_tf.errors import DataError
from simclr_tf.runs import restore
from tests.tiny_run import images_in_folders
from tests.training.test_pretraining import TINY

SETTINGS = {**TINY, "train_steps": 5, "train_batch_size": 479}


def trained(folder, **values):
    settings = {**SETTINGS, "width_multiplier": 0.0625, "model_dir": str(folder), **values}
    results = pretrain.run(config.build(config.Pretrain, settings))
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return restore.load_trained(str(folder)), results, [json.loads(line) for line in lines]


@pytest.mark.one_stack
def test_weights_are_identical_with_and_without(tmp_path):
    bare, _, _ = trained(tmp_path / "bare", lineareval_while_pretraining=False)
    watched, results, lines = trained(tmp_path / "watched", knn_while_pretraining=1)
    assert len(bare.encoder.variables) == len(watched.encoder.variables)
    for part in ("encoder", "head"):
        for a, b in zip(getattr(bare, part).variables, getattr(watched, part).variables):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert [("knn_top_1" in line) for line in lines] == [False, False, True, False, False]
    assert 0.1 < lines[2]["knn_top_1"] <= 1 and "probe_top_1" in lines[2]
    assert "knn_top_1" not in results  # of the last logged interval only


def test_images_without_labels_are_refused(tmp_path):
    images_in_folders(tmp_path / "flat", {"": 40})
    with pytest.raises(DataError, match="no labels, which --knn_while_pretraining needs"):
        trained(
            tmp_path / "run", image_dir=str(tmp_path / "flat"), train_batch_size=8,
            knn_while_pretraining=1,
        )  # fmt: skip
