"""Short trainings that share what is traced: which weights judge a trial."""

import numpy as np
import pytest

import simclr_tf
from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.distribution.workers import WorkerGroup
from simclr_tf.runs.lock import releases
from simclr_tf.stack import tf
from simclr_tf.training import trials
from tests.tiny_run import images_in_folders


@pytest.mark.one_stack
def test_averaged_weights_judge_a_trial_that_averages_them(tmp_path):
    images_in_folders(tmp_path / "images", {"bar": 12, "disc": 12})
    data = config.Data(image_dir=str(tmp_path / "images"))
    source = sources.open_source(data, "train")
    values = {
        **trials.ALWAYS,
        "image_dir": data.image_dir,
        "image_size": 16,
        "encoder": "tests.tiny_encoder:encoder",
        "proj_out_dim": 8,
        "use_blur": False,
        "optimizer": "adam",
        "learning_rate": 0.01,
        "train_batch_size": 8,
        "train_steps": 4,
        "warmup_epochs": 0.0,
        "ema_momentum": 0.9,
        "model_dir": str(tmp_path / "run"),
    }
    seen = np.random.default_rng(0).random((4, 16, 16, 3), np.float32)
    found = {}

    def figures(embed):
        found["h"] = embed(seen)
        return {}

    workshop = trials.Workshop(WorkerGroup(tf.distribute.get_strategy()))
    images = trials.TrialImages(source, sources.describe(data).identity)
    run = config.build(config.Pretrain, values)
    releases(workshop.train)(run, images, str(tmp_path / "run"), figures)
    stored = simclr_tf.load(tmp_path / "run", trust_code=True).encoder(seen).numpy()
    np.testing.assert_allclose(found["h"], stored, atol=1e-5)
    bench = next(iter(workshop._benches.values()))
    trained = bench.model.encoder(seen, training=False).numpy()
    assert np.abs(trained - stored).max() > 1e-3  # the weights themselves are other ones
