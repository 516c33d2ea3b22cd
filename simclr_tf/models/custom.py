"""Bring your own encoder: any Keras model that maps images to a vector."""

import importlib
import inspect
from typing import Callable, Optional

from simclr_tf.errors import SettingsError, first_line
from simclr_tf.models.layers import kernel_seed
from simclr_tf.models.normalization import BatchNormalization
from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import keras, tf

FORMS = "give package.module:function or applications:NAME, such as applications:EfficientNetB0"


class CustomEncoder(keras.Model):
    """f: images float [b, h, w, 3] in [0, 1] -> h float32 [b, feature_dim], around a given model.

    Made by `wrap_model` or `build_custom`, which check the model.

    Args:
        model: built Keras model, images -> vector [b, feature_dim].
        feature_dim: d.
        preprocess: function applied to the images first, or None.
        name: of the model.
    """

    def __init__(
        self,
        model: keras.Model,
        feature_dim: int,
        *,
        preprocess: Optional[Callable[[tf.Tensor], tf.Tensor]] = None,
        name: Optional[str] = "encoder",
    ):
        super().__init__(name=name)
        self.model = model
        self.feature_dim = feature_dim
        self.preprocess = preprocess

    @plain_python
    def call(self, images, training=None):
        return tf.cast(_run(self.model, self.preprocess, images, training), tf.float32)

    @plain_python
    def endpoints(self, images, training=None):
        """{"final_avg_pool": h}: the stages of a given model have no common names."""
        return {"final_avg_pool": self(images, training=training)}


def _run(model, preprocess, images, training):
    images = images if preprocess is None else preprocess(images)
    parameters = inspect.signature(model.call).parameters.values()
    takes_training = any(
        p.name == "training" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters
    )
    return model(images, training=training) if takes_training else model(images)


def wrap_model(
    model: keras.Model,
    image_size: int,
    *,
    preprocess: Optional[Callable[[tf.Tensor], tf.Tensor]] = None,
    label: str = "the encoder",
    channels: int = 3,
) -> CustomEncoder:
    """Checks a Keras model and makes it an encoder; builds it by running one black image.

    Args:
        model: Keras model (Keras 2 API), images float [b, h, w, 3] -> vector [b, d].
        image_size: side of the square input in pixels.
        preprocess: function applied to the images in [0, 1] first, or None.
        label: what the user gave, for errors.
        channels: of the images.
    Returns:
        CustomEncoder.
    Raises:
        SettingsError: it is not a Keras 2 model, it cannot take such images, or its output is
            not one float vector per image.
    """
    if not isinstance(model, keras.layers.Layer):
        raise SettingsError(
            f"{label} is a {type(model).__module__}.{type(model).__name__}, not a model of the "
            "Keras 2 API; make it with `from simclr_tf.stack import keras`."
        )
    black = tf.zeros([1, image_size, image_size, channels])
    try:
        h = _run(model, preprocess, black, training=False)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise SettingsError(
            f"{label} cannot take images of {image_size}x{image_size} pixels and {channels} "
            f"channels ({first_line(error)}); change image_size or the model."
        ) from error
    shape = getattr(h, "shape", None)
    if shape is None or shape.rank != 2 or shape[-1] is None or not h.dtype.is_floating:
        raise SettingsError(
            f"{label} returns {_describe(h)}; an encoder returns one float vector per image, "
            "[b, d] with a fixed d: end it with a global average pooling."
        )
    encoder = CustomEncoder(model, int(shape[-1]), preprocess=preprocess)
    encoder(black, training=False)
    return encoder


def _describe(h):
    shape = getattr(h, "shape", None)
    return f"a {type(h).__name__}" if shape is None else f"{h.dtype.name} of shape {tuple(shape)}"


def build_custom(
    spec: str,
    image_size: int,
    *,
    seed: int = 0,
    global_bn: bool = True,
    channels: int = 3,
) -> CustomEncoder:
    """The encoder that `--encoder` names, with its variables.

    With `global_bn` the BatchNormalization layers of functional models become ours, with
    statistics over all replicas; models that are subclasses keep theirs.

    Args:
        spec: "package.module:function", a function that returns a Keras model (it may take
            `image_size` and `channels`), or "applications:NAME" of keras.applications, whose
            weights are not trained.
        image_size: side of the square input in pixels.
        seed: of the initial weights of keras.applications; a function of the user's keeps the
            weights it gives.
        global_bn: as above.
        channels: of the images; keras.applications take RGB only.
    Returns:
        CustomEncoder, built.
    Raises:
        SettingsError: the name cannot be found, the function fails, or the model is unsuitable.
    """
    place, separator, name = spec.partition(":")
    if not (place and separator and name):
        raise SettingsError(f"encoder={spec} does not name an encoder: {FORMS}.")
    if place == "applications":
        model, preprocess = _application(name, image_size, channels)
        model = copy_functional(model, seed, global_bn)
        return wrap_model(model, image_size, preprocess=preprocess, label=f"encoder={spec}")
    model = _call_function(spec, place, name, {"image_size": image_size, "channels": channels})
    if global_bn and getattr(model, "inputs", None):
        try:
            adopted = copy_functional(model, seed, global_bn)
        except (NotImplementedError, TypeError, ValueError) as error:
            raise SettingsError(
                f"encoder={spec} cannot be copied with global BatchNormalization "
                f"({first_line(error)}); give --global_bn=False."
            ) from error
        adopted.set_weights(model.get_weights())
        model = adopted
    return wrap_model(model, image_size, label=f"encoder={spec}", channels=channels)


def _application(name, image_size, channels):
    if channels != 3:
        raise SettingsError(
            f"encoder=applications:{name} takes RGB, the images have {channels} channels; leave it "
            "out, or give package.module:function."
        )
    known = [one for one in dir(keras.applications) if one[0].isupper()]
    make = getattr(keras.applications, name) if name in known else None
    if not callable(make):
        raise SettingsError(
            f"encoder=applications:{name} does not exist; keras.applications has "
            f"{', '.join(known)}."
        )
    shape = [image_size, image_size, 3]
    try:
        model = make(include_top=False, weights=None, input_shape=shape, pooling="avg")
    except ValueError as error:
        raise SettingsError(
            f"encoder=applications:{name} cannot take images of {image_size}x{image_size} pixels "
            f"({first_line(error)}); raise image_size."
        ) from error
    family = importlib.import_module(make.__module__)
    return model, lambda images: family.preprocess_input(images * 255.0)


def _call_function(spec, place, name, offered):
    try:
        function = getattr(importlib.import_module(place), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"encoder={spec} cannot be found ({first_line(error)}); the module must be importable "
            "from the current folder."
        ) from error
    try:
        taken = set(inspect.signature(function).parameters) & set(offered)
        return function(**{argument: offered[argument] for argument in taken})
    except Exception as error:  # whatever the user's own code raises
        raise SettingsError(
            f"encoder={spec} failed with {type(error).__name__}: {first_line(error)}; correct "
            "the function."
        ) from error


def copy_functional(model: keras.Model, seed: int, global_bn: bool) -> keras.Model:
    """A copy of a functional model: seeded initial weights, and our BatchNormalization."""

    def copy_layer(layer):
        if getattr(layer, "inputs", None) and isinstance(layer, keras.Model):
            return copy_functional(layer, seed, global_bn)
        settings = _with_seeds(layer.get_config(), seed, layer.name)
        if type(layer) is keras.layers.BatchNormalization:
            settings.pop("synchronized", None)
            return BatchNormalization.from_config({**settings, "global_statistics": global_bn})
        return type(layer).from_config(settings)

    return keras.models.clone_model(model, clone_function=copy_layer)


def _with_seeds(settings, seed, path):
    """Fills every `seed: None` of a nested config from the path to it."""
    if isinstance(settings, dict):
        found = {key: _with_seeds(item, seed, f"{path}/{key}") for key, item in settings.items()}
        if "seed" in found and found["seed"] is None:
            found["seed"] = kernel_seed(seed, path)
        return found
    return settings
