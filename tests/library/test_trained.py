"""Loaded models: h of everything that holds images, logits, and the way to a SavedModel."""

import numpy as np
import pytest
from PIL import Image

import simclr_tf
from simclr_tf.data import preprocess
from simclr_tf.stack import tf
from tests.tiny_run import save_tiny_run


@pytest.fixture(scope="module")
def model(run):
    return simclr_tf.load(run.run_dir, trust_code=True)


def test_h_is_that_of_the_encoder_on_prepared_images(model, images):
    prepared = tf.stack([preprocess.eval_image(tf.constant(one), 12) for one in images])
    want = model.encoder(prepared, training=False)
    got = model.embed(images, batch_size=7)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.embed(images / 255.0), want, rtol=1e-5, atol=1e-6)
    z = model.head(want, training=False)
    np.testing.assert_allclose(model.embed(images, ft_proj_selector=-1), z, rtol=1e-4, atol=1e-5)


def test_h_of_lists_paths_folders_and_datasets(model, images, tmp_path):
    want = model.embed(images[:5])
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, one in zip(paths, images):
        Image.fromarray(one).save(path)
    dataset = tf.data.Dataset.from_tensor_slices(images[:5])
    given = [
        list(images[:5]),
        paths,
        str(tmp_path),
        dataset.map(lambda image: (image, 1)).batch(2),
        dataset.map(lambda image: {"image": image}),
    ]
    for one in given:
        np.testing.assert_allclose(model.embed(one), want, rtol=1e-5, atol=1e-6)
    mixed = model.embed([images[0], np.zeros([30, 9, 3], np.uint8)])
    np.testing.assert_allclose(mixed[:1], want[:1], rtol=1e-5, atol=1e-6)


def test_logits_are_the_probes(model, images):
    h = model.embed(images)
    np.testing.assert_allclose(model.logits(images), model.classifier(h), rtol=1e-4, atol=1e-5)


def test_no_logits_without_labels(tmp_path, images):
    unlabelled = simclr_tf.load(save_tiny_run(tmp_path, lineareval_while_pretraining=False))
    assert unlabelled.step == 7
    with pytest.raises(simclr_tf.DataError, match="holds no classifier"):
        unlabelled.logits(images)


def test_an_exported_model_gives_the_same_h(model, images, tmp_path):
    path = model.export(tmp_path / "out", quiet=True)["path"]
    assert path == str(tmp_path / "out" / "saved_model" / "3")
    again = simclr_tf.load(path, trust_code=True)
    np.testing.assert_allclose(again.embed(images), model.embed(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "given, words",
    [
        (np.zeros([3, 8, 8, 1], np.uint8), "1 channels, but the checkpoint was trained on 3"),
        (np.full([2, 8, 8, 3], 200.0), "values from 200 to 200; give uint8"),
        (np.zeros([2, 8, 8, 3], np.int64), "type int64"),
        (np.zeros([2, 3, 64, 64], np.uint8), "last axis"),
        (np.zeros([0, 8, 8, 3], np.uint8), "cannot be used"),
        ([], "empty"),
        (["nowhere.png"], "nowhere.png is no file"),
        ("cifar10", "cifar10 is no folder"),
        (["a.png", np.zeros([8, 8, 3], np.uint8)], "paths only"),
    ],
)
def test_what_cannot_be_embedded_is_named(model, given, words):
    with pytest.raises(simclr_tf.DataError, match=words):
        model.embed(given)


def test_an_endless_dataset_is_refused(model, images):
    with pytest.raises(simclr_tf.DataError, match="no end"):
        model.embed(tf.data.Dataset.from_tensor_slices(images).repeat())


def test_a_damaged_file_is_named(model, tmp_path, images):
    good, bad = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(images[0]).save(good)
    bad.write_bytes(good.read_bytes()[:60])
    with pytest.raises(simclr_tf.DataError, match=r"b\.png cannot be used"):
        model.embed([good, bad])


def test_nothing_to_load_is_said_at_once(tmp_path):
    with pytest.raises(simclr_tf.DataError, match="does not exist"):
        simclr_tf.load(tmp_path / "nothing")


def test_code_that_the_files_name_is_not_run_unasked(run):
    with pytest.raises(simclr_tf.SettingsError, match="add trust_code, or name"):
        simclr_tf.load(run.run_dir)
