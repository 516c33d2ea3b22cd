"""One tiny pretraining on images in memory for all tests of the library."""

import numpy as np
import pytest

import simclr_tf
from simclr_tf.selftest import encoder

TINY = {
    "encoder": encoder.NAME,
    "operators": "",
    "proj_out_dim": 8,
    "train_batch_size": 16,
    "train_steps": 3,
    "log_steps": 1,
    "warmup_epochs": 0,
    "strategy": "default",
}


@pytest.fixture(scope="session")
def images():
    """uint8 [40, 12, 10, 3]"""
    return np.random.default_rng(0).integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def labels():
    return np.arange(40) % 3


@pytest.fixture(scope="session")
def run(images, labels, tmp_path_factory):
    """A finished pretraining, which the tests leave as it is."""
    folder = tmp_path_factory.mktemp("library") / "run"
    return simclr_tf.pretrain(images, folder, labels=labels, quiet=True, **TINY)
