"""k-NN against float64 NumPy and scikit-learn; blocks change nothing."""

import weakref

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from benchmarks import timing
from simclr_tf.evaluation import knn
from simclr_tf.evaluation.knn import device_bytes, knn_scores, nearest_neighbours

RNG = np.random.default_rng(11)
QUERIES = RNG.normal(size=(23, 6))
BANK = RNG.normal(size=(57, 6))
LABELS = RNG.integers(0, 5, 57)


def cosine(a, b):
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b)]
    return unit[0] @ unit[1].T


@pytest.mark.parametrize("k", [1, 7, 57])
@pytest.mark.parametrize("block, bank_block", [(1024, 16384), (5, 8), (23, 57), (1, 1)])
def test_neighbours_are_exact_for_any_blocks(k, block, bank_block):
    similarity, index = nearest_neighbours(QUERIES, BANK, k, block, bank_block)
    want = cosine(QUERIES, BANK)
    order = np.argsort(-want, axis=1)[:, :k]
    np.testing.assert_array_equal(index, order)
    np.testing.assert_allclose(similarity, np.take_along_axis(want, order, 1), atol=1e-6)


def test_ties_go_to_the_earlier_row_across_blocks():
    bank = np.repeat(BANK[:1], 9, axis=0)
    _, index = nearest_neighbours(BANK[:1], bank, 4, bank_block=2)
    np.testing.assert_array_equal(index, [[0, 1, 2, 3]])


@pytest.mark.parametrize("k", [0, 58])
def test_an_impossible_k_is_refused(k):
    with pytest.raises(ValueError, match="allowed: 1 to 57"):
        nearest_neighbours(QUERIES, BANK, k)


@pytest.mark.parametrize("k, temperature", [(1, 0.1), (9, 0.07), (57, 0.5)])
def test_scores_are_the_weighted_votes_of_scikit_learn(k, temperature):
    scores = knn_scores(QUERIES, BANK, LABELS, 5, k, temperature)
    weights = lambda distance: np.exp((1 - distance) / temperature)  # noqa: E731
    reference = KNeighborsClassifier(k, metric="cosine", weights=weights).fit(BANK, LABELS)
    want = reference.predict_proba(QUERIES)
    np.testing.assert_allclose(scores / scores.sum(axis=1, keepdims=True), want, atol=1e-5)


def test_more_neighbours_than_the_bank_holds_means_all():
    np.testing.assert_array_equal(
        knn_scores(QUERIES, BANK, LABELS, 5, 1000), knn_scores(QUERIES, BANK, LABELS, 5, 57)
    )


def test_a_low_temperature_does_not_overflow():
    scores = knn_scores(QUERIES, BANK, LABELS, 5, 10, temperature=1e-4)
    assert np.isfinite(scores).all() and (scores.max(axis=1) >= 1).all()


@pytest.mark.parametrize("count", [16, 57])
def test_one_block_of_the_bank_is_on_the_device_whatever_its_size(monkeypatch, count):
    """Counted in the tensors that are alive, which other work on the machine does not change."""
    made = []
    held = []
    make = knn._tensor

    def counted(rows):
        tensor = make(rows)
        made.append(weakref.ref(tensor))
        held.append(sum(one().shape.num_elements() for one in made if one() is not None))
        return tensor

    monkeypatch.setattr(knn, "_tensor", counted)
    knn.nearest_neighbours(QUERIES, BANK[:count], 7, block=5, bank_block=8)
    assert len(made) == 5 * (1 + -(-count // 8))
    assert max(held) == 8 * 6


@pytest.mark.one_stack
@pytest.mark.slow
def test_memory_is_the_stated_bound_and_not_that_of_all_similarities(monkeypatch):
    """In a fresh process: 3 blocks of queries, 5 of the bank, 191 MiB of similarities."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")  # freed blocks are not kept: no slack
    case = {"queries": 2500, "bank": 20000, "dims": 256, "k": 50}
    found = timing.run_case("benchmarks.knn", case)
    assert "failed" not in found, found
    assert found["matrix_mib"] > 190
    assert found["extra_mib"] < found["stated_mib"] + found["result_mib"] + 16
    stated = device_bytes(10_000, 50_000, 2048, 200)
    assert stated == device_bytes(1024, 4096, 2048, 200) < 144.4e6  # no matter how many rows
