"""BatchNormalization against float64 NumPy, with different rows on every replica."""

import numpy as np
import pytest

from simclr_tf.models.normalization import BatchNormalization
from simclr_tf.stack import keras, tf
from tests.replicas import run_on_replicas

EPSILON = 1e-5
SHAPES = [(8, 3, 5, 4), (8, 4)]


def rows(shape, offset=0.0, seed=0):
    """Every example with a mean and scale of its own, so replicas differ."""
    rng = np.random.default_rng(seed)
    each = [shape[0]] + [1] * (len(shape) - 1)
    values = rng.normal(size=shape) * rng.uniform(0.5, 2, each) + rng.normal(size=each)
    return (values + offset).astype("float32")


def layer(shape, **settings):
    norm = BatchNormalization(**settings)
    norm.build(shape)
    rng = np.random.default_rng(7)
    norm.set_weights([rng.uniform(0.5, 1.5, v.shape) for v in norm.get_weights()])
    return norm


def reference(x, upstream, gamma, beta):
    """Outputs, moments and gradients of sum(upstream * outputs), float64."""
    axes = tuple(range(x.ndim - 1))
    x, upstream, gamma, beta = (np.float64(value) for value in (x, upstream, gamma, beta))
    mean = x.mean(axes)
    variance = x.var(axes)
    sigma = np.sqrt(variance + EPSILON)
    x_hat = (x - mean) / sigma
    centred = upstream - upstream.mean(axes) - x_hat * (upstream * x_hat).mean(axes)
    return dict(
        outputs=x_hat * gamma + beta, mean=mean, variance=variance, inputs=gamma / sigma * centred,
        gamma=(upstream * x_hat).sum(axes), beta=upstream.sum(axes),
    )  # fmt: skip


def train_call(norm):
    """x, upstream -> outputs, gradients and updated statistics, for one replica."""

    def function(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = norm(x, training=True)
            loss = tf.reduce_sum(upstream * tf.cast(outputs, upstream.dtype))
        inputs, gamma, beta = tape.gradient(loss, [x, norm.gamma, norm.beta])
        return dict(
            outputs=outputs, inputs=inputs, gamma=gamma, beta=beta,
            moving_mean=norm.moving_mean + 0.0, moving_variance=norm.moving_variance + 0.0,
        )  # fmt: skip

    return function


def check(got, want, start, rtol=2e-4):
    for name in ("outputs", "inputs", "gamma", "beta"):
        scale = np.abs(want[name]).max()
        np.testing.assert_allclose(got[name], want[name], rtol=rtol, atol=rtol * scale)
    for name, moment in (("moving_mean", want["mean"]), ("moving_variance", want["variance"])):
        np.testing.assert_allclose(got[name], 0.9 * start[name] + 0.1 * moment, rtol=1e-5)


def statistics(norm):
    return {
        name: np.float64(getattr(norm, name).numpy()) for name in ("moving_mean", "moving_variance")
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_one_replica(shape, offset):
    norm = layer(shape)
    x = rows(shape, offset)
    upstream = rows(shape, seed=1)
    start = statistics(norm)
    got = tf.function(train_call(norm), autograph=False)(tf.constant(x), tf.constant(upstream))
    check(got, reference(x, upstream, norm.gamma, norm.beta), start)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize("replicas", ["two_replicas", "four_replicas"])
def test_replicas_with_different_rows_use_global_statistics(shape, offset, replicas, request):
    strategy = request.getfixturevalue(replicas)
    with strategy.scope():
        norm = layer(shape)
    x = rows(shape, offset)
    upstream = rows(shape, seed=1)
    start = statistics(norm)
    parts = run_on_replicas(strategy, train_call(norm), x, upstream)
    got = {name: np.concatenate([part[name] for part in parts]) for name in ("outputs", "inputs")}
    got.update({name: sum(part[name] for part in parts) for name in ("gamma", "beta")})
    for part in parts:
        statistics_of_part = {name: part[name] for name in start}
        check({**got, **statistics_of_part}, reference(x, upstream, norm.gamma, norm.beta), start)


def test_local_statistics_on_request(two_replicas):
    with two_replicas.scope():
        norm = layer(SHAPES[0], global_statistics=False)
    x = rows((8, 3, 5, 4))
    upstream = rows((8, 3, 5, 4), seed=1)
    parts = run_on_replicas(two_replicas, train_call(norm), x, upstream)
    for part, half, up in zip(parts, np.split(x, 2), np.split(upstream, 2)):
        want = reference(half, up, norm.gamma, norm.beta)
        np.testing.assert_allclose(part["outputs"], want["outputs"], rtol=1e-4, atol=1e-4)


def large_mean_rows():
    """Means 10,000 times the deviation: E[x^2] - E[x]^2 is pure rounding in float32."""
    return rows((64, 2, 1, 4), offset=1e4)


def check_large_means(outputs, norm):
    x = large_mean_rows()
    want = reference(x, np.ones_like(x), norm.gamma, norm.beta)["outputs"]
    np.testing.assert_allclose(outputs, want, rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_large_means_cost_no_precision(jit_compile):
    norm = layer((64, 2, 1, 4))
    call = tf.function(train_call(norm), jit_compile=jit_compile, autograph=False)
    x = tf.constant(large_mean_rows())
    got = call(x, tf.ones_like(x))
    check_large_means(got["outputs"], norm)
    moments = np.mean(np.float64(x), (0, 1, 2)), np.var(np.float64(x), (0, 1, 2))
    start = np.random.default_rng(7).uniform(0.5, 1.5, (4, 4))[2:]
    np.testing.assert_allclose(got["moving_mean"], 0.9 * start[0] + 0.1 * moments[0], rtol=1e-5)
    np.testing.assert_allclose(got["moving_variance"], 0.9 * start[1] + 0.1 * moments[1], rtol=1e-2)


def test_large_means_cost_no_precision_on_replicas(two_replicas):
    with two_replicas.scope():
        norm = layer((64, 2, 1, 4))
    x = large_mean_rows()
    parts = run_on_replicas(two_replicas, train_call(norm), x, np.ones_like(x))
    check_large_means(np.concatenate([part["outputs"] for part in parts]), norm)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", [{}, {"center": False}, {"scale": False}])
def test_inference_uses_the_moving_averages(shape, settings):
    norm = layer(shape, **settings)
    x = rows(shape)
    before = norm.get_weights()
    gamma = 1.0 if norm.gamma is None else np.float64(norm.gamma)
    beta = 0.0 if norm.beta is None else np.float64(norm.beta)
    sigma = np.sqrt(np.float64(norm.moving_variance) + EPSILON)
    want = (x - np.float64(norm.moving_mean)) / sigma * gamma + beta
    np.testing.assert_allclose(norm(x, training=False), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm(x), want, rtol=1e-4, atol=1e-5)
    norm.trainable = False
    np.testing.assert_allclose(norm(x, training=True), want, rtol=1e-4, atol=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(before, norm.get_weights()))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_float32_moments(dtype, two_replicas):
    """A variance of 1e6 overflows float16; the statistics stay float32."""
    x = rows((8, 3, 5, 4)) * 1000
    want = {}
    for name, strategy in (("one", None), ("two", two_replicas)):
        with strategy.scope() if strategy else tf.distribute.get_strategy().scope():
            norm = layer(SHAPES[0], dtype=keras.mixed_precision.Policy("mixed_" + dtype))

        def call(batch, norm=norm):
            outputs = norm(tf.cast(batch, dtype), training=True)
            assert outputs.dtype == dtype and norm.moving_mean.dtype == "float32"
            return tf.cast(outputs, tf.float32), norm.moving_variance + 0.0

        if strategy is None:
            want[name] = [value.numpy() for value in tf.function(call, autograph=False)(x)]
        else:
            parts = run_on_replicas(strategy, call, x)
            want[name] = [np.concatenate([part[0] for part in parts]), parts[0][1]]
    np.testing.assert_allclose(want["one"][0], want["two"][0], rtol=2e-2, atol=2e-2)
    np.testing.assert_allclose(want["one"][1], want["two"][1], rtol=1e-3)
    start = np.random.default_rng(7).uniform(0.5, 1.5, (4, 4))[3]
    moment = np.var(np.float64(tf.cast(x, dtype)), axis=(0, 1, 2))
    np.testing.assert_allclose(want["one"][1], 0.9 * start + 0.1 * moment, rtol=1e-3)


def test_exported_graphs_hold_only_fused_operations():
    norm = layer(SHAPES[0])
    function = tf.function(lambda x: norm(x, training=True), autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec([None, 3, 5, 4])).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert "FusedBatchNormV3" in kinds
    assert not {kind for kind in kinds if "Collective" in kind or kind == "IdentityN"}


def test_one_packed_collective_forward_and_one_backward(two_replicas):
    with two_replicas.scope():
        norm = layer(SHAPES[0])
    parts = [tf.zeros([4, 3, 5, 4])] * 2
    values = two_replicas.experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )
    step = tf.function(lambda *args: two_replicas.run(train_call(norm), args=args), autograph=False)
    graph = step.get_concrete_function(values, values).graph
    reductions = [op for op in graph.get_operations() if op.type.startswith("CollectiveReduce")]
    assert len(reductions) == 2 * two_replicas.num_replicas_in_sync


def test_gradients_compile_with_xla():
    for shape in SHAPES:
        norm = layer(shape)
        x = rows(shape)
        upstream = rows(shape, seed=1)
        start = statistics(norm)
        compiled = tf.function(train_call(norm), jit_compile=True, autograph=False)
        got = compiled(tf.constant(x), tf.constant(upstream))
        check(got, reference(x, upstream, norm.gamma, norm.beta), start)


def test_config_round_trip():
    norm = BatchNormalization(momentum=0.8, global_statistics=False, center=False)
    again = BatchNormalization.from_config(norm.get_config())
    assert again.get_config() == norm.get_config()
