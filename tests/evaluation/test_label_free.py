"""Figures without labels, against what they must be for embeddings whose answer is known."""

import numpy as np
import pytest

from simclr_tf.evaluation import label_free

pytestmark = pytest.mark.one_stack

RANDOM = np.random.default_rng(0)


def test_rank_me_counts_directions_of_equal_strength():
    h = RANDOM.normal(size=(4000, 6)) @ np.linalg.qr(RANDOM.normal(size=(9, 9)))[0][:6]
    assert label_free.rank_me(h) == pytest.approx(6, rel=0.02)
    assert label_free.rank_me(np.outer(RANDOM.normal(size=50), np.ones(9))) == pytest.approx(1, abs=0.01)  # fmt: skip


def test_lidar_counts_the_directions_that_tell_images_apart():
    images = np.zeros((600, 1, 8))
    images[..., :3] = RANDOM.normal(size=(600, 1, 3))  # three directions differ between images
    views = images + 0.05 * RANDOM.normal(size=(600, 6, 8))
    assert label_free.lidar(views) == pytest.approx(3, rel=0.05)
    turned = views @ np.linalg.qr(RANDOM.normal(size=(8, 8)))[0]
    assert label_free.lidar(turned) == pytest.approx(label_free.lidar(views), rel=1e-3)


def test_retrieval_is_one_for_equal_views_and_chance_for_unrelated_ones():
    h = RANDOM.normal(size=(40, 1, 16))
    assert label_free.retrieval(np.concatenate([h, h], axis=1)) == 1.0
    assert label_free.retrieval(RANDOM.normal(size=(400, 2, 16))) < 0.03


def test_the_rotation_probe_finds_turns_that_h_shows_and_no_others():
    h = RANDOM.normal(size=(4, 100, 5))
    assert label_free.rotation_probe(h) < 0.45
    h[..., :4] += 6 * np.eye(4)[:, None]
    assert label_free.rotation_probe(h) > 0.95


def test_every_kind_of_views_has_its_figures():
    images = RANDOM.random((40, 6, 6, 3)).astype(np.float32)
    views = {"own": np.repeat(images[:, None], 4, axis=1) + 0.01 * RANDOM.random((40, 4, 6, 6, 3))}
    embed = lambda rows: rows.reshape(len(rows), -1)[:, :20]  # noqa: E731
    found = label_free.measure(embed, images, views)
    assert sorted(found) == ["lidar_own", "rank_me", "retrieval_own", "rotation"]
    assert found["retrieval_own"] == 1.0 and found["rotation"] <= 1.0
