"""Which variables are decayed: decided by the type of the layer that owns them."""

from typing import List

from simclr_tf.stack import keras, tf

NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)


def undecayed_variables(*layers: keras.layers.Layer, biases: bool = True) -> List[tf.Variable]:
    """Trainable variables of normalization layers, and biases.

    Args:
        *layers: Keras layers or models, built.
        biases: False leaves the biases out, which are decayed then.
    Returns:
        list of variables, each once, in the order of the layers.
    """
    found = {}
    for root in layers:
        for layer in (root, *root.submodules):
            for variable in _undecayed_of_layer(layer, biases):
                found.setdefault(id(variable), variable)
    return list(found.values())


def _undecayed_of_layer(layer, biases):
    if isinstance(layer, NORMALIZATIONS):
        return layer.trainable_variables
    bias = getattr(layer, "bias", None) if biases else None
    return [bias] if isinstance(bias, tf.Variable) and isinstance(layer, keras.layers.Layer) else []
