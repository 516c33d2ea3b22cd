"""Local views: which pairs the loss takes, who draws them, and that the others stay the same."""

import itertools
import json

import numpy as np
import pytest

import simclr_tf
from simclr_tf import config
from simclr_tf.commands import pretrain
from simclr_tf.data import sources
from simclr_tf.errors import SettingsError
from simclr_tf.losses.many_views import OverPairs
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.models.simclr import SimCLR
from simclr_tf.report import sheet
from simclr_tf.stack import keras, tf
from simclr_tf.training import pretraining
from simclr_tf.views import geometry, multi_crop
from simclr_tf.views.batches import train_batches
from simclr_tf.views.device import make_views
from tests import loss_reference, replicas
from tests.tiny_run import images_in_folders

SMALL = {
    "image_size": 24, "local_views": 2, "local_size": 16, "train_batch_size": 4,
    "resnet_depth": 10, "width_multiplier": 0.0625, "proj_out_dim": 8, "strategy": "default",
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "photos"
    images_in_folders(folder, {"": 10}, side=90)
    return str(folder)


def settings(**changes):
    return config.build(config.Pretrain, {**SMALL, **changes})


def batch_and_views(run, step=0):
    source = sources.open_source(run.data, "train", run.run.seed)
    views = run.training.num_views
    batch = run.training.train_batch_size
    found = next(iter(multi_crop.batches(source, run, views, batch, step)))
    return found, multi_crop.make_all_views(run, views)(found)


def wanted_loss(z, full):
    """Means of the formula over the pairs that have a view of full size; z float [v + n, b, p]."""
    pairs = [(i, j) for i, j in itertools.combinations(range(len(z)), 2) if i < full]
    both = [np.concatenate([z[i], z[j]]).astype(float) for i, j in pairs]
    return np.mean([loss_reference.nt_xent(rows, 0.2)[0] for rows in both]), len(pairs)


@pytest.mark.parametrize("full, count", [(2, 7), (3, 9)])
def test_the_loss_is_the_mean_over_pairs_with_a_view_of_full_size(full, count):
    z = np.random.default_rng(0).normal(size=(5, 6, 4)).astype("float32")
    want, pairs = wanted_loss(z, full)
    assert pairs == count
    loss = OverPairs(NTXent(0.2), full, 5 - full)
    np.testing.assert_allclose(loss(tf.reshape(z, [30, 4])), want, rtol=1e-5)


def test_replicas_contrast_the_local_views_of_the_whole_batch(two_replicas):
    z = np.random.default_rng(1).normal(size=(5, 6, 4)).astype("float32")
    loss = OverPairs(NTXent(0.2), 2, 3)

    def share(rows):  # [b, v + n, p] of a replica
        return loss(tf.reshape(tf.transpose(rows, [1, 0, 2]), [-1, 4]))

    found = replicas.run_on_replicas(two_replicas, share, z.transpose([1, 0, 2]))
    np.testing.assert_allclose(np.mean(found), wanted_loss(z, 2)[0], rtol=1e-5)


def test_the_step_embeds_each_size_on_its_own():
    norm = keras.layers.BatchNormalization(momentum=0.0)
    encoder = keras.Sequential([norm, keras.layers.GlobalAveragePooling2D()])
    encoder.feature_dim = 3
    head = keras.layers.Dense(4)
    views = (tf.random.stateless_uniform([8, 6, 6, 3], [0, 1]), tf.ones([4, 4, 4, 3]))
    model = SimCLR(encoder, head, OverPairs(NTXent(0.5), 2, 1), lambda batch: views)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    encoder(views[0]), head(tf.zeros([1, 3]))
    h, every_h = model.embed(views)
    assert h.shape == (8, 3) and every_h.shape == (12, 3)
    # constant images normalised among themselves are zero; among the others they would not be
    np.testing.assert_allclose(every_h[8:], np.zeros([4, 3]), atol=1e-5)
    before = head.trainable_weights[0].numpy()
    model.train_step({"label": tf.zeros([4], tf.int32)})
    assert np.isfinite(float(model.running["loss"].result()))
    assert not np.allclose(before, head.trainable_weights[0])


@pytest.mark.slow
def test_the_whole_step_compiles():
    run = settings(dataset="digits", image_size=16, local_size=8, use_blur=False)
    batch, _ = batch_and_views(run)
    convolution = keras.layers.Conv2D(4, 3, strides=2)
    encoder = keras.Sequential([convolution, keras.layers.GlobalAveragePooling2D()])
    encoder.feature_dim = 4
    head = keras.layers.Dense(4)
    views = multi_crop.make_all_views(run, 2)
    encoder(tf.zeros([1, 16, 16, 3])), head(tf.zeros([1, 4]))
    model = SimCLR(encoder, head, OverPairs(NTXent(0.5, jit_compile=False), 2, 2), views)
    model.compile(optimizer=keras.optimizers.SGD(0.1, jit_compile=False))
    model.optimizer.build(model.trainable_variables)
    before = convolution.kernel.numpy()
    tf.function(model.train_step, jit_compile=True, autograph=False)(batch)
    assert np.isfinite(float(model.running["loss"].result()))
    assert not np.array_equal(before, convolution.kernel)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("digits", marks=pytest.mark.one_stack),
        pytest.param("folder", marks=[pytest.mark.slow, pytest.mark.one_stack]),
    ],
)
def test_local_views_are_stateless_and_leave_the_others_alone(kind, photos):
    where = {"image_dir": photos} if kind == "folder" else {}
    run = settings(**where, use_blur=False)
    batch, (whole, local) = batch_and_views(run)
    assert whole.shape == (8, 24, 24, 3) and local.shape == (8, 16, 16, 3)
    source = sources.open_source(run.data, "train", run.run.seed)
    plain = next(iter(train_batches(source, run.views, 24, 4, run.run.seed)))
    without = make_views(run.views, 24, run.run.seed)(plain)
    np.testing.assert_array_equal(plain["images"], batch["images"])
    np.testing.assert_array_equal(without, whole)
    larger, (_, more) = batch_and_views(settings(**where, use_blur=False, train_batch_size=8))
    np.testing.assert_array_equal(larger["id"][:4], batch["id"])
    by_view = tf.reshape(more, [2, 8, 16, 16, 3])[:, :4]
    np.testing.assert_allclose(tf.reshape(local, by_view.shape), by_view, atol=2e-6)
    assert np.abs(by_view[0] - by_view[1]).max() > 0.05


def test_without_local_views_nothing_changes():
    run = settings(local_views=0, dataset="digits")
    batch, views = batch_and_views(run)
    source = sources.open_source(run.data, "train", 0)
    same = next(iter(train_batches(source, run.views, 24, 4, 0)))
    assert set(batch) == set(same) == {"images", "id", "epoch", "label"}
    np.testing.assert_array_equal(views, make_views(run.views, 24, 0)(same))
    assert isinstance(pretraining.build_loss(run), NTXent)


@pytest.mark.parametrize("dialect", ["simclr_v2", "torchvision"])
def test_local_windows_have_the_areas_asked_for(dialect):
    run = settings(aug_impl=dialect, local_crop_area_min=0.04, local_crop_area_max=0.08)
    u = np.random.default_rng(2).random((500, 22)).astype("float32")
    uniforms = tf.reshape(u[:, :20], [500, 10, 2]), tf.constant(u[:, 20:])
    boxes = geometry.windows(uniforms, 300, 400, multi_crop._local(run)).numpy()
    share = boxes[:, 2] * boxes[:, 3] / 120_000
    assert 0.039 < share.min() < 0.045 and 0.075 < share.max() < 0.081  # never the whole image


@pytest.mark.current_stack
def test_pretraining_with_local_views_and_their_replay(photos, tmp_path, capsys):
    run_dir = str(tmp_path / "run")
    run = settings(image_dir=photos, model_dir=run_dir, train_steps=2, warmup_epochs=0.0)
    pretrain.run(run)
    assert "24 x 24 pixels, 2 views, 2 of 16 x 16 pixels" in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["step"] == 2 and np.isfinite(results["loss"])
    found = simclr_tf.views_of_step(run_dir, 2)
    batch, (whole, local) = batch_and_views(run, step=1)
    np.testing.assert_array_equal(found["id"], batch["id"])
    np.testing.assert_array_equal(found["views"], whole)
    np.testing.assert_array_equal(found["local_views"], local)


@pytest.mark.slow
@pytest.mark.one_stack
def test_the_sheet_shows_them_at_their_size(photos, monkeypatch):
    monkeypatch.setattr(sheet, "variants", lambda *views: [])  # the other rows are not asked for
    asked = {"image_dir": photos, "image_size": 24, "local_views": 2, "use_blur": False}
    drawn = config.build(config.ViewsSheet, asked)
    rows = dict(sheet.sheet_rows(sources.open_source(drawn.data), drawn, 3))
    assert [name for name in rows if name.startswith("local")] == ["local view 1", "local view 2"]
    assert rows["local view 2"].shape == (3, 10, 10, 3)  # three sevenths of 24
    _, (_, local) = batch_and_views(settings(**asked, local_size=10, train_batch_size=3))
    want = np.uint8(np.rint(255 * local.numpy().reshape(2, 3, 10, 10, 3)))
    np.testing.assert_array_equal(rows["local view 1"], want[0])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"cached_batch_size": 8}, "cached_batch_size"),
        ({"augment_on": "host"}, "augment_on=host"),
        ({"resize_on": "device"}, "resize_on=device"),
        ({"asymmetric": True}, "asymmetric"),
        ({"local_size": 32}, "above image_size=24"),
        ({"local_crop_area_min": 0.5}, "swap them"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, words):
    with pytest.raises(SettingsError, match=words):
        pretrain.run(settings(dry_run=True, **changes))


def test_an_encoder_of_one_size_is_refused():
    encoder = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    encoder(tf.zeros([1, 24, 24, 3]))
    with pytest.raises(SettingsError, match="cannot take local views of 16 pixels"):
        multi_crop.check_encoder(encoder, settings())
