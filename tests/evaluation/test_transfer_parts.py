"""The transfer suite's parts: data sets, permutation test, average precision, bootstrap."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve

from simclr_tf import config
from simclr_tf.data import sizes
from simclr_tf.data.multi_label import multi_hot
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.evaluation import multi_label, transfer_data, transfer_sets
from simclr_tf.evaluation.logistic import PENALTIES, Choice, tune_logistic
from simclr_tf.evaluation.metrics import mean_per_class
from simclr_tf.evaluation.significance import example_weights, permutation_test
from tests import tiny_label_sets

RNG = np.random.default_rng(5)


def test_the_twelve_data_sets_have_the_sizes_and_metrics_of_the_paper():
    assert len(transfer_sets.PAPER) == 12
    metrics = {one.name: one.metric for one in transfer_sets.PAPER}
    assert [name for name in metrics if metrics[name] == "mean_per_class"] == [
        "fgvc_aircraft", "pets", "caltech101", "flowers102"
    ]  # fmt: skip
    assert metrics["voc2007"] == "map_11"
    images = {"food101": (75750, 25250), "cifar100": (50000, 10000), "sun397": (19850, 19850)}
    images |= {"cars196": (8144, 8041), "dtd": (3760, 1880), "pets": (3680, 3669)}
    images |= {"flowers102": (2040, 6149), "voc2007": (5011, 4952)}
    for one in transfer_sets.PAPER:
        if one.name in images:
            info = transfer_data.describe(config.Transfer(), one)
            assert (info.num_train, info.num_eval) == images[one.name]
    columns = ("linear", "finetune", "random", "linear_supervised", "finetune_supervised")
    assert sorted(columns) == sorted(transfer_sets.PAPER_ROWS.values())
    figures = np.array([[one.paper[k] for k in columns] for one in transfer_sets.PAPER])
    want = [847.5, 1026.2, 948.2, 925.9, 1033.0]
    np.testing.assert_allclose(figures.sum(axis=0), want, atol=0.05)


def test_names_folders_and_both(tmp_path):
    (tmp_path / "birds").mkdir()
    found = transfer_sets.find_sets(f"dtd, mnist,{tmp_path}/birds,birdsnap={tmp_path}/birds")
    assert [one.name for one in found] == ["dtd", "mnist", "birds", "birdsnap"]
    assert found[3].paper["linear"] == 37.4 and found[3].image_dir and not found[3].dataset
    assert len(transfer_sets.find_sets("paper")) == 10


@pytest.mark.parametrize(
    "text, words", [("", "is empty"), ("dtd,dtd", "dtd twice"), ("birdsnap", "birdsnap=FOLDER")]
)
def test_impossible_lists_are_refused(text, words):
    with pytest.raises(SettingsError, match=words):
        transfer_sets.find_sets(text)


def test_parts_of_splits_are_added_up():
    splits = {"train": 100, "validation": 50}
    assert sizes.size_of_split(splits, "train+validation") == 150
    assert sizes.size_of_split(splits, "train[:50%]+validation[10:]") == 90
    assert sizes.size_of_split(splits, "train+test") is None


def by_exchanging(differences, samples, rng):
    """The permutation test written out: each example's predictions change places or not."""
    signs = rng.choice([-1.0, 1.0], (samples, len(differences)))
    sums = np.abs(signs @ differences)
    return np.mean(sums >= abs(differences.sum()) - 1e-12)


@pytest.mark.parametrize("metric", ["top_1", "mean_per_class"])
@pytest.mark.parametrize("shift", [0.0, 0.08])
def test_permutation_test_is_the_written_out_one(metric, shift):
    labels = RNG.integers(0, 5, 200)
    a = RNG.random(200) < 0.7 + shift
    b = RNG.random(200) < 0.7
    weights = example_weights(labels, metric)
    differences = weights * (a.astype(float) - b)
    want = by_exchanging(differences, 20_000, np.random.default_rng(1))
    assert permutation_test(differences, 20_000) == pytest.approx(want, abs=0.02)
    top = np.sum(weights * a)
    wrong_where_missed = np.where(a, labels, (labels + 1) % 5)
    expected = np.mean(a) if metric == "top_1" else mean_per_class(wrong_where_missed, labels, 5)
    assert top == pytest.approx(expected)


def test_equal_models_are_tied_and_a_clear_winner_is_not():
    assert permutation_test(np.zeros(50)) == 1.0
    assert permutation_test(np.ones(50) / 50) == pytest.approx(1 / 100_001)


def average_precision_from_curve(scores, positives):
    precision, recall, _ = precision_recall_curve(positives, scores)
    points = [precision[recall >= r - 1e-12].max() for r in np.linspace(0, 1, 11)]
    return float(np.mean(points))


@pytest.mark.parametrize("n", [5, 40, 301])
def test_average_precision_is_that_of_scikit_learns_curve(n):
    scores = RNG.normal(size=n)
    positives = RNG.random(n) < 0.3
    positives[0] = True
    want = average_precision_from_curve(scores, positives)
    # the curve of scikit-learn ends with precision 1 at recall 0, which is no example
    got = multi_label.average_precision_11(scores, positives)
    first = positives[np.argmax(scores)]
    assert got == pytest.approx(want, abs=1e-12) if first else got <= want


def test_average_precision_by_hand():
    # ranks: + - + -; recall 0.5 at precision 1, 1.0 at 2/3: 6 points of 1, 5 of 2/3
    got = multi_label.average_precision_11([4, 3, 2, 1], [True, False, True, False])
    assert got == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_bootstrap_of_a_mean_is_its_standard_error():
    values = RNG.random(400)
    low, high = multi_label.bootstrap_interval(lambda at: values[at].mean(), 400, samples=2000)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)


def test_several_labels_per_image_are_learnt_one_by_one():
    rows = RNG.normal(size=(300, 6)).astype(np.float32)
    targets = np.stack([rows[:, 0] > 0, rows[:, 1] + rows[:, 2] > 0.5, rows[:, 3] > 2], axis=1)
    split = np.arange(200), np.arange(200, 300)
    done = []
    scores_of, penalty = multi_label.tune_multi_label(
        rows, targets, split, PENALTIES[::11], observe=lambda: done.append(1)
    )
    assert len(done) == 3  # one call after each class, for the progress
    assert penalty in PENALTIES
    assert multi_label.mean_average_precision(scores_of(rows), targets) > 0.95
    one = LogisticRegression(C=1 / penalty, max_iter=1000).fit(rows, targets[:, 1])
    np.testing.assert_allclose(scores_of(rows)[:, 1], one.decision_function(rows), rtol=1e-3)


def test_the_split_to_choose_by_may_be_given():
    rows = RNG.normal(size=(90, 4)).astype(np.float32)
    labels = RNG.integers(0, 3, 90)
    seen = []

    def figure(scores, of):
        seen.append((len(scores), tuple(of)))
        return float(-len(seen))  # the first, strongest penalty wins

    choice = Choice(np.arange(60), np.arange(60, 90), figure)
    tuned = tune_logistic(rows, labels, 3, penalties=PENALTIES[::15], choice=choice)
    assert tuned.penalty == PENALTIES[0] and set(seen) == {(30, tuple(labels[60:]))}


def test_label_sets_are_read_in_the_order_of_the_ids(tmp_path):
    data = config.Data(**tiny_label_sets.prepare(tmp_path))
    rows, names = multi_hot(data, "train+validation")
    assert names == ("a", "b", "c") and rows.shape == (37, 3)
    for key, row in enumerate(rows):
        assert set(np.flatnonzero(row)) == tiny_label_sets.labels(key)


def test_a_data_set_without_label_sets_is_refused(tmp_path):
    with pytest.raises(DataError, match="no prepared label sets"):
        multi_hot(config.Data(dataset="mnist", data_dir=str(tmp_path)), "train")
