"""More than two views of an image: the loss, the step, the cached step, the whole run."""

import itertools
import json

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import pretrain
from simclr_tf.losses.many_views import OverPairs
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.models.simclr import SimCLR
from simclr_tf.stack import keras, tf
from simclr_tf.training import gradient_cache
from tests import loss_reference
from tests.training import test_gradient_cache as single

V = 3


def views_of(batch):
    images = tf.cast(batch["images"], tf.float32) / 255.0
    return tf.concat([images, 1.0 - 0.9 * images, 0.5 * images[:, ::-1]], axis=0)


def build():
    two = single.build(single.PlainEncoder, "none")
    model = SimCLR(two.encoder, two.head, OverPairs(NTXent(0.2), V), views_of, two.probe)
    model.compile(optimizer=keras.optimizers.SGD(single.RATE))
    return model


def test_the_loss_is_the_mean_over_pairs_of_the_formula():
    z = np.random.default_rng(0).normal(size=(4, 6, 5)).astype("float32")
    got = OverPairs(NTXent(0.2), 4)(tf.reshape(z, [24, 5]))
    pairs = [np.concatenate(pair) for pair in itertools.combinations(np.float64(z), 2)]
    want = np.mean([loss_reference.nt_xent(pair, 0.2)[0] for pair in pairs])
    np.testing.assert_allclose(got, want, rtol=1e-5)
    two = tf.reshape(z[:2], [12, 5])
    np.testing.assert_array_equal(OverPairs(NTXent(0.2), 2)(two), NTXent(0.2)(two))


@pytest.mark.slow
def test_a_step_of_three_views_and_the_cached_one_agree():
    direct = build()
    cached = build()
    start = single.weights(direct)
    direct.train_step(single.batch_of())
    cache = gradient_cache.GradientCache(
        cached,
        tf.distribute.get_strategy(),
        micro_batches=single.PARTS,
        num_views=V,
        rows=single.ROWS,
        z_dim=12,
    )
    tf.function(cache.run)(single.batch_of())
    moved = single.weights(direct) - start
    assert np.linalg.norm(moved) > 0
    assert single.relative(single.weights(cached) - start, moved) <= 1e-5
    for name in ("loss", "contrastive_accuracy", "entropy", "probe_loss"):
        want = float(direct.running[name].result())
        assert float(cached.running[name].result()) == pytest.approx(want, rel=1e-5), name


@pytest.mark.one_stack
def test_pretraining_with_three_views(tmp_path, capsys):
    settings = {
        "model_dir": str(tmp_path / "run"), "image_size": 16, "resnet_depth": 10, "num_views": V,
        "width_multiplier": 0.0625, "train_batch_size": 8, "train_steps": 2, "warmup_epochs": 0.0,
        "proj_out_dim": 8, "use_blur": False, "strategy": "default",
    }  # fmt: skip
    pretrain.run(config.build(config.Pretrain, settings))
    assert "16 x 16 pixels, 3 views" in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["step"] == 2 and np.isfinite(results["loss"])
