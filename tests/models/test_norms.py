"""Group and layer normalization against NumPy, and in the ResNet and the head."""

import numpy as np
import pytest

from simclr_tf.errors import SettingsError
from simclr_tf.models.head import ProjectionHead
from simclr_tf.models.norms import GroupNormalization, make_norm
from simclr_tf.models.resnet import ResNet
from simclr_tf.optimizers.groups import undecayed_variables
from simclr_tf.stack import tf


@pytest.mark.parametrize("shape", [(3, 5, 4, 12), (4, 12)])
@pytest.mark.parametrize("kind, groups", [("group", 12), ("layer", 1)])
def test_statistics_are_those_of_one_example(kind, groups, shape):
    x = 50.0 + np.random.default_rng(0).normal(size=shape).astype(np.float32)
    layer = make_norm(kind)
    got = tf.function(lambda x: layer(x, training=True), jit_compile=True)(x)
    grouped = x.astype(np.float64).reshape(shape[0], -1, groups, 12 // groups)
    mean = grouped.mean((1, 3), keepdims=True)
    variance = grouped.var((1, 3), keepdims=True)
    want = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(shape)
    np.testing.assert_allclose(got, want, atol=2e-3 if groups == 12 and len(shape) == 2 else 2e-4)


@pytest.mark.parametrize("channels, groups", [(64, 32), (48, 24), (7, 7), (37, 1), (1, 1)])
def test_groups_divide_the_channels(channels, groups):
    layer = GroupNormalization()
    layer.build((None, 4, 4, channels))
    assert layer.groups == groups


def test_half_precision_is_normalised_in_float32():
    x = tf.constant(300.0 + np.random.default_rng(1).normal(size=(2, 40, 40, 8)), tf.float16)
    got = GroupNormalization(1, dtype=tf.keras.mixed_precision.Policy("mixed_float16"))(x)
    assert got.dtype == tf.float16
    np.testing.assert_allclose(np.std(got.numpy().astype(np.float64), (1, 2, 3)), 1.0, atol=2e-3)


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_an_image_does_not_feel_the_others(norm):
    encoder = ResNet(18, 0.125, stem="small", norm=norm)
    head = ProjectionHead(out_dim=4, norm=norm)
    images = tf.random.stateless_uniform([3, 16, 16, 3], [1, 2])
    whole = head(encoder(images, training=True), training=True)
    alone = head(encoder(images[1:2], training=True), training=True)
    np.testing.assert_allclose(whole[1:2], alone, rtol=1e-4, atol=1e-5)
    assert not encoder.non_trainable_variables and not head.non_trainable_variables
    copy = ResNet.from_config(encoder.get_config())
    assert copy.get_config()["norm"] == norm
    scales = [v for v in encoder.trainable_variables if "gamma" in v.name or "beta" in v.name]
    assert {id(v) for v in undecayed_variables(encoder)} == {id(v) for v in scales}


def test_unknown_kind():
    with pytest.raises(SettingsError, match="norm=instance is not known: give batch, group, layer"):
        make_norm("instance")
