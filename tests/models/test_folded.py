"""A folded encoder gives the h of the encoder that it was made of, in every kind of network."""

import numpy as np
import pytest

from simclr_tf.evaluation.frozen import fastest
from simclr_tf.models.folded import FoldedResNet
from simclr_tf.models.resnet import ResNet
from simclr_tf.stack import keras, tf

SIZE = 16
NETWORKS = {
    "basic, small stem": dict(depth=10, stem="small", stem_padding=2, first_shortcut="identity"),
    "basic, strided stem": dict(depth=10, stem="strided", input_norm="imagenet"),
    "bottleneck, squeezed": dict(depth=50, stem="imagenet", se_ratio=0.5, pool_padding="symmetric"),
    "selective kernels": dict(depth=50, stem="imagenet", sk_ratio=0.0625),
}


def trained(precision, depth, **settings):
    """A tiny network whose normalizations have seen something, and images."""
    keras.mixed_precision.set_global_policy(precision)
    try:
        encoder = ResNet(depth, 0.05, **settings)
        encoder.build((None, SIZE, SIZE, 3))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    random = np.random.default_rng(0)
    for layer in encoder.submodules:
        if hasattr(layer, "moving_variance"):
            width = layer.gamma.shape
            layer.gamma.assign(random.uniform(0.5, 1.5, width))
            layer.beta.assign(random.normal(0.0, 0.3, width))
            layer.moving_mean.assign(random.normal(0.0, 0.3, width))
            layer.moving_variance.assign(random.uniform(0.5, 2.0, width))
    return encoder, tf.constant(random.random([3, SIZE, SIZE, 3], np.float32))


def relative(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_changes_rounding_only(name):
    encoder, images = trained("float32", **NETWORKS[name])
    assert relative(FoldedResNet(encoder)(images), encoder(images, training=False)) < 1e-5


def test_in_half_precision_it_is_as_near_to_float32_as_the_encoder_is():
    settings = NETWORKS["basic, strided stem"]
    exact, images = trained("float32", **settings)
    encoder, _ = trained("mixed_bfloat16", **settings)
    for own, other in zip(encoder.variables, exact.variables):
        own.assign(other)
    wanted = exact(images, training=False)
    folded = fastest(encoder)
    assert isinstance(folded, FoldedResNet)
    found = folded(images, training=False)
    assert found.dtype == tf.float32
    rounding = relative(encoder(images, training=False), wanted)
    assert 0 < relative(found, wanted) < 2 * rounding < 0.1


def test_what_gains_nothing_stays_the_encoder():
    exact, _ = trained("float32", depth=10, stem="small")
    assert fastest(exact) is exact
    grouped, _ = trained("mixed_bfloat16", depth=10, stem="small", norm="group")
    assert fastest(grouped) is grouped


def test_a_folded_encoder_refuses_to_train():
    encoder, images = trained("float32", depth=10, stem="small")
    with pytest.raises(ValueError, match="frozen"):
        FoldedResNet(encoder)(images, training=True)
