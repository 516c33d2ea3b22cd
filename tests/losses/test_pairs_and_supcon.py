"""NT-Logistic, margin triplet, decoupled and supervised losses on one device and on replicas."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.config.training import LOSSES
from simclr_tf.errors import SettingsError
from simclr_tf.losses.decoupled import DecoupledNTXent
from simclr_tf.losses.margin import MarginTriplet
from simclr_tf.losses.nt_logistic import NTLogistic
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.losses.supcon import SupervisedContrastive
from simclr_tf.losses.table import entry, make_loss
from simclr_tf.stack import keras, tf
from tests import loss_reference
from tests.replicas import run_on_replicas

GOLDEN = tf.constant(np.sin(1.0 + 3.0 * np.arange(8)[:, None] + np.arange(3)), tf.float32)
IMAGES = 8
WIDTH = 5
LABELS = np.int32([0, 1, 0, -1, 2, 1, 0, -1])
CASES = {  # a loss, its reference
    "logistic": (NTLogistic(0.5), lambda z: loss_reference.pairwise(z, "logistic", 0.5, False)),
    "logistic, semi-hard": (
        NTLogistic(0.2, semi_hard=True),
        lambda z: loss_reference.pairwise(z, "logistic", 0.2, True),
    ),
    "margin": (MarginTriplet(0.4), lambda z: loss_reference.pairwise(z, "margin", 0.4, False)),
    "margin, semi-hard": (
        MarginTriplet(0.8, semi_hard=True),
        lambda z: loss_reference.pairwise(z, "margin", 0.8, True),
    ),
    "decoupled": (
        DecoupledNTXent(0.1),
        lambda z: loss_reference.nt_xent(z, 0.1, decoupled=True),
    ),
    "supervised": (
        SupervisedContrastive(0.1),
        lambda z: loss_reference.supervised(z, LABELS, 0.1),
    ),
}


def with_blocks(loss, **settings):
    return type(loss).from_config({**loss.get_config(), **settings})


def with_gradient(loss, z, labels):
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(z, labels)
    return value, tape.gradient(value, z)


@pytest.mark.parametrize(
    "temperature, averaged, mined",
    [(0.2, 1.411227, 1.762159), (0.5, 0.894362, 1.051995), (1.0, 0.991937, 1.079776)],
)
def test_logistic_golden_numbers(temperature, averaged, mined):
    np.testing.assert_allclose(NTLogistic(temperature)(GOLDEN), averaged, atol=1e-6)
    np.testing.assert_allclose(NTLogistic(temperature, semi_hard=True)(GOLDEN), mined, atol=1e-6)


@pytest.mark.parametrize(
    "margin, averaged, mined",
    [(0.0, 0.017639, 0.0), (0.4, 0.122936, 0.115892), (0.8, 0.256269, 0.315892),
     (1.6, 0.535999, 0.715892)],
)  # fmt: skip
def test_margin_golden_numbers(margin, averaged, mined):
    np.testing.assert_allclose(MarginTriplet(margin)(GOLDEN), averaged, atol=1e-6)
    np.testing.assert_allclose(MarginTriplet(margin, semi_hard=True)(GOLDEN), mined, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"block_size": 4}, {"block_size": 6}, {"block_size": -1}])
@pytest.mark.parametrize("case", sorted(CASES))
def test_reference(case, settings):
    loss, reference = CASES[case]
    z = loss_reference.views("correlated", IMAGES, WIDTH)
    want, want_gradient = reference(z)
    step = tf.function(with_gradient, autograph=False, jit_compile="block_size" not in settings)
    got, gradient = step(with_blocks(loss, **settings), tf.constant(z, tf.float32), LABELS)
    np.testing.assert_allclose(got, want, rtol=2e-6)
    error = np.linalg.norm(gradient - want_gradient) / np.linalg.norm(want_gradient)
    assert error < 5e-6


@pytest.mark.parametrize(
    "replicas, cases",
    [("two_replicas", sorted(CASES)), ("four_replicas", ["margin, semi-hard", "supervised"])],
)
def test_replicas_give_the_loss_and_gradient_of_one(replicas, cases, request):
    strategy = request.getfixturevalue(replicas)
    z = loss_reference.views("correlated", IMAGES, WIDTH)
    pairs = np.stack(np.split(z, 2), 1).astype(np.float32)

    def step(pairs, labels):
        return {name: of_share(CASES[name][0], pairs, labels) for name in cases}

    def of_share(loss, pairs, labels):
        flat = tf.concat([pairs[:, 0], pairs[:, 1]], 0)
        value, gradient = with_gradient(
            lambda z, labels: loss(z, labels) / strategy.num_replicas_in_sync, flat, labels
        )
        return value, tf.stack(tf.split(gradient, 2), 1)

    shares = run_on_replicas(strategy, step, pairs, LABELS)
    for name in cases:
        want, want_gradient = CASES[name][1](z)
        value = sum(share[name][0] for share in shares)
        gradient = np.concatenate([share[name][1] for share in shares])
        gradient = np.concatenate([gradient[:, 0], gradient[:, 1]])
        np.testing.assert_allclose(value, want, rtol=2e-6, err_msg=name)
        error = np.linalg.norm(gradient - want_gradient) / np.linalg.norm(want_gradient)
        assert error < 5e-6, name


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_supervised_without_any_label_is_nt_xent(temperature):
    z = tf.constant(loss_reference.views("aligned", IMAGES, WIDTH), tf.float32)
    nothing = tf.fill([IMAGES], -1)
    got, gradient = with_gradient(SupervisedContrastive(temperature), z, nothing)
    want, want_gradient = with_gradient(NTXent(temperature), z, None)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-3, atol=1e-7 / temperature)


@pytest.mark.parametrize("case", sorted(CASES))
def test_special_batches(case):
    loss = CASES[case][0]
    nothing = tf.constant([-1])
    alone, gradient = with_gradient(loss, tf.constant([[1.0, 2.0], [2.0, -1.0]]), nothing)
    assert np.isfinite(alone) and np.isfinite(gradient).all()
    assert alone == 0.0 or "logistic" in case
    for rows in (tf.zeros([8, 3]), tf.ones([8, 3])):
        value, gradient = with_gradient(loss, rows, tf.zeros([4], tf.int32))
        assert np.isfinite(value) and np.abs(gradient).max() < 1e-4
    z = loss_reference.views("random", 4, 3).astype(np.float32)
    z[2] = np.nan
    assert np.isnan(loss(z, tf.zeros([4], tf.int32)))


def test_half_precision_input():
    z = tf.cast(100.0 * loss_reference.views("correlated", IMAGES, WIDTH), tf.float16)
    for name, (loss, reference) in CASES.items():
        value, gradient = with_gradient(loss, z, LABELS)
        assert value.dtype == tf.float32 and gradient.dtype == tf.float16
        want = reference(np.float64(z))[0]
        np.testing.assert_allclose(value, want, rtol=2e-6, err_msg=name)


@pytest.mark.parametrize("name", LOSSES)
def test_table_and_config_round_trip(name):
    settings = config.Loss(loss=name, temperature=0.3, margin=0.6, loss_block_size=64)
    loss = make_loss(settings)
    assert type(loss) is entry(name).kind and loss.temperature == 0.3 and loss.block_size == 64
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(restored) is type(loss) and restored.get_config() == loss.get_config()


def test_settings_of_the_table():
    assert make_loss(config.Loss(loss="margin", margin=1.6, semi_hard=True)).margin == 1.6
    assert make_loss(config.Loss(loss="nt_logistic", semi_hard=True)).semi_hard
    assert [name for name in LOSSES if entry(name).kind.needs_labels] == ["supcon"]
    for mistake in (
        lambda: config.Loss(loss="supcon", semi_hard=True),
        lambda: config.Loss(loss="triplet"),
        lambda: SupervisedContrastive()(GOLDEN),
        lambda: MarginTriplet(-0.1),
    ):
        with pytest.raises(SettingsError, match=r"\.$"):
            mistake()
