"""Contrastive accuracy and entropy against the formulas of the official code."""

import numpy as np
import pytest

from simclr_tf.losses.metrics import contrastive_metrics
from simclr_tf.stack import tf
from tests import loss_reference


def official(z, temperature):
    """From all N x N similarities of unit rows."""
    first, second = np.split(loss_reference.unit(z), 2)
    s = first @ second.T / temperature
    p = np.exp(s - s.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    accuracy = np.mean(np.argmax(s, 1) == np.arange(len(s)))
    return accuracy, np.mean(-np.sum(p * np.log(p + 1e-8), 1))


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
@pytest.mark.parametrize("n", [1, 7, 700, 1100])
def test_blocks_give_the_numbers_of_the_whole_matrix(n, jit_compile):
    z = loss_reference.views("correlated", n, 8, seed=n)
    accuracy, entropy = official(z, 0.1)
    step = tf.function(lambda z: contrastive_metrics(z, 0.1), jit_compile=jit_compile)
    got = step(tf.constant(z, tf.float16 if n == 7 else tf.float32))
    np.testing.assert_allclose(got["contrastive_accuracy"], accuracy, atol=1e-6)
    np.testing.assert_allclose(got["entropy"], entropy, atol=2e-3 if n == 7 else 3e-5)


def test_equal_rows_count_the_first_as_best():
    got = contrastive_metrics(tf.ones([8, 3]), 0.1)
    np.testing.assert_allclose(got["contrastive_accuracy"], 0.25)  # as tf.argmax does
    np.testing.assert_allclose(got["entropy"], np.log(4.0), rtol=1e-6)


def test_no_gradient():
    z = tf.constant(loss_reference.views("random", 4, 3), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        entropy = contrastive_metrics(z, 0.1)["entropy"]
    assert tape.gradient(entropy, z) is None
