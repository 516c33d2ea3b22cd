"""A SavedModel of ours is as good a checkpoint as the run it came from."""

import numpy as np
import pytest

from export import run as export_run
from simclr_tf import config
from simclr_tf.errors import DataError
from simclr_tf.training import pretrain, restore
from tests.test_training import tiny


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(run folder, its SavedModel folder)."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    pretrain.run(tiny(folder, train_steps=2))
    settings = config.build(config.Export, {"checkpoint": str(folder)})
    export_run.run(settings, frozenset({"checkpoint"}))
    return folder, folder / "saved_model" / "2"


def test_weights_and_architecture_come_out_of_it(exported):
    folder, saved_model = exported
    want, got = restore.load_trained(str(folder)), restore.load_trained(str(saved_model))
    assert (got.step, got.run_dir) == (2, str(folder))
    assert got.settings["width_multiplier"] == 0.125
    pairs = list(zip(want.encoder.weights, got.encoder.weights))
    assert len(pairs) > 50
    for a, b in pairs:
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_another_architecture_is_named(exported):
    with pytest.raises(DataError, match="--width_multiplier=1.0 differs"):
        restore.load_trained(str(exported[1]), {"width_multiplier": 1.0})
