"""The views of a past step, from its number alone."""

import itertools

import numpy as np
import pytest

import simclr_tf
from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.views.batches import train_batches
from simclr_tf.views.device import make_views
from tests.tiny_run import images_in_folders, save_tiny_run

SEED = 4
BATCH = 8
SIZE = 16


@pytest.mark.parametrize("kind", [pytest.param("digits", marks=pytest.mark.slow), "folder"])
def test_the_views_of_a_step_are_those_that_a_whole_run_comes_to(kind, tmp_path):
    changes = {"train_batch_size": BATCH, "seed": SEED, "warmup_epochs": 0.0}
    if kind == "folder":  # 16 training images, two steps an epoch
        images_in_folders(tmp_path / "photos", {"": 16})
        changes["image_dir"] = str(tmp_path / "photos")
    run_dir = save_tiny_run(tmp_path, **changes)
    found = simclr_tf.views_of_step(run_dir, 5)
    assert found["views"].shape == (2 * BATCH, SIZE, SIZE, 3)
    assert set(found["epoch"].numpy()) == ({0} if kind == "digits" else {2})

    data = config.Data(image_dir=changes.get("image_dir", ""), image_size=SIZE)
    views = config.Views(crop_area_min=0.25, flip=False, use_blur=False)
    source = sources.open_source(data, "train", SEED)
    run = train_batches(source, views, SIZE, BATCH, SEED)
    batch = next(itertools.islice(run, 4, None))
    for name in ("id", "epoch", "label"):
        np.testing.assert_array_equal(found[name], batch[name])
    np.testing.assert_allclose(found["views"], make_views(views, SIZE, SEED)(batch), atol=2e-6)


def test_what_is_no_pretraining_run_or_no_step_is_refused(tmp_path):
    with pytest.raises(DataError, match="config.json"):
        simclr_tf.views_of_step(str(tmp_path), 1)
    with pytest.raises(SettingsError, match="step=0"):
        simclr_tf.views_of_step(str(tmp_path), 0)
