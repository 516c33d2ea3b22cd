"""The encoder family: counts, initial values, padding, endpoints."""

import numpy as np
import pytest

from simclr_tf.errors import SettingsError
from simclr_tf.models.blocks import BasicBlock, BlockShape, Bottleneck, Stem
from simclr_tf.models.layers import Parts, pad_symmetrically
from simclr_tf.models.normalization import BatchNormalization
from simclr_tf.models.resnet import ResNet
from simclr_tf.stack import tf

# a count is the same on every stack
FIRST = [pytest.mark.slow, pytest.mark.one_stack]
SECOND = [pytest.mark.slow, pytest.mark.current_stack]
ENDPOINTS = [
    "initial_conv",
    "initial_max_pool",
    "block_group1",
    "block_group2",
    "block_group3",
    "block_group4",
    "final_avg_pool",
]


def build_in_graph(**settings):
    """A built encoder whose variables have shapes but no memory (graph mode, never initialised)."""
    with tf.Graph().as_default():
        encoder = ResNet(**settings)
        encoder.build((None, 32, 32, 3))
    return encoder


def trainable_parameters(encoder):
    return sum(int(np.prod(variable.shape)) for variable in encoder.trainable_variables)


@pytest.mark.parametrize(
    "depth, width, sk_ratio, stem, parameters, feature_dim",
    [
        (18, 1, 0, "small", 11_173_056, 512),
        (34, 1, 0, "small", 21_281_216, 512),
        (50, 1, 0, "small", 23_500_352, 2048),
        (18, 1, 0, "imagenet", 11_180_736, 512),
        (34, 1, 0, "imagenet", 21_288_896, 512),
        (50, 1, 0, "imagenet", 23_508_032, 2048),
        (50, 2, 0, "imagenet", 93_907_072, 4096),
        (50, 4, 0, "imagenet", 375_378_176, 8192),
        (101, 1, 0, "imagenet", 42_500_160, 2048),
        pytest.param(152, 1, 0, "imagenet", 58_143_808, 2048, marks=FIRST),
        pytest.param(200, 1, 0, "imagenet", 62_624_832, 2048, marks=SECOND),
        (50, 1, 0.0625, "imagenet", 35_215_584, 2048),
        pytest.param(50, 2, 0.0625, "imagenet", 140_306_048, 4096, marks=FIRST),
        pytest.param(101, 1, 0.0625, "imagenet", 64_662_304, 2048, marks=SECOND),
        pytest.param(152, 1, 0.0625, "imagenet", 88_940_896, 2048, marks=SECOND),
        pytest.param(152, 3, 0.0625, "imagenet", 794_704_160, 6144, marks=FIRST),
    ],
)
def test_parameter_counts_are_those_of_the_official_code(
    depth, width, sk_ratio, stem, parameters, feature_dim
):
    encoder = build_in_graph(depth=depth, width_multiplier=width, sk_ratio=sk_ratio, stem=stem)
    assert trainable_parameters(encoder) == parameters
    assert encoder.feature_dim == feature_dim


@pytest.mark.parametrize("depth, tensors", [(18, 63), (34, 111), (50, 159)])
def test_numbers_of_trainable_tensors(depth, tensors):
    assert len(build_in_graph(depth=depth).trainable_variables) == tensors


def small_resnet(**settings):
    encoder = ResNet(**{"depth": 18, "width_multiplier": 0.125, "stem": "small", **settings})
    encoder.build((None, 16, 16, 3))
    return encoder


def images(side, seed=0):
    return np.random.default_rng(seed).uniform(size=(2, side, side, 3)).astype("float32")


@pytest.mark.parametrize(
    "stem, sides", [("small", (16, 16, 16, 8, 4, 2)), ("imagenet", (8, 4, 4, 2, 1, 1))]
)
def test_endpoints_have_the_official_names_and_sizes(stem, sides):
    found = small_resnet(stem=stem).endpoints(images(16), training=False)
    assert list(found) == ENDPOINTS
    assert tuple(found[name].shape[1] for name in ENDPOINTS[:-1]) == sides
    assert found["final_avg_pool"].shape == (2, 64)


def test_call_returns_the_average_pool():
    encoder = small_resnet()
    for training in (False, True):
        found = encoder.endpoints(images(16), training=training)
        want = np.mean(np.float64(found["block_group4"]), axis=(1, 2))
        np.testing.assert_allclose(found["final_avg_pool"], want, rtol=1e-5)
        h = encoder(images(16), training=training)
        np.testing.assert_allclose(h, found["final_avg_pool"], rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"se_ratio": 0.25}, {"depth": 50, "sk_ratio": 0.0625}])
def test_initial_values(settings):
    encoder = small_resnet(width_multiplier=0.25, **settings)
    for variable in encoder.variables:
        value = variable.numpy()
        leaf = variable.name.split("/")[-1]
        if leaf == "kernel:0":
            want = np.sqrt(1 / np.prod(value.shape[:-1]))
            np.testing.assert_allclose(value.std(), want, rtol=0.15)
            assert np.abs(value).max() <= 2.3 * want  # truncated at two sigma of the full normal
        elif leaf in ("gamma:0", "moving_variance:0"):
            zero = leaf == "gamma:0" and is_last_of_branch(variable.name, encoder)
            np.testing.assert_array_equal(value, 0.0 if zero else 1.0)
        else:
            np.testing.assert_array_equal(value, 0.0)


def is_last_of_branch(name, encoder):
    last = "conv3_norm" if encoder.get_config()["depth"] >= 50 else "conv2_norm"
    return f"/{last}/" in name and name.startswith("block_group")


def test_batch_normalization_constants():
    encoder = small_resnet(batch_norm_decay=0.95, global_bn=False)
    norms = [layer for layer in encoder.submodules if isinstance(layer, BatchNormalization)]
    assert len(norms) == 21
    assert {(n.momentum, n.epsilon, n.global_statistics) for n in norms} == {(0.95, 1e-5, False)}


def test_a_residual_branch_starts_silent():
    encoder = small_resnet()
    found = encoder.endpoints(images(16), training=False)
    first = encoder.groups[0].blocks[0]
    want = tf.nn.relu(first.shortcut(found["initial_max_pool"], training=False))
    np.testing.assert_allclose(found["block_group1"], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel, strides, sides", [(7, 2, (3, 3)), (3, 2, (1, 1)), (2, 2, (0, 1))])
def test_strided_convolutions_pad_symmetrically(kernel, strides, sides):
    rows = np.arange(1.0, 26.0, dtype="float32").reshape(1, 5, 5, 1)
    got = pad_symmetrically(rows, kernel, strides)
    np.testing.assert_array_equal(got, np.pad(rows, [(0, 0), sides, sides, (0, 0)]))
    np.testing.assert_array_equal(pad_symmetrically(rows, kernel, 1), rows)


def test_same_seed_same_weights():
    one, same, other = (small_resnet(seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same))
    assert not np.array_equal(one[0], other[0])
    kernels = [value.ravel()[:8] for value in one if value.ndim == 4]
    assert len({tuple(kernel) for kernel in kernels}) == len(kernels)


def test_config_round_trip():
    encoder = small_resnet(sk_ratio=0.0625, global_bn=False, seed=3)
    again = ResNet.from_config(encoder.get_config())
    assert again.get_config() == encoder.get_config()


@pytest.mark.parametrize("settings", [{"depth": 20}, {"stem": "large"}])
def test_unknown_architectures_are_refused(settings):
    with pytest.raises(SettingsError, match="give one of"):
        ResNet(**settings)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("ratio", [0.0, 0.25])
def test_training_compiles_with_xla(kind, ratio):
    """Stem and one strided block of every kind; whole networks take minutes to compile."""
    parts = Parts(seed=0)
    stem = Stem("imagenet", 4, parts, sk_ratio=ratio)
    block = kind(BlockShape(4, 2, True, sk_ratio=ratio, se_ratio=ratio), parts)
    batch = np.random.default_rng(0).uniform(size=(4, 16, 16, 3)).astype("float32")

    def gradients(batch):
        with tf.GradientTape() as tape:
            outputs = block(stem(batch, training=True)[1], training=True)
            loss = tf.reduce_sum(outputs**3)
        return tape.gradient(loss, stem.trainable_variables + block.trainable_variables)

    block(stem(batch)[1])
    want = tf.function(gradients, autograph=False)(batch)
    got = tf.function(gradients, jit_compile=True, autograph=False)(batch)
    for a, b in zip(want, got):
        assert np.linalg.norm(a - b) <= 1e-3 * np.linalg.norm(b) + 1e-5
