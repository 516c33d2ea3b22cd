"""Several labels per image, through fine-tuning and the transfer grid."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import log_loss, precision_recall_curve

from simclr_tf import config
from simclr_tf.commands import finetune, transfer
from simclr_tf.data import sources, subset
from simclr_tf.data.info import Facts
from simclr_tf.data.label_sets import LabelSets, truth, with_targets
from simclr_tf.data.multi_label import with_label_sets
from simclr_tf.data.source import BytesSource
from simclr_tf.evaluation import multi_label
from simclr_tf.models.fine_tuned import FineTuned
from simclr_tf.report.summary import summary_table
from simclr_tf.runs import restore
from simclr_tf.stack import keras, tf
from simclr_tf.views.batches import eval_batches, train_batches
from tests import tiny_label_sets as tiny
from tests.tiny_run import save_tiny_run

SHORT = {"train_steps": 2, "train_batch_size": 8, "strategy": "default", "eval_batch_size": 8}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The settings that name the data set."""
    return tiny.prepare(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"))


def expected(keys):
    return np.array([[c in tiny.labels(key) for c in range(3)] for key in keys])


def test_every_example_brings_its_own_labels_whatever_the_part(data):
    settings = config.Data(**data, image_size=8)
    whole = with_label_sets(sources.open_source(settings, "train"), settings, "train")
    part = subset.labelled_subset(whole, 0.5, seed=1)
    assert part.num_examples == 12 and part.class_names == ("a", "b", "c")
    smaller = subset.labelled_subset(whole, 0.25, seed=1)
    (larger,) = eval_batches(part, 8, 16)
    (few,) = eval_batches(smaller, 8, 16)
    keys = [set(np.rint(255 * one["images"][:, 0, 0, 0]).astype(int)) for one in (larger, few)]
    assert keys[1] < keys[0]  # nested
    batches = train_batches(part, config.Views(), 8, 4, seed=0, num_views=1)
    for batch, seen in zip(with_targets(batches, part).take(4), batches):
        np.testing.assert_array_equal(batch["label"], expected(seen["images"][:, 0, 0, 0].numpy()))


def test_a_stand_in_brings_its_own_labels():
    encoded = [tf.io.encode_png(tiny.image(key)).numpy() for key in range(8)]
    encoded[3] = b"no image"
    facts = Facts("some", 8, (), "")
    source = LabelSets(BytesSource(facts, encoded, [-1] * 8), expected(range(8)), ("a", "b", "c"))
    (batch,) = eval_batches(source, 8, 8)
    shown = np.rint(255 * batch["images"][:, 0, 0, 0]).astype(int)
    assert shown[3] != 3 and list(source.quarantine.reasons) == ["some example 3"]
    np.testing.assert_array_equal(truth(source, batch["label"].numpy()), expected(shown))


def test_the_loss_is_the_sum_of_scikit_learns_log_losses():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 3)).astype("float32")
    targets = rng.random((6, 3)) < 0.5
    head = keras.layers.Dense(1)
    classifier = keras.layers.Dense(3)
    model = FineTuned(keras.Sequential(), head, classifier, lambda batch: None, label_sets=True)
    got = float(tf.reduce_mean(model._cross_entropies(tf.constant(logits), tf.constant(targets))))
    shares = 1 / (1 + np.exp(-logits.astype(float)))
    want = sum(log_loss(targets[:, c], shares[:, c], labels=[False, True]) for c in range(3))
    assert got == pytest.approx(want, rel=1e-5)


def reference_map(scores, targets):
    """The mean of the 11-point average precisions from scikit-learn's curves."""
    figures = []
    for column, positives in zip(scores.T, targets.T):
        precision, recall, _ = precision_recall_curve(positives, column)
        precision = precision[:-1]  # the last point is no example
        recall = recall[:-1]
        figures.append(
            np.mean([precision[recall >= r - 1e-12].max() for r in np.linspace(0, 1, 11)])
        )
    return np.mean(figures)


@pytest.mark.current_stack
def test_fine_tuning_reports_the_mean_average_precision(data, run_dir):
    settings = {**SHORT, **data, "checkpoint": run_dir, "label_fraction": 0.5, "train_steps": 3}
    results = finetune.run(config.build(config.Finetune, settings), frozenset(settings))
    assert (results["num_labels"], results["num_classes"]) == (12, 3)
    assert list(results["rows"]) == ["untrained", "frozen", "fine_tuned"]
    folder = f"{run_dir}/finetune/50pct"
    trained = restore.load_trained(folder)  # with its classifier of three outputs
    held_out = sources.open_source(config.Data(**data, image_size=16), "eval")
    (batch,) = eval_batches(held_out, 16, 13)
    scores = trained.probe(trained.encoder(batch["images"], training=False)).numpy()
    targets = expected(range(tiny.TRAIN, tiny.TRAIN + tiny.VALIDATION))
    assert results["map_11"] == pytest.approx(reference_map(scores, targets), abs=1e-9)
    low, high = results["map_11_interval"]
    assert low <= results["map_11"] <= high and "top_1" not in results
    with open(f"{folder}/confusion.csv", encoding="utf-8") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert [int(rows[c]["found"]) for c in "abc"] == list(((scores > 0) & targets).sum(axis=0))
    with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
        logged = [json.loads(line) for line in file]
    assert all(0 <= line["label_accuracy"] <= 1 and line["loss"] > 0 for line in logged)
    text = open(f"{folder}/results.md", encoding="utf-8").read()
    assert "| features | labels | 11-point mAP |" in text
    names = [row[0] for row in summary_table(run_dir)[1]]
    assert names[1] == "fine-tuned, 50 % of the labels (11-point mAP)"


@pytest.mark.slow
@pytest.mark.one_stack
def test_the_transfer_study_trains_them_too(data, run_dir, tmp_path):
    settings = {
        **SHORT, "checkpoint": run_dir, "datasets": "tiny_label_sets", "permutations": 100,
        "data_dir": data["data_dir"], "model_dir": str(tmp_path / "out"), "max_iterations": 20,
        "transfer_protocol": "both", "grid_learning_rates": "0.01", "grid_weight_decays": "0",
    }  # fmt: skip
    results = transfer.run(config.build(config.Transfer, settings), frozenset(settings))
    column = results["datasets"]["tiny_label_sets"]
    for name in ("untrained", "simclr", "finetune"):
        low, high = column[name]["interval"]
        assert low <= column[name]["value"] == column[name]["map_11"] <= high
        assert column[name]["num_eval"] == tiny.VALIDATION
    folder = tmp_path / "out" / "tiny_label_sets"
    for name in ("simclr", "finetune"):
        rows = (folder / f"confusion_{name}.csv").read_text().splitlines()[1:]
        counts = np.array([row.split(",")[1:] for row in rows], int)
        np.testing.assert_array_equal(counts.sum(axis=1), tiny.VALIDATION)
    assert "tiny_label_sets (11-point mAP)" in (tmp_path / "out" / "results.md").read_text()


def test_a_dry_run_on_voc_needs_no_download(run_dir, tmp_path, capsys):
    settings = {
        **SHORT, "checkpoint": run_dir, "dataset": "voc/2007", "data_dir": str(tmp_path),
        "label_fraction": 0.1, "dry_run": True,
    }  # fmt: skip
    finetune.run(config.build(config.Finetune, settings), frozenset(settings))
    assert "250 (0.1 of all images, with several labels each)" in capsys.readouterr().out


def test_classifiers_on_frozen_features_are_one_per_class():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(40, 4))
    targets = rng.random((40, 2)) < 0.5
    targets = np.concatenate([targets, np.zeros((40, 1), bool)], axis=1)
    scores = multi_label.fit_multi_label(rows, targets)(rows)
    assert np.isneginf(scores[:, 2]).all() and np.isfinite(scores[:, :2]).all()
    assert multi_label.report(scores, targets)["map_11"] > 0.5
