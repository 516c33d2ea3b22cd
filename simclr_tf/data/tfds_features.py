"""Which features of a tensorflow-datasets data set are the image and the label."""

import numpy as np

from simclr_tf.errors import DataError

import tensorflow_datasets as tfds  # isort: skip


def image_key(name, features):
    """The name of the image feature.

    Raises:
        DataError: no image, or images that are not 8 or 16 bit.
    """
    found = [key for key, kind in features.items() if isinstance(kind, tfds.features.Image)]
    if not found:
        raise DataError(f"dataset={name} holds no images; choose an image data set.")
    key = "image" if "image" in found else found[0]
    if features[key].np_dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"dataset={name} stores its images as {np.dtype(features[key].np_dtype).name}; only "
            "8 and 16 bit images can be used."
        )
    return key


def label_key(features):
    """The name of the class label, or None."""
    found = [key for key, kind in features.items() if isinstance(kind, tfds.features.ClassLabel)]
    return "label" if "label" in found else (found[0] if len(found) == 1 else None)


def class_names(features):
    """The names of the classes; () without labels."""
    key = label_key(features)
    return tuple(features[key].names) if key else ()
