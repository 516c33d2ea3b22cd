"""Running uniformity and effective rank against NumPy."""

import numpy as np
import pytest

from simclr_tf.losses.embedding import EffectiveRank, LogMean, effective_rank
from simclr_tf.stack import tf
from tests.replicas import run_on_replicas


def reference_rank(h):
    spectrum = np.linalg.svd(h - h.mean(0), compute_uv=False) ** 2
    share = spectrum[spectrum > 0] / spectrum.sum()
    return np.exp(-np.sum(share * np.log(share)))


def rank_of(*batches):
    metric = EffectiveRank(batches[0].shape[1])

    @tf.function(jit_compile=True)
    def update(h):
        metric.update_state(h)
        return tf.zeros([])

    for h in batches:
        update(tf.convert_to_tensor(h))
    return float(metric.result())


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_effective_rank(shape):
    h = 3.0 + np.random.default_rng(0).normal(size=shape) * np.linspace(0.1, 2.0, shape[1])
    first, second = np.split(h.astype(np.float32), 2)
    assert rank_of(first, second) == pytest.approx(reference_rank(h), rel=1e-4)
    assert rank_of(h.astype(np.float16)) == pytest.approx(reference_rank(h), rel=5e-3)
    covariance = np.cov(h, rowvar=False)
    assert float(effective_rank(covariance)) == pytest.approx(reference_rank(h), rel=1e-6)


def test_effective_rank_of_collapsed_embeddings():
    line = np.outer(np.arange(10.0), np.ones(4)).astype(np.float32)
    assert rank_of(line + 3.0) == pytest.approx(1.0, abs=1e-3)
    assert rank_of(np.ones([10, 4], np.float32)) == 0.0
    assert rank_of(1e4 + np.zeros([10, 4], np.float32)) == 0.0
    assert np.isnan(rank_of(np.full([10, 4], np.nan, np.float32)))


def test_reset_forgets():
    metric = EffectiveRank(3)
    metric.update_state(tf.random.stateless_normal([20, 3], [1, 2]))
    metric.reset_state()
    metric.update_state(tf.constant([[0.0, 1.0, 0.0], [0.0, 5.0, 0.0]]))
    assert float(metric.result()) == pytest.approx(1.0, abs=1e-3)


def test_replicas_add_up(two_replicas):
    h = np.random.default_rng(1).normal(size=[8, 5]).astype(np.float32)
    with two_replicas.scope():
        metric = EffectiveRank(5)
        mean = LogMean()

    def step(h):
        metric.update_state(h)
        mean.update_state(tf.reduce_mean(tf.square(h)))
        return tf.zeros([])

    run_on_replicas(two_replicas, step, h)
    assert float(metric.result()) == pytest.approx(reference_rank(h), rel=1e-4)
    assert float(mean.result()) == pytest.approx(np.log(np.mean(h**2)), rel=1e-4)
