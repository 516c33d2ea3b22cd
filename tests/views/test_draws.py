"""Random numbers: known answers, independence of batch and order, distributions."""

import itertools

import numpy as np
import pytest

from simclr_tf import config, streams
from simclr_tf.stack import tf
from simclr_tf.views import draws, rng

N = 20000


def rows(n, epoch=0, view=0, first_id=0):
    ids = tf.range(first_id, first_id + n, dtype=tf.int64)
    return draws.Rows(tf.fill([n], epoch), ids, tf.fill([n], view))


@pytest.mark.parametrize(
    "key, counter, want",  # known-answer vectors of the authors' Random123 library
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers(key, counter, want):
    def word(value):
        return tf.constant(value, tf.uint32)

    for jit in (False, True):
        run = tf.function(rng.threefry, jit_compile=jit)
        got = run(tuple(map(word, key)), tuple(map(word, counter)))
        assert tuple(int(value) for value in got) == want


def test_draws_are_a_function_of_seed_epoch_id_and_view():
    base = rng.uniforms(1, *rows(50), first=0, count=6).numpy()
    np.testing.assert_array_equal(rng.uniforms(1, *rows(20, first_id=30), 0, 6), base[30:])
    np.testing.assert_array_equal(rng.uniforms(1, *rows(50), first=2, count=4), base[:, 2:])
    others = [
        rng.uniforms(2, *rows(50), first=0, count=6),
        rng.uniforms(1, *rows(50, epoch=1), first=0, count=6),
        rng.uniforms(1, *rows(50, view=1), first=0, count=6),
        rng.uniforms(1, *rows(50, first_id=2**32), first=0, count=6),
        rng.uniforms(1, *rows(50), first=6, count=6),
    ]
    for other in others:
        assert not np.isin(other, base).any()


def test_ranges_drawn_together_are_those_drawn_alone():
    parts = [streams.VIEW[name] for name in ("recipe", "crop", "warp")]
    together = rng.several_uniforms(1, *rows(9), parts)
    for one, got in zip(parts, together):
        np.testing.assert_array_equal(got, rng.uniforms(1, *rows(9), *one))


def test_uniforms_are_uniform_and_uncorrelated():
    u = rng.uniforms(0, *rows(N), first=0, count=8).numpy().astype("float64")
    assert u.min() >= 0 and u.max() < 1
    for column in u.T:
        gap = np.abs(np.sort(column) - (np.arange(N) + 0.5) / N).max()
        assert gap < 1.95 / np.sqrt(N)
    correlations = np.corrcoef(np.concatenate([u[:-1], u[1:]], axis=1).T) - np.eye(16)
    assert np.abs(correlations).max() < 5 / np.sqrt(N)


def test_choices_have_their_probabilities():
    drawn = draws.draw(config.Views(), 0, rows(N))
    for name, p in [("flip", 0.5), ("jitter", 0.8), ("grayscale", 0.2), ("blur", 0.5)]:
        share = np.mean(getattr(drawn, name))
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / N), name
    counts = [np.mean((drawn.order.numpy() == p).all(1)) for p in itertools.permutations(range(4))]
    np.testing.assert_allclose(counts, 1 / 24, atol=4 * np.sqrt(1 / 24 / N))


@pytest.mark.parametrize(
    "settings, ranges",
    [
        ({}, [(0.2, 1.8), (0.2, 1.8), (0.2, 1.8), (-0.2, 0.2), (0, 0), (0.1, 2)]),
        ({"aug_impl": "simclr_v1"}, [(-0.8, 0.8), (0.2, 1.8), (0.2, 1.8), (-0.2, 0.2)]),
        ({"color_jitter_strength": 0.5}, [(0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1)]),
        ({"color_jitter_strength": 2.0}, [(0, 2.6), (0, 2.6), (0, 2.6), (-0.4, 0.4)]),
    ],
)
def test_factors_are_uniform_in_their_ranges(settings, ranges):
    factors = draws.draw(config.Views(**settings), 0, rows(N)).factors.numpy()
    for column, (low, high) in zip(factors.T, ranges):
        assert column.min() >= low - 1e-6 and column.max() <= high + 1e-6
        want = low + (high - low) * np.array([0.1, 0.25, 0.5, 0.75, 0.9])
        got = np.quantile(column, [0.1, 0.25, 0.5, 0.75, 0.9])
        np.testing.assert_allclose(got, want, atol=0.02 * (high - low) + 1e-6)


def test_strength_zero_means_no_colour_at_all():
    views = config.Views(color_jitter_strength=0.0, use_blur=False, flip=False)
    drawn = draws.draw(views, 0, rows(1000))
    assert not np.any([drawn.jitter, drawn.grayscale, drawn.blur, drawn.flip])
