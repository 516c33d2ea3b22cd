"""Every image exactly once: last partial batch, tiny and prime data sets, several replicas."""

import numpy as np
import pytest

from simclr_tf.evaluation.features import extract_features
from simclr_tf.stack import keras, tf
from tests.conftest import mirrored


def tiny_encoder():
    keras.utils.set_random_seed(3)
    encoder = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    encoder.build((None, 8, 8, 3))
    return encoder


def images_of(n):
    return np.random.default_rng(n).random((n, 8, 8, 3), np.float32)


def batches_of(images, batch):
    n = len(images)
    columns = {"images": images, "label": np.arange(n, dtype=np.int32) % 3, "id": np.arange(n) + 10}
    return tf.data.Dataset.from_tensor_slices(columns).batch(batch)


def check(encoder, n, batch, strategy=None):
    images = images_of(n)
    got = extract_features(encoder, batches_of(images, batch), batch, strategy)
    assert got.h.dtype == np.float32
    np.testing.assert_array_equal(got.ids, np.arange(n) + 10)
    np.testing.assert_array_equal(got.labels, np.arange(n) % 3)
    want = np.concatenate([encoder(images[i : i + 1], training=False) for i in range(n)])
    np.testing.assert_allclose(got.h, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n, batch", [(13, 4), (3, 8), (8, 8), (1, 1)])
def test_one_replica(n, batch):
    check(tiny_encoder(), n, batch)


@pytest.mark.parametrize("n, batch", [(13, 4), (13, 5), (1, 4), (7, 16)])
def test_two_replicas(two_replicas, n, batch):
    with two_replicas.scope():
        encoder = tiny_encoder()
    check(encoder, n, batch, two_replicas)


@pytest.mark.parametrize("n, batch", [(13, 4), (31, 7), (2, 6)])
def test_three_replicas(n, batch):
    three = mirrored(3)
    with three.scope():
        encoder = tiny_encoder()
    check(encoder, n, batch, three)


def test_several_feature_spaces_come_from_one_pass():
    encoder = tiny_encoder()
    images = images_of(5)
    calls = []

    def both(batch, training):
        calls.append(training)
        return {"h": encoder(batch, training=training), "mean": tf.reduce_mean(batch, [1, 2])}

    got = extract_features(both, batches_of(images, 2), 2)
    np.testing.assert_allclose(got.h["mean"], images.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(got.h["h"], encoder(images, training=False), rtol=1e-5, atol=1e-6)
    assert calls == [False]  # traced once: one static shape for all batches


def test_the_forward_pass_compiles_with_xla():
    encoder = tiny_encoder()
    images = images_of(5)
    got = extract_features(encoder, batches_of(images, 2), 2, jit_compile=True)
    np.testing.assert_allclose(got.h, encoder(images, training=False), rtol=1e-4, atol=1e-5)


def test_many_encoders_bring_no_warning_of_retracing(caplog):
    images = batches_of(images_of(2), 2)
    for scale in range(7):
        extract_features(lambda x, training, s=scale: s * x[:, 0, 0], images, 2)
    assert "retracing" not in caplog.text
