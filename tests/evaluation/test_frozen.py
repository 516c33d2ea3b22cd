"""The frozen-encoder proof sees weights, statistics and single bits."""

import numpy as np
import pytest

from simclr_tf.evaluation.frozen import FrozenEncoderError, proved_frozen, weights_hash
from simclr_tf.stack import keras, tf


def tiny_encoder():
    keras.utils.set_random_seed(3)
    encoder = keras.Sequential([keras.layers.Dense(4), keras.layers.BatchNormalization()])
    encoder.build((None, 5))
    return encoder


def test_inference_changes_nothing():
    encoder = tiny_encoder()
    with proved_frozen(encoder) as before:
        encoder(tf.ones([3, 5]), training=False)
    assert before == weights_hash(encoder) and len(before) == 64


def test_batch_statistics_in_training_mode_are_caught():
    encoder = tiny_encoder()
    with pytest.raises(FrozenEncoderError, match="changed during evaluation"):
        with proved_frozen(encoder):
            encoder(tf.ones([3, 5]), training=True)


def test_one_bit_of_one_weight_is_caught():
    encoder = tiny_encoder()
    kernel = encoder.trainable_variables[0]
    with pytest.raises(FrozenEncoderError):
        with proved_frozen(encoder):
            value = kernel.numpy()
            value[0, 0] = np.nextafter(value[0, 0], np.float32(10))
            kernel.assign(value)


def test_an_error_in_the_block_is_not_hidden():
    encoder = tiny_encoder()
    with pytest.raises(KeyError):
        with proved_frozen(encoder):
            encoder(tf.ones([3, 5]), training=True)
            raise KeyError("first cause")


def test_the_copies_of_all_replicas_are_hashed(two_replicas):
    with two_replicas.scope():
        encoder = tiny_encoder()
    alone = weights_hash(tiny_encoder())
    both = weights_hash(encoder, two_replicas)
    assert both != alone  # two copies went in
    copies = two_replicas.experimental_local_results(encoder.trainable_variables[0])
    copies[1].assign(copies[1] + 1.0)
    assert weights_hash(encoder, two_replicas) != both
