"""`--mode=transfer` end to end on a tiny run: linear, grid, resuming, tables."""

import json

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.training import transfer, transfer_grid
from simclr_tf.training.finetune_job import Outcome
from tests.tiny_run import images_in_folders, save_tiny_run

SHORT = {
    "strategy": "default", "max_iterations": 20, "permutations": 1000, "train_steps": 2,
    "train_batch_size": 8, "eval_batch_size": 64,
}  # fmt: skip


def measure(**values):
    values = {**SHORT, **values}
    return transfer.run(config.build(config.Transfer, values), frozenset(values))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "photos"
    images_in_folders(folder, {"bars": 21, "dots": 20, "rings": 20})
    return folder


def test_linear_on_a_name_and_a_folder(run_dir, photos, capsys):
    results = measure(checkpoint=run_dir, datasets=f"digits,{photos}")
    assert list(results["datasets"]) == ["digits", "photos"]
    digits = results["datasets"]["digits"]
    assert digits["simclr"]["num_eval"] == 360 and 0.1 < digits["simclr"]["top_1"] <= 1
    assert digits["untrained"]["top_1"] > 0.5  # its residual branches are on
    assert digits["simclr"]["value"] == digits["simclr"]["top_1"]
    assert 0 < digits["p_values"]["untrained"] <= 1
    for name in ("results.json", "results.md", "results.csv", "digits/linear.json"):
        assert (len(open(f"{run_dir}/transfer/{name}", encoding="utf-8").read())) > 50
    with open(f"{run_dir}/transfer/results.csv", encoding="utf-8") as file:
        assert file.readline().strip() == "row,digits (top-1),photos (top-1)"
    before = capsys.readouterr().out
    again = measure(checkpoint=run_dir, datasets=f"digits,{photos}")
    assert {**again, "wall_seconds": 0} == {**results, "wall_seconds": 0}
    assert "digits: linear protocol" in before
    assert "digits: linear protocol" not in capsys.readouterr().out  # done data sets stay done


def test_the_grid_resumes_row_by_row(run_dir, photos, tmp_path, monkeypatch):
    settings = dict(
        checkpoint=run_dir, datasets=str(photos), model_dir=str(tmp_path / "out"),
        transfer_protocol="finetune", grid_learning_rates="0.001,0.1", grid_weight_decays="0,0.001",
    )  # fmt: skip
    train, calls, cut_at = transfer_grid.fine_tune, [], [3]

    def mostly_pretended(job, encoder, head):
        """The first call trains; later ones are right where the learning rate is high."""
        calls.append(job)
        if len(calls) == 1:
            return train(job, encoder, head)
        if len(calls) == cut_at[0]:
            raise KeyboardInterrupt
        labels = np.asarray(job.held_out.labels)
        right = job.config.optimizer.learning_rate > 0.01
        scores = np.eye(3, dtype=np.float32)[labels if right else (labels + 1) % 3]
        return Outcome(scores, labels, 2, None)

    monkeypatch.setattr(transfer_grid, "fine_tune", mostly_pretended)
    with pytest.raises(KeyboardInterrupt):
        measure(**settings)
    path = tmp_path / "out" / "photos" / "grid.csv"
    assert len(path.read_text().splitlines()) == 3
    cut_at[0] = 0
    results = measure(**settings)
    rows = path.read_text().splitlines()
    assert len(rows) == 5 and len(calls) == 6  # two runs were left, and the final one
    final = results["datasets"]["photos"]["finetune"]
    best = max(rows[1:], key=lambda row: float(row.split(",")[2]))
    assert (final["learning_rate"], final["weight_decay"]) == tuple(
        float(part) for part in best.split(",")[:2]
    )
    assert final["learning_rate"] == 0.1 and final["value"] == 1.0
    jobs = calls
    assert jobs[-1].labelled.num_examples + jobs[-1].held_out.num_examples == 61
    sizes = [jobs[0].labelled.num_examples, jobs[0].held_out.num_examples]
    assert sum(sizes) == jobs[-1].labelled.num_examples  # chosen without the test images
    optimizer = jobs[0].config.optimizer
    assert optimizer.learning_rate_scaling == "none" and optimizer.nesterov
    assert not any(path.name.startswith("lr") for path in path.parent.iterdir())


def test_the_grid_of_the_paper_has_7_rates_and_8_decays():
    cells = transfer_grid.grid_of(config.Transfer())
    assert len(cells) == 56 and {decay for _, decay in cells} > {0.0}
    rates = sorted({rate for rate, _ in cells})
    np.testing.assert_allclose([rates[0], rates[-1]], [1e-4, 1e-1])


def test_two_encoders_are_compared(run_dir, photos, tmp_path):
    results = measure(
        checkpoint=run_dir, compare=run_dir, datasets=str(photos), model_dir=str(tmp_path / "o")
    )
    assert results["datasets"]["photos"]["p_values"]["compared"] == 1.0  # the same encoder


def test_a_dry_run_plans_the_data_sets_of_the_paper(run_dir, tmp_path, capsys):
    assert measure(checkpoint=run_dir, datasets="paper", dry_run=True) is None
    printed = capsys.readouterr().out
    assert "5,011 training, 4,952 test images, 11-point mAP" in printed
    assert printed.count("not downloaded") == 10


@pytest.mark.parametrize(
    "values, words",
    [
        ({"datasets": "voc2007", "transfer_protocol": "both"}, "several labels per image"),
        ({"datasets": "digits", "grid_learning_rates": "fast"}, "not a list of numbers"),
    ],
)
def test_impossible_settings_are_refused(run_dir, values, words):
    with pytest.raises(SettingsError, match=words):
        measure(checkpoint=run_dir, **values)


def test_results_json_is_what_run_returns(run_dir):
    with open(f"{run_dir}/transfer/results.json", encoding="utf-8") as file:
        assert json.load(file)["mode"] == "transfer"
