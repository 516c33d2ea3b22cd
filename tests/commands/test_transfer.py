"""`--mode=transfer` end to end on a tiny run: linear, grid, resuming, tables."""

import json

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import transfer
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation.frozen import weights_hash
from simclr_tf.training import transfer_grid
from simclr_tf.training.supervised import Outcome
from tests.tiny_run import images_in_folders, save_tiny_run

SHORT = {
    "strategy": "default", "max_iterations": 20, "permutations": 1000, "train_steps": 2,
    "train_batch_size": 8, "eval_batch_size": 64,
}  # fmt: skip


def measure(**values):
    values = {**SHORT, **values}
    return transfer.run(config.build(config.Transfer, values), frozenset(values))


def confusion(path):
    """The counts of a confusion matrix, int [classes, classes]."""
    with open(path, encoding="utf-8") as file:
        return np.array([line.strip().split(",")[1:] for line in list(file)[1:]], int)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "photos"
    images_in_folders(folder, {"bars": 21, "dots": 20, "rings": 20})
    return folder


@pytest.mark.current_stack
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
    counts = confusion(f"{run_dir}/transfer/digits/confusion_simclr.csv")
    assert counts.sum() == 360 and np.trace(counts) == round(360 * digits["simclr"]["top_1"])
    recalls = np.diag(counts) / counts.sum(axis=1)
    assert recalls.mean() == pytest.approx(digits["simclr"]["mean_per_class"])
    with open(f"{run_dir}/transfer/results.md", encoding="utf-8") as file:
        (row,) = [line for line in file if line.startswith("| SimCLR, linear, mean per class |")]
    low, high = digits["simclr"]["mean_per_class_interval"]
    assert f"| {100 * recalls.mean():.1f} ({100 * low:.1f} to {100 * high:.1f}) |" in row
    before = capsys.readouterr().out
    again = measure(checkpoint=run_dir, datasets=f"digits,{photos}")
    assert {**again, "wall_seconds": 0} == {**results, "wall_seconds": 0}
    assert "digits: linear protocol" in before
    assert "digits: linear protocol" not in capsys.readouterr().out  # done data sets stay done


@pytest.mark.slow
@pytest.mark.one_stack
def test_the_grid_resumes_row_by_row(run_dir, photos, tmp_path, monkeypatch):
    settings = dict(
        checkpoint=run_dir, datasets=str(photos), model_dir=str(tmp_path / "out"),
        transfer_protocol="finetune", grid_learning_rates="0.001,0.1", grid_weight_decays="0,0.001",
    )  # fmt: skip
    train = transfer_grid.fine_tune
    calls = []
    cut_at = [3]

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
    counts = confusion(path.parent / "confusion_finetune.csv")
    np.testing.assert_array_equal(counts, np.diag(np.bincount(calls[-1].held_out.labels)))
    jobs = calls
    assert jobs[-1].labelled.num_examples + jobs[-1].held_out.num_examples == 61
    sizes = [jobs[0].labelled.num_examples, jobs[0].held_out.num_examples]
    assert sum(sizes) == jobs[-1].labelled.num_examples  # chosen without the test images
    assert set(results["datasets"]["photos"]) == {"num_train", "untrained", "finetune", "p_values"}
    optimizer = jobs[0].config.optimizer
    assert optimizer.learning_rate_scaling == "none" and optimizer.nesterov
    assert not any(path.name.startswith("lr") for path in path.parent.iterdir())


@pytest.mark.slow
@pytest.mark.current_stack
def test_random_weights_and_the_compared_encoder_have_grids_of_their_own(
    run_dir, photos, tmp_path, monkeypatch
):
    other = save_tiny_run(tmp_path, seed=5)
    train = transfer_grid.fine_tune
    jobs = []
    starts = []

    def watched(job, encoder, head):
        """The first call trains; later ones are right in every second class by random weights."""
        jobs.append(job)
        starts.append(weights_hash(encoder))
        if len(jobs) == 1:
            return train(job, encoder, head)
        labels = np.asarray(job.held_out.labels)
        right = job.config.training.train_steps == 2
        guesses = labels if right else np.where(labels == 1, 1, 0)
        return Outcome(np.eye(3, dtype=np.float32)[guesses], labels, 2, None)

    monkeypatch.setattr(transfer_grid, "fine_tune", watched)
    results = measure(
        checkpoint=run_dir, compare=other, datasets=str(photos), model_dir=str(tmp_path / "out"),
        transfer_protocol="finetune", grid_learning_rates="0.01", grid_weight_decays="0",
        random_init=True, random_learning_rates="0.1,1", random_weight_decays="0.001",
        random_train_steps=3, seed=9,
    )  # fmt: skip
    figures = results["datasets"]["photos"]
    steps = [job.config.training.train_steps for job in jobs]
    assert steps == [2, 2, 3, 3, 3, 2, 2]  # SimCLR, random (two rates), compared; each plus final
    assert len(set(starts[:2])) == len(set(starts[2:5])) == len(set(starts[5:])) == 1
    assert len(set(starts)) == 3  # two checkpoints and random weights
    decays = [job.config.optimizer.weight_decay for job in jobs[2:4]]
    assert decays == pytest.approx([0.01, 0.001])  # divided by the learning rate
    assert figures["finetune"]["value"] == figures["compared_finetune"]["value"] == 1.0
    assert figures["random"]["value"] == pytest.approx(8 / 12)
    # the four images that only one is right about agree by chance in 2 of 2^4 cases
    assert figures["p_values"]["random"] == pytest.approx(2 / 16, abs=0.04)
    assert figures["p_values"]["compared_finetune"] == 1.0  # no difference
    text = (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    for title in ("labels used", "random weights, trained", "compared encoder, fine-tuned"):
        assert f"| {title} |" in text
    assert f"| labels used | {figures['num_train']} |" in text


def test_random_weights_need_the_fine_tuning_protocol(run_dir):
    with pytest.raises(SettingsError, match="add --transfer_protocol=finetune"):
        measure(checkpoint=run_dir, datasets="digits", random_init=True)


@pytest.mark.parametrize("random, rates, decays", [
    (False, (1e-4, 1e-1), (0.0, 1e-3)), (True, (1e-3, 1.0), (1e-5, 10**-1.5)),
])  # fmt: skip
def test_the_grids_of_the_paper_have_7_rates_and_8_decays(random, rates, decays):
    cells = transfer_grid.grid_of(config.Transfer(), random)
    assert len(set(cells)) == 56
    for column, (low, high) in zip(zip(*cells), (rates, decays)):
        np.testing.assert_allclose([min(column), max(column)], [low, high])
    assert len({rate for rate, _ in cells}) == 7


@pytest.mark.slow
@pytest.mark.current_stack
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
        ({"datasets": "digits", "grid_learning_rates": "fast"}, "not a list of numbers"),
        ({"datasets": "digits", "random_learning_rates": "0,1"}, "contains 0"),
    ],
)
def test_impossible_settings_are_refused(run_dir, values, words):
    with pytest.raises(SettingsError, match=words):
        measure(checkpoint=run_dir, **values)


@pytest.mark.current_stack
def test_results_json_is_what_run_returns(run_dir):
    with open(f"{run_dir}/transfer/results.json", encoding="utf-8") as file:
        assert json.load(file)["mode"] == "transfer"
