"""Warm-up + cosine against golden numbers of the official code."""

import numpy as np
import pytest

from simclr_tf.optimizers import schedule
from simclr_tf.stack import keras, tf


@pytest.mark.parametrize(
    "n, batch, epochs, base, scaling, want",
    [
        (
            50_000, 512, 1000, 1.0, "linear",
            {0: 0.0, 1: 0.002049, 488: 1.0, 976: 2.0, 24414: 1.72373, 48828: 1.015873,
             73242: 0.298539, 97656: 0.0},
        ),
        (
            1_281_167, 4096, 100, 0.3, "linear",
            {1: 0.001535, 1563: 2.399233, 3127: 4.8, 10000: 4.128015, 20000: 1.662997},
        ),
        (
            1_281_167, 4096, 100, 0.075, "sqrt",
            {1: 0.001535, 1563: 2.399233, 3127: 4.8, 10000: 4.128015, 20000: 1.662997},
        ),
    ],
)  # fmt: skip
def test_golden_learning_rates(n, batch, epochs, base, scaling, want):
    rate = schedule.WarmUpCosine(
        schedule.peak_learning_rate(base, scaling, batch),
        schedule.warmup_steps(n, 10, batch),
        schedule.total_steps(n, epochs, batch),
    )
    got = [float(rate(step)) for step in want]
    np.testing.assert_allclose(got, list(want.values()), rtol=1e-6, atol=1.5e-6)


@pytest.mark.parametrize(
    "n, epochs, batch, total, warmup",
    [(1_281_167, 100, 4096, 31_279, 3_127), (50_000, 1000, 512, 97_657, 976)],
)
def test_step_counts(n, epochs, batch, total, warmup):
    assert schedule.total_steps(n, epochs, batch) == total
    assert schedule.warmup_steps(n, 10.0, batch) == warmup


def test_peak_without_scaling_is_the_base():
    assert schedule.peak_learning_rate(0.7, "none", 4096) == 0.7


@pytest.mark.parametrize("warmup, total", [(0, 10), (0, 0), (5, 5), (8, 5)])
def test_short_runs_stay_finite(warmup, total):
    rate = schedule.WarmUpCosine(2.0, warmup, total)
    values = [float(rate(tf.constant(step, tf.int64))) for step in range(12)]
    assert np.isfinite(values).all() and min(values) >= 0 and max(values) <= 2
    if not warmup:
        assert values[0] == 2.0
    assert float(rate(10**6)) == 0.0


def test_config_round_trip():
    rate = schedule.WarmUpCosine(2.0, 3, 20)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert again.get_config() == rate.get_config()
    assert float(again(11)) == float(rate(11))


def test_compiles_with_xla():
    rate = schedule.WarmUpCosine(2.0, 3, 20)
    compiled = tf.function(rate, jit_compile=True, autograph=False)
    for step in (0, 2, 3, 19):
        np.testing.assert_allclose(compiled(tf.constant(step, tf.int64)), rate(step), rtol=1e-5)
