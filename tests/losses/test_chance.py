"""The chance value of a loss is its value when all embeddings are equal."""

import math

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.config.training import LOSSES
from simclr_tf.losses.many_views import OverPairs
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.losses.table import chance_value, make_loss
from simclr_tf.stack import keras, tf


def of_equal(loss, images, views=2):
    z = tf.ones([views * images, 4]) * [1.0, -2.0, 0.5, 3.0]
    labels = tf.constant(np.arange(images) % 3 - 1, tf.int32) if loss.needs_labels else None
    return float(loss(z, labels))


@pytest.mark.parametrize("images", [2, 9])
@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5, "margin": 1.6}])
@pytest.mark.parametrize("name", LOSSES)
def test_it_is_the_value_of_equal_embeddings(name, settings, images):
    settings = config.Loss(loss=name, **settings)
    got = chance_value(settings, images)
    if got is not None:
        assert got == pytest.approx(of_equal(make_loss(settings), images), rel=1e-5)


def test_known_values():
    assert chance_value(config.Loss(), 512) == pytest.approx(math.log(1023))
    assert chance_value(config.Loss(loss="decoupled"), 512) == pytest.approx(math.log(1022))
    assert chance_value(config.Loss(loss="supcon"), 512) == pytest.approx(math.log(1023))
    assert chance_value(config.Loss(loss="margin", margin=0.4), 512) == 0.4
    logistic = math.log1p(math.exp(-2)) + math.log1p(math.exp(2))
    loss = config.Loss(loss="nt_logistic", temperature=0.5)
    assert chance_value(loss, 512) == pytest.approx(logistic)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "margin", "semi_hard": True},
        {"loss": "nt_logistic", "semi_hard": True},
        {"loss": "nt_logistic", "hidden_norm": False},
    ],
)
def test_losses_without_such_a_value_say_so(settings):
    assert chance_value(config.Loss(**settings), 64) is None


def test_without_hidden_norm_softmax_losses_keep_it():
    for name in ("nt_xent", "decoupled", "supcon", "margin"):
        settings = config.Loss(loss=name, hidden_norm=False)
        want = of_equal(make_loss(settings), 5)
        assert chance_value(settings, 5) == pytest.approx(want, rel=1e-5)


def test_pairs_of_many_views_have_the_value_of_a_pair():
    loss = OverPairs(NTXent(0.2, jit_compile=False), 3)
    assert loss.chance(6) == pytest.approx(of_equal(loss, 6, views=3), rel=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()
