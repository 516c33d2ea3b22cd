"""Which variables are decayed: decided by the type of the layer that owns them."""

from simclr_tf.stack import keras, tf

NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)


def undecayed_variables(*layers):
    """Trainable variables of normalization layers, and biases.

    Args:
        *layers: Keras layers or models, built.
    Returns:
        list of variables, each once, in the order of the layers.
    """
    found = {}
    for root in layers:
        for layer in (root, *root.submodules):
            for variable in _undecayed_of_layer(layer):
                found.setdefault(id(variable), variable)
    return list(found.values())


def _undecayed_of_layer(layer):
    if isinstance(layer, NORMALIZATIONS):
        return layer.trainable_variables
    bias = getattr(layer, "bias", None)
    return [bias] if isinstance(bias, tf.Variable) and isinstance(layer, keras.layers.Layer) else []
