"""Few-shot draws and figures: balanced, nested, shared, and the known value on the digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from simclr_tf.evaluation.few_shot import (
    draw_indices,
    draws_interval,
    few_shot,
    fit_classifier,
    possible_shots,
)

LABELS = np.random.default_rng(5).integers(0, 4, 67)


def test_draws_are_class_balanced_nested_seeded_and_different():
    small = draw_indices(LABELS, 2, 0, 7)
    large = draw_indices(LABELS, 5, 0, 7)
    assert np.bincount(LABELS[small]).tolist() == [2, 2, 2, 2]
    assert np.bincount(LABELS[large]).tolist() == [5, 5, 5, 5]
    assert set(small) <= set(large)
    assert len(set(large)) == 20
    np.testing.assert_array_equal(small, draw_indices(LABELS, 2, 0, 7))
    assert set(small) != set(draw_indices(LABELS, 2, 1, 7))
    assert set(small) != set(draw_indices(LABELS, 2, 0, 8))


def test_a_class_without_enough_examples_is_named():
    with pytest.raises(ValueError, match="class 1 has 1 examples"):
        draw_indices([0, 0, 1], 2, 0, 0)
    assert possible_shots([0, 0, 1, 1, 1]) == (1, 2)


def test_the_mean_over_draws_is_logistic_regression_on_features_standardised_by_hand():
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(4, 6))
    train = centres[LABELS] + 0.8 * rng.normal(size=(67, 6))
    labels = rng.integers(0, 4, 41)
    held_out = centres[labels] + 0.8 * rng.normal(size=(41, 6))
    got = few_shot((train, LABELS), (held_out, labels), shots=(3,), draws=4, seed=2)
    mean = train.mean(axis=0)
    deviation = train.std(axis=0)
    accuracies = []
    for draw in range(4):
        picked = draw_indices(LABELS, 3, draw, 2)
        classifier = LogisticRegression(max_iter=1000)
        classifier.fit((train[picked] - mean) / deviation, LABELS[picked])
        accuracies.append(np.mean(classifier.predict((held_out - mean) / deviation) == labels))
    assert got["few_shot"] == {"3": pytest.approx(np.mean(accuracies), abs=1e-12)}
    assert got["few_shot_std"] == {"3": pytest.approx(np.std(accuracies), abs=1e-12)}


@pytest.mark.parametrize("draws, images", [(1, 0.5), (400, 0.0), (30, 0.3)])
def test_the_interval_has_the_spread_of_draws_and_of_images(draws, images):
    """Hits are of whole images (share `images`) or of whole draws, so the deviation is known."""
    rng = np.random.default_rng(0)
    count = 500
    per_image = rng.random(count) < 0.5
    per_draw = rng.random((draws, 1)) < 0.5
    hits = np.where(np.arange(count) < images * count, per_image, per_draw)
    low, high = draws_interval(hits, seed=3, samples=2000)
    columns = hits.mean(axis=0)
    rows = hits.mean(axis=1)
    variance = columns.var() / count + (rows.var() / draws if draws > 1 else 0.0)
    assert low < hits.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(variance), rel=0.15)


def test_raw_pixels_of_the_digits_give_the_known_figures():
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    train = order[:1437]
    held_out = order[1437:]
    got = few_shot((pixels[train], labels[train]), (pixels[held_out], labels[held_out]))
    for k, (low, high) in got["few_shot_interval"].items():
        assert low < got["few_shot"][k] < high and high - low < 0.2
    assert got["few_shot"]["1"] == pytest.approx(0.57, abs=0.04)
    assert got["few_shot"]["10"] == pytest.approx(0.89, abs=0.02)


def test_many_features_are_solved_in_the_space_of_the_labelled_rows():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(12, 300))
    labels = np.repeat(np.arange(3), 4)
    others = rng.normal(size=(20, 300))
    plain = LogisticRegression(max_iter=5000, tol=1e-8).fit(rows, labels)
    scores = fit_classifier(rows, labels, 3)(others)
    np.testing.assert_allclose(scores, plain.decision_function(others), atol=2e-2)
