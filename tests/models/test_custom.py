"""Bring your own encoder."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.models.build import build_encoder
from simclr_tf.models.custom import build_custom, copy_functional, wrap_model
from simclr_tf.models.normalization import BatchNormalization
from simclr_tf.optimizers.groups import undecayed_variables
from simclr_tf.stack import keras, tf


def functional(image_size):
    images = keras.Input([image_size, image_size, 3])
    x = keras.layers.Conv2D(4, 3, use_bias=False)(images)
    x = keras.layers.BatchNormalization(momentum=0.7)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(images, keras.layers.Dense(6, bias_initializer="ones")(x))


class Plain(keras.Model):
    """A subclass whose call takes no `training`."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(5)

    def call(self, images):
        return self.dense(tf.reduce_mean(images, [1, 2]))


def maps():
    return keras.Sequential([keras.layers.Conv2D(4, 3)])


def integers():
    return keras.Sequential([keras.layers.Lambda(lambda x: tf.cast(x[:, 0, 0], tf.int32))])


def number():
    return 3


def broken():
    raise RuntimeError("no such file\nsecond line")


def images(side=16):
    return np.random.default_rng(0).uniform(size=(4, side, side, 3)).astype("float32")


def test_a_function_of_the_user_keeps_its_weights_and_gets_global_statistics():
    spec = f"{__name__}:functional"
    encoder = build_encoder(config.Model(encoder=spec), image_size=16)
    assert encoder.feature_dim == 6
    norms = [layer for layer in encoder.submodules if isinstance(layer, BatchNormalization)]
    assert len(norms) == 1 and norms[0].global_statistics and norms[0].momentum == 0.7
    h = encoder(images(), training=False)
    assert h.dtype == "float32" and h.shape == (4, 6)
    bias = [variable for variable in encoder.variables if variable.name.endswith("bias:0")]
    np.testing.assert_array_equal(bias[0], 1.0)
    np.testing.assert_array_equal(encoder.endpoints(images())["final_avg_pool"], h)
    before = norms[0].moving_mean.numpy()
    encoder(images(), training=True)
    assert not np.array_equal(before, norms[0].moving_mean)
    encoder.trainable = False
    before = norms[0].moving_mean.numpy()
    encoder(images(), training=True)
    np.testing.assert_array_equal(before, norms[0].moving_mean)
    encoder.trainable = True
    names = sorted(variable.name.split("/")[-1] for variable in undecayed_variables(encoder))
    assert names == ["beta:0", "bias:0", "gamma:0"]


def test_a_subclass_is_taken_as_it_is():
    encoder = build_custom(f"{__name__}:Plain", 16)
    assert encoder(images(), training=True).shape == (4, 5)
    assert len(encoder.trainable_variables) == 2


def test_a_model_can_be_given_by_argument():
    encoder = wrap_model(functional(16), 16)
    assert encoder(images(), training=True).shape == (4, 6)


def test_copies_start_from_the_seed():
    """Unseeded initializers, as in keras.applications, get a seed for every kernel."""
    model = functional(16)
    one, same, other = (copy_functional(model, seed, True).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same))
    assert not np.array_equal(one[0], other[0])


def test_keras_applications_get_their_own_preprocessing():
    encoder = build_custom("applications:MobileNet", 32)
    assert encoder.feature_dim == 1024
    seen = encoder.preprocess(tf.constant(images(32)))
    np.testing.assert_allclose(seen, images(32) * 2 - 1, atol=1e-5)
    norms = [layer for layer in encoder.submodules if isinstance(layer, BatchNormalization)]
    assert len(norms) == 27
    assert len(undecayed_variables(encoder)) == 54


@pytest.mark.parametrize(
    "spec, message",
    [
        ("resnet", "does not name an encoder"),
        ("applications:", "does not name an encoder"),
        ("applications:ResNet51", "does not exist; keras.applications has .*ResNet50"),
        ("applications:InceptionV3", "raise image_size"),
        ("no.such.module:f", "cannot be found"),
        (f"{__name__}:missing", "cannot be found"),
        (f"{__name__}:broken", "failed with RuntimeError: no such file; correct"),
        (f"{__name__}:maps", r"returns float32 of shape \(1, 14, 14, 4\)"),
        (f"{__name__}:integers", r"returns int32 of shape \(1, 3\)"),
        (f"{__name__}:number", "is a builtins.int, not a model"),
    ],
)
def test_unsuitable_encoders_get_one_sentence(spec, message):
    with pytest.raises(SettingsError, match=message) as caught:
        build_custom(spec, 16)
    assert "\n" not in str(caught.value)
