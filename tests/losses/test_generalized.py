"""The generalized contrastive loss against its formulas in float64."""

import functools

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.losses.generalized import GeneralizedContrastive
from simclr_tf.losses.many_views import OverPairs
from simclr_tf.losses.table import chance_value, make_loss
from simclr_tf.stack import tf
from tests import loss_reference
from tests.replicas import run_on_replicas

IMAGES = 8
WIDTH = 5
STEP = 3
CASES = {
    "log_sum_exp": {"temperature": 0.2},
    "log_sum_exp, raw": {"temperature": 2.0, "hidden_norm": False},
    "hypersphere": {},
    "hypercube": {"hidden_norm": False},
    "normal": {"hidden_norm": False},
}


def make(case, **settings):
    prior = case.split(",")[0]
    return GeneralizedContrastive(prior, 0.7, seed=11, **{**CASES[case], **settings})


def reference(case, z):
    """Value, and gradient by central differences, good to about 1e-8."""
    loss = make(case)
    directions, prior = (np.float64(x) for x in loss.draws(len(z), z.shape[1], STEP))

    def value(z):
        z = loss_reference.unit(z) if loss.hidden_norm else z
        first, second = np.split(z, 2)
        alignment = np.mean((first - second) ** 2) / 2
        if loss.prior == "log_sum_exp":
            sums = np.sum(np.exp(z @ z.T / loss.temperature), 1)
            return alignment + 0.7 * np.mean(np.log(sums) - np.log(z.shape[1]))
        projected, wanted = (np.sort(rows @ directions.T, 0) for rows in (z, prior))
        return alignment + 0.7 * np.mean((projected - wanted) ** 2)

    gradient = np.zeros_like(z)
    for place in np.ndindex(*z.shape):
        for sign in (1, -1):
            moved = z.copy()
            moved[place] += sign * 1e-6
            gradient[place] += sign * value(moved) / 2e-6
    return value(z), gradient


def with_gradient(loss, z, step):
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(z, None, step)
    return value, tape.gradient(value, z)


def assert_equal(got, want):
    np.testing.assert_allclose(got[0], want[0], rtol=3e-6)
    assert np.linalg.norm(got[1] - want[1]) < 1e-5 * np.linalg.norm(want[1])


@pytest.mark.parametrize("settings", [{}, {"block_size": 4}, {"block_size": 6}])
@pytest.mark.parametrize("case", sorted(CASES))
def test_reference(case, settings):
    z = loss_reference.views("correlated", IMAGES, WIDTH)
    step = tf.function(with_gradient, autograph=False, jit_compile="block_size" not in settings)
    got = step(make(case, **settings), tf.constant(z, tf.float32), tf.constant(STEP))
    assert_equal(got, reference(case, z))


def test_replicas_give_the_loss_and_gradient_of_one(two_replicas):
    z = loss_reference.views("correlated", IMAGES, WIDTH)
    pairs = np.stack(np.split(z, 2), 1).astype(np.float32)

    def step(pairs):
        flat = tf.concat([pairs[:, 0], pairs[:, 1]], 0)
        found = {}
        for case in CASES:
            half = lambda z, labels, step, loss=make(case): loss(z, labels, step) / 2.0  # noqa: E731
            value, gradient = with_gradient(half, flat, STEP)
            found[case] = value, tf.stack(tf.split(gradient, 2), 1)
        return found

    shares = run_on_replicas(two_replicas, step, pairs)
    for case in CASES:
        gradient = np.concatenate([share[case][1] for share in shares])
        gradient = np.concatenate([gradient[:, 0], gradient[:, 1]])
        value = sum(share[case][0] for share in shares)
        assert_equal((value, gradient), reference(case, z))


def test_figures_come_with_the_same_loss():
    z = tf.constant(loss_reference.views("correlated", IMAGES, WIDTH), tf.float32)
    for case in CASES:
        value, figures = make(case).with_figures(z, None, STEP)
        np.testing.assert_allclose(value, make(case)(z, None, STEP), rtol=1e-6)
        assert all(np.isfinite(figure) for figure in figures.values()) and figures


def test_directions_are_orthonormal_and_new_in_every_step():
    loss = make("normal")
    directions, prior = loss.draws(6, WIDTH, 0)
    np.testing.assert_allclose(directions @ tf.transpose(directions), np.eye(WIDTH), atol=1e-6)
    for other in (loss.draws(6, WIDTH, 1), GeneralizedContrastive("normal", hidden_norm=False, seed=12).draws(6, WIDTH, 0)):  # fmt: skip
        assert np.abs(directions - other[0]).max() > 0.1 and np.abs(prior - other[1]).max() > 0.1
    again = loss.draws(6, WIDTH, tf.constant(0, tf.int64))
    np.testing.assert_array_equal(directions, again[0])
    np.testing.assert_array_equal(prior, again[1])


@pytest.mark.parametrize("case", ["hypersphere", "hypercube", "normal"])
def test_draws_of_the_prior_are_nearer_to_it_than_one_point(case):
    loss = make(case)
    _, prior = loss.draws(400, WIDTH, 7)
    both = tf.concat([prior, prior], 0)  # aligned, and distributed as asked
    point = tf.ones([800, WIDTH])
    assert loss(both, None, 8) < 0.1 * loss(point, None, 8)


@pytest.mark.parametrize("case", sorted(CASES))
def test_special_batches(case):
    loss = make(case)
    for rows in (tf.constant([[1.0, 2.0], [2.0, -1.0]]), tf.zeros([8, 3]), tf.ones([8, 3])):
        value, gradient = with_gradient(loss, rows, 0)
        assert np.isfinite(value) and np.isfinite(gradient).all()
    z = loss_reference.views("random", 4, 3).astype(np.float32)
    z[2] = np.nan
    assert np.isnan(loss(z))


def test_settings():
    made = make_loss(config.Loss(loss="generalized", prior="hypersphere"), seed=5)
    assert (made.prior, made.seed, made.temperature) == ("hypersphere", 5, 0.1)
    assert chance_value(config.Loss(loss="generalized"), 8) is None
    assert OverPairs(made, 3).needs_step
    z = tf.constant(loss_reference.views("random", 6, WIDTH), tf.float32)  # three views of four
    pairs = [np.r_[0:8], np.r_[0:4, 8:12], np.r_[4:12]]
    want = np.mean([made(tf.gather(z, rows), None, 2) for rows in pairs])
    np.testing.assert_allclose(OverPairs(made, 3)(z, None, 2), want, rtol=1e-6)
    for mistake in (
        functools.partial(config.Loss, loss="generalized", prior="normal"),
        functools.partial(config.Loss, loss="generalized", prior="hypersphere", hidden_norm=False),
        functools.partial(config.Loss, loss="generalized", prior="cube"),
        functools.partial(GeneralizedContrastive, "cube"),
        functools.partial(GeneralizedContrastive, "hypersphere", 0.0),
    ):
        with pytest.raises(SettingsError, match=r"\.$"):
            mistake()
