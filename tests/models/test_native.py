"""Our networks as plain Keras layers: the same values in, the same values out."""

import numpy as np
import pytest

from simclr_tf.models import native
from simclr_tf.models.layers import Parts, SelectiveKernel
from simclr_tf.stack import keras_of_files, tf
from tests import export_models as tiny


def randomized(part, seed=0):
    rng = np.random.default_rng(seed)
    for variable in part.variables:
        noise = rng.normal(size=variable.shape).astype("float32")
        variable.assign(0.5 + np.abs(noise) if "variance" in variable.name else noise)


@pytest.mark.parametrize("norm", ["batch", "group", "layer"])
@pytest.mark.parametrize("strides", [1, 2])
def test_selective_kernels_are_plain_layers(norm, strides):
    layer = SelectiveKernel(6, strides, Parts(seed=0, norm=norm), sk_ratio=0.5)
    images = np.random.default_rng(1).random([2, 9, 7, 4], np.float32)
    layer(images)
    randomized(layer)
    graph = native.Graph("sk")
    x = graph.add(native.IMAGES, "InputLayer", batch_shape=[None, None, None, 4])
    graph.outputs = {"h": native._selective_kernel(graph, "sk", layer, x)}
    model = native.build(graph, keras_of_files())
    want = layer(images, training=False).numpy()
    got = model.predict_on_batch(images)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())
    before = [variable.numpy() for variable in layer.variables]
    values = [weight.read() for node in graph.nodes for weight in node.weights]
    for variable in layer.variables:
        variable.assign(tf.zeros_like(variable))
    places = [weight for node in graph.nodes for weight in node.weights]
    for weight, value in zip(places, values):
        weight.assign(value)
    for variable, old in zip(layer.variables, before):
        np.testing.assert_array_equal(variable.numpy(), old)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "layer", "proj_bn": "hidden", "num_proj_layers": 3},
        {"pool_padding": "symmetric", "input_norm": "imagenet", "proj_head_mode": "linear"},
        {"proj_bn": "none", "image_channels": 4, "image_size": 16},
        {
            "first_shortcut": "identity",
            "stem_padding": 2,
            "input_norm": "cifar10",
            "image_size": 16,
        },
        pytest.param(
            {"resnet_depth": 50, "sk_ratio": 0.0625, "se_ratio": 0.25}, marks=pytest.mark.slow
        ),
    ],
)
def test_every_kind_of_network_computes_the_same(changes):
    settings = tiny.make_settings(**changes)
    encoder, head, probe = tiny.make_parts(settings)
    graph = native.draw("x", encoder, head, probe, wanted=("h", "z", "logits"))
    model = native.build(graph, keras_of_files())
    model.run_eagerly = True
    variables = sum(int(np.prod(v.shape)) for part in (encoder, head, probe) for v in part.weights)
    assert model.count_params() == variables
    for side in (settings["image_size"], 47):  # any size
        images = np.random.default_rng(0).random(
            [2, side, side, settings["image_channels"]], np.float32
        )
        h = encoder(images, training=False)
        want = {"h": h, "z": head(h, training=False), "logits": probe(h)}
        for name, got in model.predict_on_batch(images).items():
            scale = np.abs(want[name]).max()
            np.testing.assert_allclose(got, want[name], rtol=0, atol=1e-5 * scale)


def test_layers_have_the_documented_names():
    encoder, head, probe = tiny.make_parts(tiny.make_settings())
    names = [node.name for node in native.draw("x", encoder, head, probe).nodes]
    assert names[:9] == [
        "images", "rescaling", "initial_conv_pad", "initial_conv", "stem_norm", "stem_relu",
        "initial_max_pool", "block_group1_block0_shortcut_conv",
        "block_group1_block0_shortcut_conv_norm",
    ]  # fmt: skip
    assert names[-9:] == [
        "block_group4", "final_avg_pool", "proj_head_input", "proj_head_dense1", "proj_head_norm1",
        "z1", "proj_head_dense2", "proj_head_output", "logits_sup",
    ]  # fmt: skip
    assert len(set(names)) == len(names)
