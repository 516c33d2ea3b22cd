"""The recipes of docs/contributing.md, carried out: one loss, one operator, one encoder."""

import importlib
import re

import numpy as np
import pytest

import simclr_tf.losses
import simclr_tf.models
from simclr_tf import config
from simclr_tf.losses import table
from simclr_tf.losses.many_views import OverPairs
from simclr_tf.models.build import build_encoder
from simclr_tf.models.normalization import BatchNormalization
from simclr_tf.stack import tf
from simclr_tf.views import device, forms, operators, study
from tests.docs import pages


def code_of(recipe):
    """The Python block of a recipe."""
    section = pages.read("docs/contributing.md").split(f"## {recipe}\n")[1].split("\n## ")[0]
    return re.search(r"^```python\n(.*?)^```$", section, re.S | re.M)[1]


@pytest.fixture
def new_file(tmp_path, monkeypatch):
    """Writes a file that Python finds in a package of ours."""

    def write(package, name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        importlib.invalidate_caches()

    return write


def test_add_a_loss(new_file, monkeypatch):
    new_file(simclr_tf.losses, "attraction", code_of("Add a loss"))
    monkeypatch.setattr(table, "_REGISTERED", dict(table._REGISTERED))
    config.training.LOSSES.append("attraction")
    try:
        settings = config.build(config.Pretrain, {"loss": "attraction", "num_views": 3}).loss
        loss = table.make_loss(settings)
    finally:
        config.training.LOSSES.remove("attraction")
    z = tf.Variable(np.random.default_rng(0).normal(size=(8, 5)).astype("float32"))
    with tf.GradientTape() as tape:
        value, figures = loss.with_figures(z)
    first, second = np.split(z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True), 2)
    np.testing.assert_allclose(value, np.mean(1 - np.sum(first * second, 1)), rtol=1e-5)
    np.testing.assert_allclose(figures["positive_similarity"], 1 - value, rtol=1e-5)
    z.assign_sub(tape.gradient(value, z))
    assert loss(z) < value
    assert loss.chance(8) is None and not loss.needs_labels
    assert np.isfinite(OverPairs(loss, 2)(z))


@pytest.mark.parametrize("form", ["switch", "select"])
def test_add_an_operator_of_views(form, monkeypatch):
    registry = dict(operators.OPERATORS)
    monkeypatch.setattr(operators, "OPERATORS", registry)
    monkeypatch.setattr(forms, "OPERATORS", registry)
    config.views.OPERATORS.append("gain")
    try:
        exec(code_of("Add an operator of views"), dict(vars(study)))
        views = config.Views(operators="gain,color", color_jitter_strength=0.0, flip=False)
    finally:
        config.views.OPERATORS.remove("gain")
    batch = {
        "images": tf.fill([4, 12, 12, 3], tf.constant(100, tf.uint8)),
        "id": tf.range(4, dtype=tf.int64),
        "epoch": tf.zeros([4], tf.int32),
    }
    made = device.make_views(views, 12, 0, form=form)(batch).numpy() * 255 / 100
    assert np.ptp(made, axis=(1, 2, 3)).max() < 1e-4  # one factor for a view
    factors = made.mean(axis=(1, 2, 3))
    assert len(np.unique(factors.round(4))) == 8
    assert factors.min() >= 0.5 and factors.max() <= 1.5


def test_add_an_encoder(new_file):
    new_file(simclr_tf.models, "small_cnn", code_of("Add an encoder"))
    model = config.Model(encoder="simclr_tf.models.small_cnn:small_cnn")
    encoder = build_encoder(model, 16)
    assert encoder(tf.zeros([2, 16, 16, 3])).shape == (2, 64) and encoder.feature_dim == 64
    norms = [part for part in encoder.submodules if isinstance(part, BatchNormalization)]
    assert len(norms) == 3
