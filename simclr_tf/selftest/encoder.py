"""An encoder that is traced in a moment, for checks whose subject is not the encoder."""

from simclr_tf.stack import keras

NAME = f"{__name__}:small"


def small(image_size, channels):
    """Two convolutions with BatchNormalization: images float [b, s, s, c] -> float [b, 16]."""
    layers = [keras.layers.InputLayer([image_size, image_size, channels])]
    for filters in (8, 16):
        layers.append(keras.layers.Conv2D(filters, 3, 2, use_bias=False))
        layers += [keras.layers.BatchNormalization(), keras.layers.ReLU()]
    return keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()])
