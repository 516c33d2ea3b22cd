"""NT-Xent on one device: golden numbers, float64 reference, special batches, graphs."""

import numpy as np
import pytest

from simclr_tf import stack
from simclr_tf.errors import SettingsError
from simclr_tf.losses import base
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.stack import keras, tf
from tests import loss_reference

GOLDEN = np.sin(1.0 + 3.0 * np.arange(8)[:, None] + np.arange(3))
MODES = {
    "eager": lambda function: function,
    "graph": lambda function: tf.function(function, autograph=False),
    "xla": lambda function: tf.function(function, autograph=False, jit_compile=True),
}
KERNELS = {"dense": -1, "blocks": 32, "auto": 0}


def with_gradient(loss, z):
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(z)
    return value, tape.gradient(value, z)


def value_and_gradient(loss, z, mode="graph"):
    step = MODES[mode](lambda z: with_gradient(loss, z))
    value, gradient = step(tf.convert_to_tensor(z))
    return value.numpy(), gradient.numpy()


def relative(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


@pytest.mark.parametrize("block_size", [-1, 0, 2, 6])
@pytest.mark.parametrize(
    "hidden_norm, temperature, official, gradient",
    [  # twice the loss of the paper, computed with the official code
        (True, 0.1, 3.307936, [0.435289, -0.287114, -0.745545]),
        (True, 0.5, 2.400551, [0.044993, -0.029677, -0.077063]),
        (True, 1.0, 2.658839, [0.045972, -0.030323, -0.078739]),
        (False, 1.0, 2.452798, [-0.032325, -0.113359, -0.090171]),
        (False, 10.0, 3.599252, [-0.020807, -0.049596, -0.032786]),
    ],
)
def test_golden_numbers(hidden_norm, temperature, official, gradient, block_size):
    loss = NTXent(temperature, hidden_norm=hidden_norm, block_size=block_size)
    got, got_gradient = value_and_gradient(loss, GOLDEN.astype(np.float32))
    np.testing.assert_allclose(2 * got, official, atol=2e-6)
    np.testing.assert_allclose(2 * got_gradient[0], gradient, atol=2e-6)


@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize("kernel", ["dense", "blocks"])
@pytest.mark.parametrize("temperature", [0.01, 0.03, 0.05, 0.1, 0.5])
def test_float64_reference(kernel, temperature, mode):
    of_loss, of_gradient, of_collapsed = (
        (1e-6, 3e-6, 2e-5) if temperature >= 0.05 else (1e-5, 2e-5, 6e-5)
    )
    loss = NTXent(temperature, block_size=KERNELS[kernel])
    step = MODES[mode](lambda z: with_gradient(loss, z))
    for kind in ("random", "correlated", "aligned", "antipodal", "collapsed"):
        z = loss_reference.views(kind, 50, 16)
        want, want_gradient = loss_reference.nt_xent(z, temperature)
        got, gradient = step(tf.constant(z, tf.float32))
        allowed = of_collapsed if kind == "collapsed" else of_gradient
        assert abs(got - want) <= of_loss * want, (kind, got, want)
        if np.linalg.norm(want_gradient) > 1e-30:  # float32 ends there
            assert relative(gradient, want_gradient) <= allowed, kind


@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_gradient_with_respect_to_unit_rows(temperature):
    z = loss_reference.unit(loss_reference.views("correlated", 33, 8))
    want, want_gradient = loss_reference.nt_xent(z, temperature, hidden_norm=False)
    loss = NTXent(temperature, hidden_norm=False, block_size=16)
    got, gradient = value_and_gradient(loss, z.astype(np.float32))
    assert abs(got - want) <= 1e-5 * want
    assert relative(gradient, want_gradient) <= 2e-5


@pytest.mark.parametrize("mode", sorted(MODES))
def test_batch_size_known_only_at_run_time(mode):
    loss = NTXent(0.1, block_size=16)
    signature = [tf.TensorSpec([None, 8])]
    step = tf.function(lambda z: with_gradient(loss, z), input_signature=signature, autograph=False)
    if mode == "xla":
        step = tf.function(step, jit_compile=True)
    for n in (1, 2, 3, 8, 17, 32):
        z = loss_reference.views("correlated", n, 8, seed=n)
        want, want_gradient = loss_reference.nt_xent(z, 0.1)
        got, gradient = step(tf.constant(z, tf.float32))
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.01, 0.1])
@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_special_batches(kernel, temperature):
    n = 20
    loss = NTXent(temperature, block_size=KERNELS[kernel])
    step = MODES["graph"](lambda z: with_gradient(loss, z))
    equal, gradient = step(tf.ones([2 * n, 4]))
    np.testing.assert_allclose(equal, np.log(2 * n - 1), rtol=1e-6)
    assert np.abs(gradient).max() < 1e-5
    zeros, gradient = step(tf.zeros([2 * n, 4]))
    np.testing.assert_allclose(zeros, np.log(2 * n - 1), rtol=1e-6)
    np.testing.assert_array_equal(gradient, 0.0)
    alone, gradient = step(tf.constant([[1.0, 2.0], [2.0, -1.0]]))
    assert alone == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
    z = loss_reference.views("random", n, 4).astype(np.float32)
    z[3] = 0.0
    one_zero, gradient = step(tf.constant(z))
    assert np.isfinite(one_zero) and np.isfinite(gradient).all()
    z[3] = np.nan
    assert np.isnan(step(tf.constant(z))[0])


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_large_rows_without_norm(kernel):
    z = 30.0 * loss_reference.unit(loss_reference.views("correlated", 20, 8))
    want, want_gradient = loss_reference.nt_xent(z, 1.0, hidden_norm=False)
    loss = NTXent(1.0, hidden_norm=False, block_size=KERNELS[kernel])
    got, gradient = value_and_gradient(loss, z.astype(np.float32))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient, want_gradient, atol=1e-4 * np.abs(want_gradient).max())


@pytest.mark.parametrize("dtype, tolerance", [(tf.float16, 1e-3), (tf.bfloat16, 5e-3)])
def test_low_precision_input(dtype, tolerance):
    z = 300.0 * loss_reference.views("correlated", 20, 8)  # squares overflow in float16
    rounded = tf.cast(tf.constant(z), dtype)
    want, want_gradient = loss_reference.nt_xent(np.float64(tf.cast(rounded, tf.float64)), 0.1)
    value, gradient = with_gradient(NTXent(0.1), rounded)
    assert value.dtype == tf.float32 and gradient.dtype == dtype
    np.testing.assert_allclose(value, want, rtol=1e-6)
    scaled = with_gradient(lambda z: NTXent(0.1)(z) * 1e5, rounded)[1]  # as loss scaling does
    assert relative(tf.cast(scaled, tf.float64) / 1e5, want_gradient) < tolerance


def test_kernels_compiled_for_themselves():
    z = loss_reference.views("correlated", 20, 8).astype(np.float32)
    want = value_and_gradient(NTXent(0.1, block_size=16), z)
    for mode in sorted(MODES):
        got = value_and_gradient(NTXent(0.1, block_size=16, jit_compile=True), z, mode)
        np.testing.assert_allclose(got[0], want[0], rtol=1e-6)
        np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-6)


def test_graph_does_not_grow_with_the_batch():
    def nodes(n):
        step = tf.function(lambda z: with_gradient(NTXent(0.1), z), autograph=False)
        graph = step.get_concrete_function(tf.TensorSpec([2 * n, 128])).graph.as_graph_def()
        return len(graph.node), len(graph.library.function)

    assert nodes(1024) == nodes(65536)
    assert nodes(1024)[0] <= 250


def test_config_round_trip():
    loss = NTXent(0.2, hidden_norm=False, block_size=64, jit_compile=True, name="pair_loss")
    again = NTXent.from_config(loss.get_config())
    assert again.get_config() == loss.get_config()
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(restored, NTXent) and restored.get_config() == loss.get_config()


@pytest.mark.parametrize(
    "build",
    [
        lambda: NTXent(0.0),
        lambda: NTXent(float("nan")),
        lambda: NTXent(block_size=-2),
        lambda: NTXent(block_size=33),
        lambda: NTXent()(tf.zeros([3, 4])),
        lambda: NTXent()(tf.zeros([4])),
    ],
)
def test_mistakes_are_one_sentence(build):
    with pytest.raises(SettingsError) as caught:
        build()
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_large_tiles_of_accelerators_give_the_same_loss(monkeypatch):
    z = np.random.default_rng(3).normal(size=[48, 8]).astype(np.float32)
    want = value_and_gradient(NTXent(0.1, block_size=-1), z)
    monkeypatch.setattr(stack, "accelerated", lambda: True)
    monkeypatch.setattr(base, "WIDE_BLOCK_ROWS", 16)
    assert NTXent(0.1).row_blocks(48, 48) == (16, 16)
    for mine, plain in zip(value_and_gradient(NTXent(0.1), z), want):
        np.testing.assert_allclose(mine, plain, rtol=1e-4, atol=1e-6)
