"""A network of keras.applications through the whole command line."""

import json

import numpy as np
import pytest

from simclr_tf.__main__ import main
from simclr_tf.runs import restore
from simclr_tf.stack import tf

ENCODER = ["--encoder=applications:MobileNet", "--image_size=32", "--strategy=default"]


@pytest.mark.slow
@pytest.mark.current_stack
def test_a_ready_network_is_pretrained_evaluated_fine_tuned_and_exported(tmp_path):
    run = tmp_path / "run"
    flags = ["--preset=none", "--train_steps=1", "--warmup_epochs=0", "--train_batch_size=8"]
    flags += ["--nouse_blur", f"--model_dir={run}"]
    assert main(["--mode=pretrain", *ENCODER, *flags]) == 0
    trained = restore.load_trained(str(run))
    assert trained.encoder.feature_dim == 1024
    common = [f"--checkpoint={run}", "--strategy=default", "--nobaselines"]
    linear = ["--linear_form=paper", "--train_epochs=1", "--few_shot_draws=1"]
    assert main(["--mode=linear_eval", *common, *linear]) == 0
    assert 0 <= json.loads((run / "linear_eval" / "results.json").read_text())["top_1"] <= 1
    tuned = ["--fine_tune_after_block=4", "--train_steps=1", f"--model_dir={tmp_path / 'tuned'}"]
    assert main(["--mode=finetune", *common, *tuned, "--train_batch_size=8"]) == 0
    for a, b in zip(
        restore.load_trained(str(tmp_path / "tuned")).encoder.get_weights(),
        trained.encoder.get_weights(),
    ):
        np.testing.assert_array_equal(a, b)  # frozen: weights and statistics
    assert main(["--mode=export", f"--checkpoint={run}"]) == 0
    images = np.random.default_rng(0).random([2, 32, 32, 3], np.float32)
    want = trained.encoder(images, training=False)
    loaded = tf.saved_model.load(str(run / "saved_model" / "1"))
    np.testing.assert_allclose(loaded.feature_vector(images), want, rtol=1e-3, atol=1e-5)
