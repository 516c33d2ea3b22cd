"""A layer of the projection head as h, for every head."""

import json

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation.frozen import weights_hash
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.selection import layer_index, select_layer
from simclr_tf.runs import restore
from simclr_tf.stack import tf
from tests.tiny_run import save_tiny_run

HEADS = [("none", 1), ("linear", 1), *[("nonlinear", layers) for layers in (1, 2, 3, 4)]]


@pytest.fixture(scope="module")
def encoder():
    settings = config.Model(resnet_depth=10, width_multiplier=0.0625)
    return build_encoder(settings, 8)


@pytest.mark.parametrize("mode, layers", HEADS)
@pytest.mark.parametrize("batch_norm", ["all", "hidden", "none"])
def test_every_layer_of_every_head_can_stand_for_h(mode, layers, batch_norm, encoder):
    settings = config.Model(
        proj_head_mode=mode, num_proj_layers=layers, proj_out_dim=5, proj_bn=batch_norm
    )
    head = build_head(settings, encoder.feature_dim)
    depth = {"none": 0, "linear": 1}.get(mode, layers)
    images = np.random.default_rng(0).random([3, 8, 8, 3], np.float32)
    want = head.outputs(encoder(images, training=False), training=False)
    assert [layer.shape[-1] for layer in want] == head.widths(encoder.feature_dim)
    for selector in range(-1, depth + 1):
        model = select_layer(encoder, head, selector)
        index = depth if selector == -1 else selector
        got = model(images, training=False)
        assert got.shape == (3, model.feature_dim) and (model is encoder) == (index == 0)
        np.testing.assert_array_equal(got, want[index])
    with pytest.raises(SettingsError, match=f"give a number from 0 .* to {depth}, or -1"):
        layer_index(head, depth + 1)


def test_a_selected_layer_trains_what_it_is_made_of(encoder):
    """What fine-tuning from a layer of the head needs: gradients of exactly these variables."""
    head = build_head(config.Model(num_proj_layers=3, proj_out_dim=5), encoder.feature_dim)
    model = select_layer(encoder, head, 1)
    assert len(model.variables) == len(encoder.variables) + len(head.variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(tf.random.uniform([4, 8, 8, 3]), training=True)))
    variables = [*encoder.trainable_variables, *head.trainable_variables]
    gradients = tape.gradient(loss, variables)
    without = [v.name for v, gradient in zip(variables, gradients) if gradient is None]
    above = [*head.dense[1:], *head.norms[1:]]
    assert sorted(without) == sorted(v.name for part in above for v in part.trainable_variables)


@pytest.mark.slow
@pytest.mark.one_stack
def test_the_modes_read_the_selected_layer(tmp_path, capsys):
    run = save_tiny_run(tmp_path)
    common = ["--strategy=default", f"--checkpoint={run}", f"--model_dir={tmp_path / 'knn'}"]
    assert main(["--mode=knn", "--ft_proj_selector=-1", *common]) == 0
    results = json.loads((tmp_path / "knn" / "results.json").read_text())
    assert results["knn_top_1"] == results["rows"]["z2"]["top_1"]
    plain = restore.load_trained(run)
    common[-1] = f"--model_dir={tmp_path / 'linear'}"
    common += ["--linear_form=paper", "--train_epochs=1", "--few_shot_draws=1", "--nobaselines"]
    assert main(["--mode=linear_eval", "--ft_proj_selector=2", *common]) == 0
    results = json.loads((tmp_path / "linear" / "results.json").read_text())
    assert results["encoder_sha256"] == weights_hash(plain.select(2))
    assert results["encoder_sha256"] != weights_hash(plain.encoder)
    assert main(["--mode=linear_eval", "--ft_proj_selector=3", *common]) == 2
    assert "has 2 layers; give a number from 0" in capsys.readouterr().err
