"""Similarities, alignment, uniformity and effective rank against NumPy."""

import numpy as np
import pytest

from simclr_tf.losses.embedding import effective_rank, embedding_metrics
from simclr_tf.stack import tf
from tests import loss_reference
from tests.replicas import run_on_replicas


def reference(z):
    rows = loss_reference.unit(z)
    n = len(rows) // 2
    s = rows @ rows.T
    image = np.arange(2 * n) % n
    other = (np.arange(2 * n) + n) % (2 * n)
    positive = s[np.arange(2 * n), other]
    negatives = np.where(image[:, None] == image, -np.inf, s)
    off = image[:, None] != image
    distance = np.sum((rows[:, None] - rows) ** 2, -1)
    return {
        "full_accuracy": np.mean(positive > negatives.max(1)),
        "positive_similarity": positive.mean(),
        "negative_similarity": s[off].mean(),
        "alignment": np.mean(np.sum((rows[:n] - rows[n:]) ** 2, 1)),
        "uniformity": np.log(np.mean(np.exp(-2.0 * distance[off]))),
    }


def reference_rank(h):
    spectrum = np.linalg.svd(h - h.mean(0), compute_uv=False) ** 2
    share = spectrum[spectrum > 0] / spectrum.sum()
    return np.exp(-np.sum(share * np.log(share)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_blocks_give_the_numbers_of_the_whole_matrix(jit_compile):
    step = tf.function(embedding_metrics, jit_compile=jit_compile)
    for kind, n in (("correlated", 300), ("random", 5), ("collapsed", 20)):
        z = loss_reference.views(kind, n, 6)
        got = step(tf.constant(z, tf.float32))
        for name, want in reference(z).items():
            np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_effective_rank(shape):
    h = np.random.default_rng(0).normal(size=shape) * np.linspace(0.1, 2.0, shape[1])
    got = effective_rank(tf.constant(h, tf.float16))
    np.testing.assert_allclose(got, reference_rank(h), rtol=2e-3)
    got = effective_rank(tf.constant(h, tf.float32))
    np.testing.assert_allclose(got, reference_rank(h), rtol=1e-4)


def test_effective_rank_of_collapsed_embeddings():
    line = np.outer(np.arange(10.0), np.ones(4)).astype(np.float32)
    np.testing.assert_allclose(effective_rank(line + 3.0), 1.0, atol=1e-4)
    assert effective_rank(tf.ones([10, 4])) == 0.0
    assert np.isnan(effective_rank(np.full([10, 4], np.nan, np.float32)))


def test_replicas_see_the_global_batch(two_replicas):
    z = loss_reference.views("correlated", 8, 5)
    pairs = np.stack(np.split(z, 2), 1).astype(np.float32)

    def step(pairs):
        flat = tf.concat([pairs[:, 0], pairs[:, 1]], 0)
        return {**embedding_metrics(flat), "rank": effective_rank(flat)}

    for got in run_on_replicas(two_replicas, step, pairs):
        for name, want in {**reference(z), "rank": reference_rank(z)}.items():
            np.testing.assert_allclose(got[name], want, rtol=1e-4, err_msg=name)
