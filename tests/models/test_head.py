"""Projection head, classifier and the builders."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.models import build
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.head import ProjectionHead

COMBINATIONS = [("none", 2), ("linear", 2), *[("nonlinear", layers) for layers in (1, 2, 3, 4)]]


def features(b=6, d=5):
    return np.random.default_rng(b).normal(size=(b, d)).astype("float32")


def reference(head, h, training):
    """The head in float64 NumPy, from its weights."""
    found = [np.float64(h)]
    for i, (dense, norm) in enumerate(zip(head.dense, head.norms)):
        last = i == len(head.dense) - 1
        y = found[-1] @ np.float64(dense.kernel)
        if norm is not None:
            mean = y.mean(0) if training else np.float64(norm.moving_mean)
            variance = y.var(0) if training else np.float64(norm.moving_variance)
            y = (y - mean) / np.sqrt(variance + 1e-5) * np.float64(norm.gamma)
            y = y if last else y + np.float64(norm.beta)
        elif not last:
            y = y + np.float64(dense.bias)
        found.append(y if last else np.maximum(y, 0))
    return found


@pytest.mark.parametrize("mode, layers", COMBINATIONS)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_norm", ["all", "hidden", "none"])
def test_outputs_are_the_official_head(mode, layers, training, batch_norm):
    head = ProjectionHead(mode, num_layers=layers, out_dim=3, batch_norm=batch_norm)
    head(features())
    rng = np.random.default_rng(1)
    head.set_weights([rng.uniform(0.5, 1.5, value.shape) for value in head.get_weights()])
    want = reference(head, features(), training)
    got = head.outputs(features(), training=training)
    assert len(got) == {"none": 1, "linear": 2}.get(mode, layers + 1)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("mode, layers", COMBINATIONS)
def test_shapes_and_variables(mode, layers):
    head = ProjectionHead(mode, num_layers=layers, out_dim=3)
    assert head(features()).shape == (6, 5 if mode == "none" else 3)
    depth = {"none": 0, "linear": 1}.get(mode, layers)
    leaves = sorted(v.name.split("/")[-1] for v in head.trainable_variables)
    hidden = max(depth - 1, 0)
    assert leaves == ["beta:0"] * hidden + ["gamma:0"] * depth + ["kernel:0"] * depth
    assert all(dense.kernel.shape[1] == 5 for dense in head.dense[:-1])


def test_kernels_start_small():
    head = ProjectionHead(out_dim=128)
    head(features(2, 256))
    for dense in head.dense:
        np.testing.assert_allclose(np.std(dense.kernel), 0.01, rtol=0.05)
    assert not np.allclose(head.dense[0].kernel[:, :8], head.dense[1].kernel[:, :8])


@pytest.mark.parametrize(
    "settings", [{"mode": "mlp"}, {"num_layers": 0}, {"num_layers": 5}, {"batch_norm": "some"}]
)
def test_unknown_heads_are_refused(settings):
    with pytest.raises(SettingsError, match="give"):
        ProjectionHead(**settings)


def test_head_config_round_trip():
    head = ProjectionHead("linear", out_dim=7, global_bn=False, seed=4)
    assert ProjectionHead.from_config(head.get_config()).get_config() == head.get_config()


@pytest.mark.parametrize("zero_init", [False, True])
def test_classifier(zero_init):
    classifier = LinearClassifier(40, zero_init=zero_init)
    h = features(3, 300)
    logits = classifier(h)
    kernel = np.float64(classifier.dense.kernel)
    bias = np.float64(classifier.dense.bias)
    np.testing.assert_allclose(logits, h @ kernel + bias, atol=1e-5)
    np.testing.assert_allclose(kernel.std(), 0 if zero_init else 0.01, rtol=0.05)
    np.testing.assert_array_equal(bias, 0)
    again = LinearClassifier.from_config(classifier.get_config())
    assert again.get_config() == classifier.get_config()


@pytest.mark.parametrize(
    "stem, image_size, want",
    [
        ("auto", 32, "small"),
        ("auto", 33, "imagenet"),
        ("small", 224, "small"),
        ("imagenet", 32, "imagenet"),
    ],
)
def test_stem_follows_the_image_size_unless_given(stem, image_size, want):
    assert build.resolve_stem(config.Model(stem=stem), image_size) == want


def test_build_makes_what_the_settings_say():
    settings = config.Model(
        resnet_depth=18, width_multiplier=0.25, proj_head_mode="linear", proj_out_dim=9
    )
    encoder = build.build_encoder(settings, image_size=16)
    head = build.build_head(settings, encoder.feature_dim)
    assert encoder.feature_dim == 128
    assert encoder(np.zeros([2, 16, 16, 3], "float32")).shape == (2, 128)
    assert head(np.zeros([2, 128], "float32")).shape == (2, 9)
    assert encoder.get_config()["stem"] == "small"
