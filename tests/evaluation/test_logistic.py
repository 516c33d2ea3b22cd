"""L-BFGS logistic regression against scikit-learn; the grid and its split."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from simclr_tf.evaluation import logistic

RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, 3, 90)
ROWS = RNG.normal(size=(3, 4))[LABELS] + RNG.normal(size=(90, 4))


@pytest.mark.parametrize("penalty", [10.0, 1.0, 0.05])
def test_one_fit_is_scikit_learns(penalty):
    weights, bias = logistic.fit_logistic(ROWS, LABELS, 3, penalty)
    reference = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=5000).fit(ROWS, LABELS)
    np.testing.assert_allclose(weights, reference.coef_.T, atol=2e-3)
    want = reference.intercept_ - reference.intercept_.mean()
    np.testing.assert_allclose(bias - bias.mean(), want, atol=2e-3)


def test_blocks_do_not_change_the_solution(monkeypatch):
    monkeypatch.setattr(logistic, "HOST_LIMIT", 0)  # on the device, where blocks are
    want = logistic.fit_logistic(ROWS, LABELS, 3, 0.5)
    monkeypatch.setattr(logistic, "BLOCK", 17)
    got = logistic.fit_logistic(ROWS, LABELS, 3, 0.5)
    np.testing.assert_allclose(got[0], want[0], atol=1e-3)


def test_the_grid_is_the_papers():
    grid = np.sort(logistic.PENALTIES)
    assert len(grid) == 45 and grid[0] == pytest.approx(1e-6) and grid[-1] == pytest.approx(1e5)
    np.testing.assert_allclose(np.diff(np.log10(grid)), 0.25)


def test_the_split_is_balanced_seeded_and_complete():
    kept, out = logistic.split_held_out(LABELS, 0.2, 1)
    np.testing.assert_array_equal(np.sort(np.append(kept, out)), np.arange(90))
    for label, count in enumerate(np.bincount(LABELS)):
        assert np.sum(LABELS[out] == label) == round(0.2 * count)
    np.testing.assert_array_equal(out, logistic.split_held_out(LABELS, 0.2, 1)[1])
    assert set(out) != set(logistic.split_held_out(LABELS, 0.2, 2)[1])
    assert len(logistic.split_held_out([0, 1, 2], 0.9, 0)[1]) == 0  # one example of each stays


def test_the_chosen_penalty_is_the_best_held_out_one_and_the_strongest_of_equals():
    penalties = (1e4, 1.0, 0.5)
    tuned = logistic.tune_logistic(ROWS, LABELS, 3, seed=0, penalties=penalties)
    kept, out = logistic.split_held_out(LABELS, logistic.HELD_OUT, 0)
    want = {}
    for penalty in penalties:
        reference = LogisticRegression(C=1 / penalty, tol=1e-6, max_iter=5000)
        want[penalty] = reference.fit(ROWS[kept], LABELS[kept]).score(ROWS[out], LABELS[out])
    assert tuned.held_out_top_1 == pytest.approx(want)
    best = max(want.values())
    assert tuned.penalty == max(penalty for penalty in penalties if want[penalty] == best)
    final = logistic.fit_logistic(ROWS, LABELS, 3, tuned.penalty)
    np.testing.assert_allclose(tuned.weights, final[0], atol=5e-3)


def test_pixels_of_the_digits_reach_their_known_accuracy():
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels - pixels.mean(axis=0)) / np.maximum(pixels.std(axis=0), 1e-3)
    order = np.random.default_rng(0).permutation(len(labels))
    train = order[:1437]
    held_out = order[1437:]
    tuned = logistic.tune_logistic(pixels[train], labels[train], 10)
    hits = np.argmax(pixels[held_out] @ tuned.weights + tuned.bias, axis=1) == labels[held_out]
    assert hits.mean() > 0.95


def test_host_and_device_compute_the_same_sums():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(9, 5)).astype(np.float32)
    labels = rng.integers(0, 3, 9).astype(np.int32)
    flat = rng.normal(size=18)
    host = logistic._sums_on_host(features, labels, 3)(flat)
    device = logistic._sums_on_device(features, labels, 3)(flat)
    np.testing.assert_allclose(host, device, rtol=1e-5, atol=1e-5)


def test_the_search_ends_after_weaker_penalties_that_are_not_better():
    seen = []
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4)).astype(np.float32)
    figures = iter([0.1, 0.3, *[0.2] * 43])
    choice = logistic.Choice(np.arange(40), np.arange(40, 60), lambda scores, labels: next(figures))
    tuned = logistic.tune_logistic(
        features, rng.integers(0, 3, 60), 3, choice=choice, observe=lambda: seen.append(1)
    )
    assert tuned.penalty == logistic.PENALTIES[1]
    assert len(seen) == len(tuned.held_out_top_1) == 2 + logistic.PATIENCE
