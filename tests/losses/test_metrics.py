"""Metrics of a batch against the formulas of the official code and NumPy, and beside the loss."""

import numpy as np
import pytest

from simclr_tf.config.training import LOSSES
from simclr_tf.losses.decoupled import DecoupledNTXent
from simclr_tf.losses.metrics import FIGURES, contrastive_metrics, named
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.losses.table import entry
from simclr_tf.stack import tf
from tests import loss_reference
from tests.replicas import run_on_replicas


def reference(z, temperature, hidden_norm=True):
    """From all 2N x 2N similarities, float64."""
    unit = loss_reference.unit(z)
    rows = unit if hidden_norm else z
    n = len(rows) // 2
    s = rows @ rows.T / temperature
    p = np.exp(s[:n, n:] - s[:n, n:].max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    image = np.arange(2 * n) % n
    others = image[:, None] != image
    positive = s[np.arange(2 * n), (np.arange(2 * n) + n) % (2 * n)]
    cosine = unit @ unit.T
    return {
        "contrastive_accuracy": np.mean(np.argmax(s[:n, n:], 1) == np.arange(n)),
        "contrastive_accuracy_full": np.mean(positive > np.where(others, s, -np.inf).max(1)),
        "entropy": np.mean(-np.sum(p * np.log(p + 1e-30), 1)),
        "positive_similarity": np.mean(np.sum(unit[:n] * unit[n:], 1)),
        "negative_similarity": cosine[others].mean() if n > 1 else 0.0,
        "alignment": np.mean(np.sum((unit[:n] - unit[n:]) ** 2, 1)),
        "nearness": np.mean(np.exp(4 * cosine - 4)[:n, n:][~np.eye(n, dtype=bool)]) if n > 1 else 0,
    }


def assert_all_close(got, want, **tolerance):
    assert sorted(got) == sorted(want)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], err_msg=name, **tolerance)


@pytest.mark.parametrize(
    "hidden_norm, temperature, entropy",
    [(True, 0.1, 0.501354), (True, 0.5, 0.834008), (True, 1.0, 1.126152), (False, 1.0, 0.935162),
     (False, 10.0, 1.377576)],
)  # fmt: skip
def test_golden_numbers(hidden_norm, temperature, entropy):
    z = tf.constant(np.sin(1.0 + 3.0 * np.arange(8)[:, None] + np.arange(3)), tf.float32)
    got = contrastive_metrics(z, temperature, hidden_norm)
    np.testing.assert_allclose(got["contrastive_accuracy"], 0.5)
    np.testing.assert_allclose(got["entropy"], entropy, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "n, hidden_norm, temperature, block_size",
    [
        (1, True, 0.1, 0),  # dense kernel
        (7, False, 0.5, 0),
        (700, True, 0.1, 0),  # symmetric tiles, with padding
        (70, False, 0.5, 32),
        (70, True, 0.01, 32),  # running maxima
        (33, True, 0.1, 8),
    ],
)
def test_figures_beside_the_loss(n, hidden_norm, temperature, block_size, jit_compile):
    z = loss_reference.views("correlated", n, 8, seed=n)
    loss = NTXent(temperature, hidden_norm=hidden_norm, block_size=block_size)
    got_loss, got = tf.function(loss.with_figures, jit_compile=jit_compile)(z.astype(np.float32))
    assert_all_close(got, reference(z, temperature, hidden_norm), rtol=2e-4, atol=3e-5)
    want_loss = loss_reference.nt_xent(z, temperature, hidden_norm)[0]
    np.testing.assert_allclose(got_loss, want_loss, rtol=1e-5, atol=1e-30)
    separate = contrastive_metrics(z.astype(np.float32), temperature, hidden_norm)
    assert_all_close(named(got), separate, rtol=2e-4, atol=3e-5)


@pytest.mark.parametrize("block_size", [0, 4])
def test_figures_change_neither_loss_nor_gradient(block_size):
    z = tf.constant(loss_reference.views("random", 9, 5), tf.float32)
    loss = DecoupledNTXent(0.2, block_size=block_size)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        alone = loss(z)
        beside, figures = loss.with_figures(z)
    np.testing.assert_allclose(beside, alone, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(beside, z), tape.gradient(alone, z), rtol=1e-5, atol=1e-7)  # fmt: skip
    assert all(tape.gradient(figures[name], z) is None for name in FIGURES)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_figures(name):
    z = loss_reference.views("correlated", 6, 5)
    loss = entry(name).kind()
    value, got = loss.with_figures(z.astype(np.float32), tf.constant([0, 1, 0, 2, -1, 1]))
    np.testing.assert_allclose(value, loss(z.astype(np.float32), tf.constant([0, 1, 0, 2, -1, 1])))
    assert_all_close(got, reference(z, loss.temperature), rtol=2e-4, atol=3e-5)


def test_equal_rows_are_misses_with_full_entropy():
    got = contrastive_metrics(tf.ones([8, 3]), 0.1)
    assert got["contrastive_accuracy"] == 0.0 and got["contrastive_accuracy_full"] == 0.0
    np.testing.assert_allclose(got["entropy"], np.log(4.0), rtol=1e-6)
    np.testing.assert_allclose(got["uniformity"], 0.0, atol=1e-6)


def test_half_precision_is_measured_in_float32():
    z = loss_reference.views("correlated", 7, 8)
    got = contrastive_metrics(tf.constant(z, tf.float16), 0.1)
    np.testing.assert_allclose(got["entropy"], reference(z, 0.1)["entropy"], atol=2e-3)


@pytest.mark.parametrize("temperature", [0.1, 0.01])
def test_replicas_see_the_global_batch(two_replicas, temperature):
    z = loss_reference.views("correlated", 8, 5)
    pairs = np.stack(np.split(z, 2), 1).astype(np.float32)
    loss = NTXent(temperature)

    def step(pairs):
        flat = tf.concat([pairs[:, 0], pairs[:, 1]], 0)
        return loss.with_figures(flat)[1], contrastive_metrics(flat, temperature)

    own, other = run_on_replicas(two_replicas, step, pairs)
    means = {name: (own[0][name] + other[0][name]) / 2 for name in FIGURES}
    want = reference(z, temperature)
    assert_all_close(means, want, rtol=1e-4, atol=1e-5)
    for _, got in (own, other):
        assert_all_close(got, named({k: tf.constant(v, tf.float32) for k, v in want.items()}), rtol=1e-4, atol=1e-5)  # fmt: skip
