"""Every optimizer of the table: which variables are decayed, and how."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.models.head import ProjectionHead
from simclr_tf.models.resnet import ResNet
from simclr_tf.optimizers.averaging import averaged_weights
from simclr_tf.optimizers.coupled import Adam
from simclr_tf.optimizers.groups import undecayed_variables
from simclr_tf.optimizers.table import make_optimizer
from simclr_tf.stack import keras, load_addons, tf
from tests.replicas import run_on_replicas

KERNEL = [[1.0, -2.0], [3.0, 4.0]]
BIAS = [0.5, -0.5]
GRADIENTS = np.random.default_rng(0).normal(size=[4, 3, 2]).astype("float32")


def has_addons():
    try:
        load_addons("a test")
    except SettingsError:
        return False
    return True


def adam_update(m, v, step):
    return (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-7)


def reference(name, value, gradients, decay, rate=0.1):
    """Four steps in float64, each written from the method's paper."""
    w = np.float64(value)
    m = np.zeros_like(value)
    v = np.zeros_like(value)
    for step, gradient in enumerate(np.float64(gradients), start=1):
        g = gradient if name == "adamw" else gradient + decay * w
        if name in ("momentum", "nesterov"):
            m = 0.9 * m - rate * g
            w = w + (0.9 * m - rate * g if name == "nesterov" else m)
            continue
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        decoupled = rate * decay * w if name == "adamw" else 0.0
        w = w - decoupled - rate * adam_update(m, v, step)
    return w


def settings_of(name, **others):
    nesterov = name == "nesterov"
    optimizer = "momentum" if nesterov else name
    return config.Optimizer(optimizer=optimizer, nesterov=nesterov, **others)


@pytest.mark.parametrize("name", ["momentum", "nesterov", "adam", "adamw"])
def test_decay_reaches_the_right_variables(name):
    kernel = tf.Variable(KERNEL, name="kernel")
    bias = tf.Variable(BIAS, name="bias")
    optimizer = make_optimizer(settings_of(name, weight_decay=0.2), 0.1, [bias])
    for gradient in GRADIENTS:
        optimizer.apply_gradients([(gradient[:2], kernel), (gradient[2], bias)])
    want = reference(name, KERNEL, GRADIENTS[:, :2], decay=0.2)
    np.testing.assert_allclose(kernel, want, rtol=1e-5)
    want = reference(name, BIAS, GRADIENTS[:, 2], decay=0.0)
    np.testing.assert_allclose(bias, want, rtol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_one_operation_of_adam_is_the_update_of_keras(compiled):
    values = [np.float32(KERNEL), np.float32(BIAS)]
    gradients = [GRADIENTS[:, :2], GRADIENTS[:, 2]]
    found = []
    for kind in (Adam, keras.optimizers.Adam):
        variables = [tf.Variable(value) for value in values]
        optimizer = kind(keras.optimizers.schedules.CosineDecay(0.1, 9), jit_compile=False)
        optimizer.build(variables)

        def step(number, optimizer=optimizer, variables=variables):
            pairs = [(tf.constant(each)[number], v) for each, v in zip(gradients, variables)]
            optimizer.apply_gradients(pairs)

        step = tf.function(step, jit_compile=compiled)
        for number in range(4):
            step(tf.constant(number))
        found.append([*variables, *optimizer.variables])
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["lars", "momentum", "adam"])
def test_configs_round_trip(name):
    bias = tf.Variable(BIAS, name="bias")
    optimizer = make_optimizer(settings_of(name, weight_decay=0.2), 0.1, [bias])
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    assert again.get_config()["exclude"] == ["bias:0"]


def lamb_reference(value, gradients, decay, adapted, rate=0.1):
    """arXiv:1904.00962, algorithm 2, with bias correction."""
    w = np.float64(value)
    m = np.zeros_like(value)
    v = np.zeros_like(value)
    for step, g in enumerate(np.float64(gradients), start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        update = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-6) + decay * w
        ratio = np.linalg.norm(w) / np.linalg.norm(update) if adapted else 1.0
        w = w - rate * ratio * update
    return w


def test_lamb_runs_on_replicas_or_says_what_it_needs(two_replicas):
    settings = config.Optimizer(optimizer="lamb", weight_decay=0.2)
    if not has_addons():
        with pytest.raises(SettingsError, match="--optimizer=lamb needs tensorflow-addons"):
            make_optimizer(settings, 0.1)
        return
    with two_replicas.scope():
        kernel = tf.Variable(KERNEL, name="a/kernel")
        bias = tf.Variable(BIAS, name="a/bias")
        optimizer = make_optimizer(settings, 0.1, [bias])
        optimizer.build([kernel, bias])

    def step(gradient):
        optimizer.apply_gradients([(gradient[:2], kernel), (gradient[2], bias)])
        return kernel + 0.0, bias + 0.0

    def four_steps(shares):
        return [step(shares[i]) for i in range(4)][-1]

    shares = np.concatenate([0.25 * GRADIENTS, 0.75 * GRADIENTS])
    for got, got_bias in run_on_replicas(two_replicas, four_steps, shares):
        want = lamb_reference(KERNEL, GRADIENTS[:, :2], 0.2, adapted=True)
        np.testing.assert_allclose(got, want, rtol=1e-4)
        want = lamb_reference(BIAS, GRADIENTS[:, 2], 0.0, adapted=False)
        np.testing.assert_allclose(got_bias, want, rtol=1e-4)


@pytest.mark.parametrize("name", ["lars", "momentum", "adam", "adamw"])
def test_averaged_weights_come_and_go(name, two_replicas):
    settings = settings_of(name, ema_momentum=0.75)
    with two_replicas.scope():
        kernel = tf.Variable(KERNEL, name="kernel")
        optimizer = make_optimizer(settings, 0.1)

    def steps(shares):
        found = []
        for i in range(4):
            optimizer.apply_gradients([(shares[i, :2], kernel)])
            found.append(kernel + 0.0)
        return found

    shares = np.concatenate([0.25 * GRADIENTS, 0.75 * GRADIENTS])
    trained = run_on_replicas(two_replicas, steps, shares)[0]
    average = np.float64(KERNEL)
    for value in trained:
        average = 0.75 * average + 0.25 * value
    with averaged_weights(optimizer, [kernel]):
        np.testing.assert_allclose(kernel.numpy(), average, rtol=1e-5)
    np.testing.assert_array_equal(kernel.numpy(), trained[-1])


def test_lamb_cannot_average():
    with pytest.raises(SettingsError, match="ema_momentum=0.9 does not work with optimizer=lamb"):
        settings_of("lamb", ema_momentum=0.9)


def test_without_averaging_weights_stay():
    kernel = tf.Variable(KERNEL)
    with averaged_weights(make_optimizer(settings_of("lars"), 0.1), [kernel]):
        np.testing.assert_array_equal(kernel, KERNEL)


def test_undecayed_variables_are_found_by_layer_type():
    encoder = ResNet(18, width_multiplier=0.125, stem="small", se_ratio=0.25)
    encoder.build((None, 16, 16, 3))
    head = ProjectionHead(out_dim=8)
    head(tf.zeros([1, encoder.feature_dim]))
    found = undecayed_variables(encoder, head)
    names = sorted(variable.name.split("/")[-1] for variable in found)
    assert names == ["beta:0"] * 22 + ["bias:0"] * 16 + ["gamma:0"] * 23
    everything = encoder.trainable_variables + head.trainable_variables
    decayed = [v for v in everything if not any(v is other for other in found)]
    assert {variable.name.split("/")[-1] for variable in decayed} == {"kernel:0"}


def test_a_layer_is_not_recognised_by_its_name():
    layer = keras.layers.Dense(2, name="batch_normalization_bias")
    layer.build([None, 2])
    found = undecayed_variables(layer)
    assert len(found) == 1 and found[0] is layer.bias
