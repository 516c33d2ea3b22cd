"""Mixed precision: every head trains, and statistics, weights, moments and loss stay float32."""

import functools

import numpy as np
import pytest

from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.head import ProjectionHead
from simclr_tf.models.simclr import SimCLR
from simclr_tf.stack import keras, tf
from tests.models.test_head import COMBINATIONS
from tests.training.test_gradient_cache import SmoothEncoder, batch_of, views_of

SCALES = 16  # a loss scale of 2^15, halved until no gradient overflows
TOLERANCE = 0.25  # of a step: a rounded value on the other side of a ReLU's kink moves it by 0.1


@pytest.fixture(autouse=True)
def float32_afterwards():
    yield
    keras.mixed_precision.set_global_policy("float32")


@functools.lru_cache(maxsize=1)  # that of float32, for both precisions
def full(*head):
    return stepped("float32", *head)


def stepped(precision, mode, layers, batch_norm):
    """(model after one step, the change of its weights divided by the learning rate)."""
    keras.mixed_precision.set_global_policy(precision)
    keras.utils.set_random_seed(4)
    head = ProjectionHead(mode, layers, 8, batch_norm=batch_norm)
    model = SimCLR(SmoothEncoder(), head, NTXent(0.2), views_of, LinearClassifier(5))
    views = tf.cast(views_of(batch_of()), model.encoder.compute_dtype)
    h = model.encoder(views)
    assert h.dtype == model.encoder.compute_dtype
    head(h), model.probe(h)
    for dense in head.dense:  # as after training: z of fresh ones is too small for float16
        dense.kernel.assign(30.0 * dense.kernel)
    optimizer = keras.optimizers.SGD(1.0)
    if precision == "mixed_float16":
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer)
    before = [v.numpy() for v in model.trainable_variables]
    for _ in range(SCALES):
        model.train_step(batch_of())
        moved = [v.numpy() - old for v, old in zip(model.trainable_variables, before)]
        if any(part.any() for part in moved):  # else the scale was too large, and was halved
            return model, np.concatenate([part.ravel() for part in moved])
    raise AssertionError(f"no step was taken in {SCALES} tries")


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param("mixed_bfloat16", marks=pytest.mark.one_stack),
        pytest.param("mixed_float16", marks=pytest.mark.current_stack),
    ],
)
@pytest.mark.parametrize("batch_norm", ["all", "hidden", "none"])
@pytest.mark.parametrize("mode, layers", COMBINATIONS)
def test_every_head_takes_the_step_of_float32(mode, layers, batch_norm, precision):
    model, moved = stepped(precision, mode, layers, batch_norm)
    same, want = full(mode, layers, batch_norm)
    error = np.linalg.norm(moved - want) / np.linalg.norm(want)
    assert 0 < error <= TOLERANCE  # 0: nothing was computed in low precision
    assert {v.dtype for v in model.variables if v.dtype.is_floating} == {tf.float32}
    assert "moving_variance" in " ".join(v.name for v in model.variables)
    losses = [float(one.running["loss"].result()) for one in (model, same)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert float(model.running["non_finite_steps"].result()) == 0
