"""LARS against golden numbers of the official code and float64 NumPy."""

import numpy as np
import pytest

from simclr_tf.errors import SettingsError
from simclr_tf.optimizers.lars import LARS
from simclr_tf.optimizers.schedule import WarmUpCosine
from simclr_tf.stack import keras, tf
from tests.replicas import run_on_replicas

START = [[1.0, 2.0], [3.0, 4.0]]
GRADIENT = [[0.1, -0.2], [0.3, -0.4]]


def steps_of(optimizer, start, gradients):
    """The variable after each step."""
    variable = tf.Variable(start, name="w")
    found = []
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        found.append(variable.numpy())
    return found


@pytest.mark.parametrize(
    "weight_decay, want",
    [
        (
            1e-4,
            [
                [[0.998999, 2.001999], [2.996996, 4.003997]],
                [[0.997096, 2.005797], [2.991287, 4.011594]],
                [[0.994381, 2.011216], [2.983142, 4.022432]],
            ],
        ),
        (
            0.0,
            [
                [[0.999, 2.002], [2.997, 4.004]],
                [[0.9971, 2.005801], [2.991299, 4.011602]],
                [[0.994388, 2.011223], [2.983165, 4.022447]],
            ],
        ),
    ],
)
def test_adapted_variables_take_the_golden_steps(weight_decay, want):
    got = steps_of(LARS(1.0, weight_decay=weight_decay), START, [GRADIENT] * 3)
    np.testing.assert_allclose(got, want, atol=1.5e-6)


def test_excluded_variables_take_the_golden_steps():
    variable = tf.Variable(START)
    optimizer = LARS(1.0, weight_decay=1e-4, exclude=[variable])
    want = [
        [[0.9, 2.2], [2.7, 4.4]],
        [[0.71, 2.58], [2.13, 5.16]],
        [[0.439, 3.122], [1.317, 6.244]],
    ]
    for value in want:
        optimizer.apply_gradients([(tf.constant(GRADIENT), variable)])
        np.testing.assert_allclose(variable, value, rtol=1e-6)


def test_a_zero_variable_is_not_adapted():
    got = steps_of(LARS(1.0), [[0.0, 0.0], [0.0, 0.0]], [GRADIENT])
    np.testing.assert_allclose(got[0], -np.float32(GRADIENT), rtol=1e-6)


def test_a_zero_gradient_moves_nothing():
    got = steps_of(LARS(1.0, weight_decay=0.0), START, [np.zeros([2, 2], "float32")])
    np.testing.assert_array_equal(got[0], START)


def reference(gradients, classic, nesterov, decay=0.01, rate=0.5, momentum=0.8, trust=0.02):
    """The update of the official code and its unused branches, float64."""
    w = np.float64(START)
    v = np.zeros([2, 2])
    found = []
    for gradient in np.float64(gradients):
        g = gradient + decay * w
        if classic:
            scaled = rate * trust * np.linalg.norm(w) / np.linalg.norm(g) * g
            v = momentum * v + scaled
            w = w - (momentum * v + scaled if nesterov else v)
        else:
            v = momentum * v + g
            u = momentum * v + g if nesterov else v
            w = w - rate * trust * np.linalg.norm(w) / np.linalg.norm(u) * u
        found.append(w)
    return found


@pytest.mark.parametrize("classic", [True, False])
@pytest.mark.parametrize("nesterov", [True, False])
def test_every_branch_is_the_formula(classic, nesterov):
    gradients = np.random.default_rng(0).normal(size=[5, 2, 2]).astype("float32")
    optimizer = LARS(
        0.5, momentum=0.8, weight_decay=0.01, trust_coefficient=0.02,
        classic_momentum=classic, use_nesterov=nesterov,
    )  # fmt: skip
    got = steps_of(optimizer, START, gradients)
    np.testing.assert_allclose(got, reference(gradients, classic, nesterov), rtol=1e-5)


def torch_reference(gradients, variant, nesterov, *, rate, decay, momentum=0.8, trust=0.02):
    """The loop of lightly's and solo-learn's LARS over one weight, float64."""
    w = np.float64(START)
    buffer = None
    found = []
    for gradient in np.float64(gradients):
        step = gradient
        length = np.linalg.norm(w)
        slope = np.linalg.norm(gradient)
        skipped = variant == "lightly" and decay == 0
        if length != 0 and slope != 0 and not skipped:
            local = trust * length / (slope + length * decay + 1e-8)
            if variant == "solo_learn":
                local = min(local / rate, 1)
            step = (gradient + decay * w) * local
        buffer = step if buffer is None else momentum * buffer + step
        w = w - rate * (step + momentum * buffer if nesterov else buffer)
        found.append(w)
    return found


@pytest.mark.parametrize("variant", ["lightly", "solo_learn"])
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("rate, decay", [(0.5, 0.01), (0.01, 0.1), (0.5, 0.0)])
def test_the_pytorch_forms_are_their_formulas(variant, nesterov, rate, decay):
    gradients = np.random.default_rng(0).normal(size=[5, 2, 2]).astype("float32")
    gradients[2] = 0.0
    optimizer = LARS(
        rate, momentum=0.8, weight_decay=decay, trust_coefficient=0.02, variant=variant,
        use_nesterov=nesterov,
    )  # fmt: skip
    got = steps_of(optimizer, START, gradients)
    want = torch_reference(gradients, variant, nesterov, rate=rate, decay=decay)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_the_clipped_form_survives_a_rate_of_zero():
    schedule = WarmUpCosine(1.0, 2, 5)  # its first step has rate 0
    first, second = steps_of(LARS(schedule, variant="solo_learn"), START, [GRADIENT] * 2)
    np.testing.assert_array_equal(first, START)
    assert np.isfinite(second).all() and (second != first).all()


def test_an_unknown_form_is_refused():
    with pytest.raises(SettingsError, match="give one of official, lightly, solo_learn"):
        LARS(variant="bolts")


def test_config_round_trip_takes_the_same_steps():
    variables = [tf.Variable(START, name="kernel"), tf.Variable([1.0, 2.0], name="bias")]
    optimizer = LARS(
        WarmUpCosine(2.0, 1, 5), momentum=0.8, weight_decay=0.01, trust_coefficient=0.02,
        classic_momentum=False, use_nesterov=True, exclude=variables[1:], global_clipnorm=0.3,
    )  # fmt: skip
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is LARS and again.get_config() == optimizer.get_config()
    copies = [tf.Variable(variable.numpy(), name=variable.name[:-2]) for variable in variables]
    gradients = [tf.constant(GRADIENT), tf.constant([0.5, 0.25])]
    for _ in range(3):
        optimizer.apply_gradients(zip(gradients, variables))
        again.apply_gradients(zip(gradients, copies))
    for variable, copy in zip(variables, copies):
        np.testing.assert_array_equal(variable, copy)


def test_a_config_with_ambiguous_names_is_refused():
    twins = [tf.Variable([1.0], name="bias"), tf.Variable([2.0], name="bias")]
    again = LARS.from_config(LARS(exclude=twins).get_config())
    with pytest.raises(SettingsError, match="several variables share a name"):
        again.build(twins)


def test_replicas_take_the_step_of_the_summed_gradient(two_replicas):
    gradients = np.random.default_rng(1).normal(size=[4, 2]).astype("float32")
    want = steps_of(LARS(0.5, weight_decay=0.01), START, [gradients[:2] + gradients[2:]])
    with two_replicas.scope():
        variable = tf.Variable(START)
        excluded = tf.Variable(START)
        optimizer = LARS(0.5, weight_decay=0.01, exclude=[excluded])

    def step(gradient):
        optimizer.apply_gradients([(gradient, variable), (gradient, excluded)])
        return variable + 0.0, excluded + 0.0

    for got, plain in run_on_replicas(two_replicas, step, gradients):
        np.testing.assert_allclose(got, want[0], rtol=1e-6)
        moved = np.float32(START) - 0.5 * (gradients[:2] + gradients[2:])
        np.testing.assert_allclose(plain, moved, rtol=1e-6)


def test_mixed_precision_with_loss_scaling():
    dense = keras.layers.Dense(3, dtype="mixed_float16")
    dense.build([None, 2])
    inner = LARS(0.1, weight_decay=0.1, exclude=[dense.bias])
    optimizer = keras.mixed_precision.LossScaleOptimizer(inner)
    start = dense.bias.numpy()
    gradients = [tf.ones_like(variable) for variable in dense.trainable_variables]
    optimizer.apply_gradients(zip(gradients, dense.trainable_variables))
    np.testing.assert_allclose(dense.bias.numpy(), start - 0.1, rtol=1e-6)
    assert np.abs(dense.kernel.numpy()).max() < 2  # adapted: not moved by the full rate


def test_update_compiles_with_xla():
    variable = tf.Variable(START)
    optimizer = LARS(1.0, weight_decay=1e-4)
    optimizer.build([variable])
    step = tf.function(
        lambda g: optimizer.apply_gradients([(g, variable)]), jit_compile=True, autograph=False
    )
    step(tf.constant(GRADIENT))
    np.testing.assert_allclose(variable, [[0.998999, 2.001999], [2.996996, 4.003997]], atol=1.5e-6)
