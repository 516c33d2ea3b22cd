"""Two replicas fine-tune as one with the same global batch, and count each test image once."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.data import info, source
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.stack import tf
from simclr_tf.training import length
from simclr_tf.training.loop import StepRunner
from simclr_tf.training.supervised import Job, score
from simclr_tf.training.supervised_model import build_model
from tests.conftest import mirrored

CONFIG = config.build(
    config.Finetune,
    {
        "image_size": 16, "resnet_depth": 10, "width_multiplier": 0.0625, "train_batch_size": 12,
        "eval_batch_size": 8, "ft_proj_selector": 1, "train_steps": 3, "learning_rate": 2.0,
    },
)  # fmt: skip
RNG = np.random.default_rng(0)


def images_of(count):
    images = RNG.integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    facts = info.Facts("test", count, ("a", "b", "c"), "0", (16, 16, 3))
    return source.ArraySource(facts, images, np.arange(count) % 3)


TRAIN = images_of(24)
HELD_OUT = images_of(31)


def batches():
    images = TRAIN.arrays()
    labels = TRAIN.labels
    columns = {
        "images": images, "label": labels, "id": np.arange(24), "epoch": np.zeros(24, np.int32)
    }  # fmt: skip
    return tf.data.Dataset.from_tensor_slices(columns).repeat().batch(12, drop_remainder=True)


def trained(strategy):
    steps = length.resolve_steps(CONFIG.training, CONFIG.optimizer, 24, whole=False)
    with strategy.scope():
        encoder = build_encoder(CONFIG.model, 16, 1)
        for norm in (m for m in encoder.submodules if hasattr(m, "moving_variance")):
            norm.gamma.assign(tf.ones_like(norm.gamma))  # or most gradients start at zero
        head = build_head(CONFIG.model, encoder.feature_dim, 1)
        model = build_model(CONFIG, encoder, head, 3, steps)
    StepRunner(model, strategy, batches()).run(3)
    found = score(model, Job(CONFIG, strategy, TRAIN, HELD_OUT, None))
    return model, found


@pytest.fixture(scope="module")
def alone():
    return trained(tf.distribute.get_strategy())


@pytest.mark.slow
@pytest.mark.parametrize(
    "replicas",
    [
        pytest.param(2, marks=pytest.mark.current_stack),
        pytest.param(3, marks=[pytest.mark.slow, pytest.mark.one_stack]),
    ],
)
def test_replicas_train_and_score_as_one(replicas, alone):
    one, scores = alone
    several, same = trained(mirrored(replicas))
    assert len(one.variables) == len(several.variables)
    for a, b in zip(one.encoder.variables, several.encoder.variables):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=2e-3, atol=2e-4)
    np.testing.assert_array_equal(same.ids, np.arange(31))
    np.testing.assert_array_equal(same.labels, scores.labels)
    np.testing.assert_allclose(same.h, scores.h, rtol=1e-2, atol=1e-2)
    for name in ("loss", "top_1"):
        want = float(one.running[name].result())
        assert float(several.running[name].result()) == pytest.approx(want, abs=1e-3)
