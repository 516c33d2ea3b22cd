"""Features that need no training, and the sentence about SimCLR beside them."""

import numpy as np
import pytest

from simclr_tf.evaluation import baselines
from simclr_tf.evaluation.results import verdict


def test_a_colour_histogram_counts_the_pixels_of_each_box():
    images = np.random.default_rng(0).random([3, 5, 5, 3]).astype(np.float32)
    images[0] = 1.0
    found = baselines.color_histogram(images).numpy()
    for row, image in zip(found, images):
        want, _ = np.histogramdd(image.reshape(-1, 3), bins=8, range=[(0, 1)] * 3)
        np.testing.assert_allclose(row, np.sqrt(want.ravel() / 25), atol=1e-6)
    assert found[0, -1] == 1


def test_hog_is_that_of_scikit_image_and_blind_to_brightness():
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    images = np.random.default_rng(0).random([2, 64, 64, 3]).astype(np.float32)
    found = baselines.hog_features(np.concatenate([images, images / 2])).numpy()
    assert found.shape == (4, baselines.HOG_FEATURES)
    np.testing.assert_allclose(found[:2], found[2:], atol=1e-3)


@pytest.mark.one_stack
def test_a_sentence_names_the_baselines_that_simclr_is_not_above():
    few = lambda value: {"few_shot": {"1": 0.1, "5": value}}  # noqa: E731
    results = {**few(0.4), "baselines": {"pixels": few(0.3), "hog": few(0.45), "color": few(0.4)}}
    said = verdict(results)
    assert "With 5 labels per class SimCLR (0.400) is not above colour histogram (0.400), HOG (0.450)." in said  # fmt: skip
    assert "raw pixels" not in said and "--crop_area_min" in said
    assert not verdict({**results, **few(0.5)}) and not verdict({**few(0.1), "baselines": {}})
