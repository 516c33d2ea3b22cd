"""Losses and gradients of several replicas, each with images of its own, against one device."""

import numpy as np
import pytest

from simclr_tf.losses.metrics import contrastive_metrics
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.stack import keras, tf
from tests import loss_reference
from tests.conftest import mirrored
from tests.replicas import run_on_replicas

IMAGES = 12
WIDTH = 8


@pytest.fixture(scope="module")
def three_replicas():
    return mirrored(3)


@pytest.fixture(
    params=[
        "two_replicas",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("three_replicas", "four_replicas")),
    ]
)
def strategy(request):
    return request.getfixturevalue(request.param)


def by_image(z):
    """[2n, ...] as [n, 2, ...], so that a part of axis 0 is a replica's share."""
    return np.stack(np.split(z, 2), 1).astype(np.float32)


def by_view(pairs):
    """[n, 2, ...] as [2n, ...]: the layout a loss takes."""
    return tf.concat([pairs[:, 0], pairs[:, 1]], 0)


def losses_and_gradients(losses, strategy, z):
    """Of each loss: the sum over replicas of loss / replicas, and its d / dz as [2n, p]."""

    def step(pairs):
        results = []
        for loss in losses:
            with tf.GradientTape() as tape:
                tape.watch(pairs)
                value = loss(by_view(pairs)) / strategy.num_replicas_in_sync
            results.append((value, tape.gradient(value, pairs)))
        return results

    shares = run_on_replicas(strategy, step, by_image(z))
    for of_replicas in zip(*shares):
        gradient = np.concatenate([gradient for _, gradient in of_replicas])
        yield sum(value for value, _ in of_replicas), by_view(gradient).numpy()


def test_nt_xent_is_that_of_one_device(strategy):
    z = loss_reference.views("correlated", IMAGES, WIDTH)
    losses = [NTXent(0.01), NTXent(1.0), NTXent(0.1, block_size=4), NTXent(0.1, jit_compile=True)]
    for loss, (got, gradient) in zip(losses, losses_and_gradients(losses, strategy, z)):
        want, want_gradient = loss_reference.nt_xent(z, loss.temperature)
        limit = 2e-6 if loss.temperature >= 0.05 else 1e-5
        assert abs(got - want) <= limit * want, loss.get_config()
        error = np.linalg.norm(gradient - want_gradient) / np.linalg.norm(want_gradient)
        assert error <= limit, loss.get_config()


def test_unnormalised_and_dense(strategy):
    z = loss_reference.views("random", IMAGES, WIDTH)
    want, want_gradient = loss_reference.nt_xent(z, 2.0, hidden_norm=False)
    ((got, gradient),) = losses_and_gradients(
        [NTXent(2.0, hidden_norm=False, block_size=-1)], strategy, z
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(gradient, want_gradient, atol=2e-6)


def test_metrics_are_those_of_the_global_batch(strategy):
    z = loss_reference.views("correlated", IMAGES, WIDTH)
    want = contrastive_metrics(tf.constant(z), 0.1)
    step = lambda pairs: contrastive_metrics(by_view(pairs), 0.1)  # noqa: E731
    for got in run_on_replicas(strategy, step, by_image(z)):
        np.testing.assert_allclose(got["entropy"], want["entropy"], rtol=1e-5)
        np.testing.assert_allclose(got["contrastive_accuracy"], want["contrastive_accuracy"])


class Encoder(keras.Model):
    """A linear encoder trained on the loss as a user of the library would write it."""

    def __init__(self, loss):
        super().__init__()
        self.dense = keras.layers.Dense(5, use_bias=False)
        self.contrastive = loss

    def call(self, x):
        return self.dense(x)

    def train_step(self, pairs):
        with tf.GradientTape() as tape:
            objective = self.contrastive(self(by_view(pairs)))
            objective /= tf.distribute.get_strategy().num_replicas_in_sync
        gradients = tape.gradient(objective, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {"loss": objective}


def test_keras_fit_takes_the_step_of_one_device(strategy):
    x = loss_reference.views("correlated", IMAGES, WIDTH)
    kernel = np.random.default_rng(1).normal(size=[WIDTH, 5]).astype(np.float32)
    with strategy.scope():
        model = Encoder(NTXent(0.2))
        model.build([None, WIDTH])
        model.dense.kernel.assign(kernel)
        model.compile(optimizer=keras.optimizers.SGD(1.0))
    data = tf.data.Dataset.from_tensors(by_image(x)).unbatch().batch(IMAGES, drop_remainder=True)
    model.fit(data, epochs=1, verbose=0)
    _, of_z = loss_reference.nt_xent(x @ np.float64(kernel), 0.2)
    step = kernel - model.dense.kernel.numpy()
    np.testing.assert_allclose(step, x.T @ of_z, atol=1e-5 * np.abs(kernel).max())
