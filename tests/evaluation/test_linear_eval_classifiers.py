"""The classifiers of linear evaluation against NumPy, alone, as a grid and on two replicas."""

import numpy as np
import pytest

from simclr_tf.errors import DivergedError
from simclr_tf.evaluation.linear import LinearClassifiers, LinearTrainer, train_classifiers
from simclr_tf.stack import keras, tf

RNG = np.random.default_rng(4)
ROWS = RNG.normal(size=(24, 5)).astype(np.float32)
LABELS = RNG.integers(0, 3, 24).astype(np.int32)
RATE = 0.3
MOMENTUM = 0.9
BATCH = 8


def batches():
    columns = {"images": ROWS, "label": LABELS}
    return tf.data.Dataset.from_tensor_slices(columns).repeat().batch(BATCH, drop_remainder=True)


def trained(steps, functions=None, strategy=None, rate=RATE, jit_compile=False, **settings):
    functions = functions or {"rows": lambda rows: rows}
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        dims = {name: int(f(tf.zeros([1, 5])).shape[1]) for name, f in functions.items()}
        classifiers = LinearClassifiers(dims, 3, **settings)
        trainer = LinearTrainer(classifiers, functions, lambda b: b["images"], rate, MOMENTUM)
    train_classifiers(trainer, batches(), steps, strategy, jit_compile=jit_compile)
    return classifiers, trainer


def reference(steps, rate=RATE, decay=0.0):
    """Softmax regression by Nesterov SGD, float64: v = m v - lr g, w += m v - lr g."""
    weight = np.zeros((5, 3))
    bias = np.zeros(3)
    speed = [np.zeros_like(weight), np.zeros_like(bias)]
    for step in range(steps):
        picked = np.arange(step * BATCH, (step + 1) * BATCH) % 24
        x = ROWS[picked].astype(np.float64)
        y = np.eye(3)[LABELS[picked]]
        logits = x @ weight + bias
        share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        gradients = [x.T @ (share - y) / BATCH + decay * weight, (share - y).mean(axis=0)]
        speed = [MOMENTUM * v - rate * g for v, g in zip(speed, gradients)]
        weight = weight + MOMENTUM * speed[0] - rate * gradients[0]
        bias = bias + MOMENTUM * speed[1] - rate * gradients[1]
    return weight, bias


def check(classifiers, steps, member=0, name="rows", **settings):
    weight, bias = reference(steps, **settings)
    np.testing.assert_allclose(classifiers.kernels[name][member], weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(classifiers.biases[name][member, 0], bias, rtol=1e-4, atol=1e-5)
    scores = classifiers.scores(name, ROWS, member)
    np.testing.assert_allclose(scores, ROWS @ weight + bias, rtol=1e-3, atol=1e-4)


def test_one_classifier_is_softmax_regression():
    check(trained(7)[0], 7)


def test_a_grid_trains_as_if_each_member_were_alone():
    classifiers, _ = trained(6, grid=((1.0, 0.0), (0.1, 0.05), (2.0, 0.01)))
    check(classifiers, 6, 0)
    check(classifiers, 6, 1, rate=0.1 * RATE, decay=0.05)
    check(classifiers, 6, 2, rate=2.0 * RATE, decay=0.01)


def test_feature_spaces_do_not_disturb_each_other():
    functions = {"rows": lambda rows: rows, "doubled": lambda rows: tf.concat([rows, rows], 1)}
    check(trained(5, functions)[0], 5)


def test_two_replicas_train_as_one(two_replicas):
    classifiers, _ = trained(5, strategy=two_replicas)
    check(classifiers, 5)


def test_the_step_compiles_with_xla():
    check(trained(5, jit_compile=True)[0], 5)


def test_the_encoder_gets_no_gradient_and_no_optimizer_slot():
    encoder = keras.Sequential([keras.layers.Dense(4, use_bias=False), keras.layers.BatchNormalization()])  # fmt: skip
    encoder.build((None, 5))
    before = [value.copy() for value in encoder.get_weights()]
    functions = {"h": lambda rows: encoder(rows, training=False)}
    classifiers, trainer = trained(4, functions)
    for old, new in zip(before, encoder.get_weights()):
        np.testing.assert_array_equal(new, old)
    shapes = sorted(tuple(v.shape) for v in trainer.optimizer.variables if v.shape.rank)
    assert shapes == [(1, 1, 3), (1, 4, 3)]  # one velocity per classifier variable, nothing else
    assert np.abs(classifiers.kernels["h"].numpy()).max() > 0


def test_a_random_start_is_seeded_and_small():
    starts = [trained(0, zero_init=False, seed=seed)[0].kernels["rows"].numpy() for seed in (1, 1, 2)]  # fmt: skip
    np.testing.assert_array_equal(starts[0], starts[1])
    assert np.abs(starts[0] - starts[2]).max() > 0
    assert 0.002 < starts[0].std() < 0.03


def test_divergence_is_an_error_that_names_the_features():
    functions = {"rows": lambda rows: rows * 1e30}
    with pytest.raises(DivergedError, match="rows features is (nan|inf).*lower --learning_rate"):
        trained(20, functions, rate=1e30)
