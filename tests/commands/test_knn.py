"""`--mode=knn` end to end on a tiny run."""

import pytest

from simclr_tf import config
from simclr_tf.commands import knn
from simclr_tf.errors import DataError
from simclr_tf.runs.files import read_json
from tests.tiny_run import images_in_folders, save_tiny_run


def evaluate(**values):
    values = {"strategy": "default", **values}
    return knn.run(config.build(config.Knn, values), frozenset(values))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"))


def test_every_layer_and_baseline_has_a_row(run_dir, capsys):
    results = evaluate(checkpoint=run_dir)
    assert sorted(results["rows"]) == ["h", "pixels", "untrained", "z1", "z2"]
    assert results["knn_top_1"] == results["rows"]["h"]["top_1"]
    assert results["rows"]["pixels"]["top_1"] > 0.95  # known of k-NN on the pixels of the digits
    assert read_json(f"{run_dir}/knn/results.json") == results
    printed = capsys.readouterr().out
    assert "head layer 2" in printed and "neighbours  20, temperature 0.07" in printed


def test_a_bank_smaller_than_k_votes_as_a_whole(run_dir, tmp_path):
    images_in_folders(tmp_path / "pictures", {"bars": 9, "dots": 8})
    results = evaluate(
        checkpoint=run_dir, image_dir=str(tmp_path / "pictures"), model_dir=str(tmp_path / "out")
    )
    assert results["knn_k"] == results["num_train"] < 20
    assert results["num_train"] + results["num_eval"] == 17


def test_images_without_labels_are_refused(run_dir, tmp_path):
    images_in_folders(tmp_path / "pictures", {"": 12})
    with pytest.raises(DataError, match="no labels.*one folder per class"):
        evaluate(checkpoint=run_dir, image_dir=str(tmp_path / "pictures"))
