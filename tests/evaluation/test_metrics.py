"""Figures of a classifier against scikit-learn and published values."""

import numpy as np
import pytest
from sklearn import metrics as reference

from simclr_tf.evaluation import metrics, results


@pytest.mark.parametrize("seed, n, classes", [(0, 7, 3), (1, 101, 10), (2, 500, 37)])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_is_scikit_learns(seed, n, classes, k):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, classes))
    labels = rng.integers(0, classes, n)
    want = reference.top_k_accuracy_score(labels, scores, k=min(k, classes), labels=range(classes))
    assert metrics.top_k(scores, labels, k) == pytest.approx(want, abs=1e-12)


def test_ties_go_to_the_lower_class_and_nan_never_hits():
    scores = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [np.nan, np.nan, np.nan]])
    labels = np.array([0, 1, 0])
    assert metrics.top_k(scores, labels, 1) == pytest.approx(1 / 3)
    assert metrics.top_k(scores, labels, 2) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed, n, classes", [(0, 11, 2), (1, 211, 10)])
def test_confusion_and_mean_per_class_are_scikit_learns(seed, n, classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    predictions = rng.integers(0, classes, n)
    want = reference.confusion_matrix(labels, predictions, labels=range(classes))
    np.testing.assert_array_equal(metrics.confusion_matrix(predictions, labels, classes), want)
    want = reference.balanced_accuracy_score(labels, predictions)
    assert metrics.mean_per_class(predictions, labels, classes) == pytest.approx(want, abs=1e-12)


def test_the_table_of_label_sets_is_scikit_learns_confusion():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(50, 3))
    targets = rng.random((50, 3)) < 0.4
    header, *lines = results.confusion_csv(scores, targets, ("a", "b", "c")).splitlines()
    assert header == "class,found,missed,wrongly seen,rightly not seen"
    wanted = reference.multilabel_confusion_matrix(targets, scores > 0)
    for line, name, [[absent, alarm], [missed, found]] in zip(lines, "abc", wanted):
        assert line == f"{name},{found},{missed},{alarm},{absent}"


def test_mean_per_class_leaves_out_classes_that_do_not_occur():
    assert metrics.mean_per_class([0, 0, 2], [0, 2, 2], 5) == pytest.approx(0.75)


def test_the_interval_of_the_mean_per_class_is_its_standard_error():
    labels = np.repeat([0, 1, 2], [400, 300, 500])
    predictions = np.where(np.arange(1200) % 4 == 0, (labels + 1) % 3, labels)
    low, high = metrics.mean_per_class_interval(predictions, labels, 3, samples=5000)
    error = np.sqrt(np.sum(0.75 * 0.25 / np.array([400, 300, 500]))) / 3
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.06)
    assert (high + low) / 2 == pytest.approx(0.75, abs=0.003)


# 81 of 263: Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3
@pytest.mark.parametrize(
    "hits, n, low, high",
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_the_published_one(hits, n, low, high):
    got = metrics.wilson_interval(hits / n, n)
    np.testing.assert_allclose(got, (low, high), atol=5e-5)
    mirrored = metrics.wilson_interval(1 - hits / n, n)
    np.testing.assert_allclose(mirrored, (1 - got[1], 1 - got[0]), atol=1e-12)


def test_report_of_three_classes_takes_all_of_them_as_top_5():
    scores = np.eye(3)[[0, 1, 2, 0]]
    report = metrics.classification_report(scores, np.array([0, 1, 2, 1]))
    assert report["top_1"] == 0.75
    assert report["top_5"] == 1.0
    assert report["top_1_interval"] == list(metrics.wilson_interval(0.75, 4))
    assert report["mean_per_class"] == pytest.approx(2.5 / 3)
