"""Several labels per image: the label sets of a tensorflow-datasets split, without its images."""

import numpy as np

from simclr_tf.data.tfds_sets import find_builder
from simclr_tf.errors import DataError

import tensorflow_datasets as tfds  # isort: skip


def multi_hot(data, split):
    """The label sets of a prepared split.

    Args:
        data: config.Data with `dataset` and `data_dir`; split: a split expression.
    Returns:
        (bool [n, num_classes] in the order of the ids of the split's Source, class names).
    Raises:
        DataError: the data set is not prepared or holds no sequence of class labels.
    """
    builder = find_builder(data.dataset, data.data_dir)
    features = builder.info.features
    found = [
        key
        for key, kind in features.items()
        if isinstance(getattr(kind, "feature", None), tfds.features.ClassLabel)
    ]
    if not found or not builder.info.splits:
        raise DataError(
            f"{data.dataset} has no prepared label sets; prepare it with --download, or choose a "
            "data set with several labels per image, such as voc/2007."
        )
    key = "labels" if "labels" in found else found[0]
    names = tuple(features[key].feature.names)
    images = [name for name, kind in features.items() if isinstance(kind, tfds.features.Image)]
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    dataset = builder.as_dataset(
        split=split,
        decoders={name: tfds.decode.SkipDecoding() for name in images},
        read_config=config,
        shuffle_files=False,
    )
    rows = []
    for labels in dataset.map(lambda example: example[key]).as_numpy_iterator():
        row = np.zeros(len(names), bool)
        row[labels] = True
        rows.append(row)
    return np.stack(rows), names
