"""The label sets of a tensorflow-datasets split, without its images."""

import numpy as np

from simclr_tf.data.label_sets import LabelSets
from simclr_tf.data.tfds_sets import TfdsSet, find_builder
from simclr_tf.errors import DataError

import tensorflow_datasets as tfds  # isort: skip


def class_names(data):
    """The classes of a data set with several labels per image; () if it is none.

    Args:
        data: config.Data with the name of a tensorflow-datasets data set; nothing is read.
    """
    features = find_builder(data.dataset, data.data_dir).info.features
    key = _key(features)
    return tuple(features[key].feature.names) if key else ()


def _key(features):
    """The name of the feature that holds a sequence of class labels, or None."""
    found = [
        key
        for key, kind in features.items()
        if isinstance(getattr(kind, "feature", None), tfds.features.ClassLabel)
    ]
    return "labels" if "labels" in found else (found[0] if found else None)


def with_label_sets(source, data, which):
    """The LabelSets of a Source that `sources.open_source` opened.

    Args:
        source: Source; data: config.Data; which: "train" or "eval", as it was opened.
    Raises:
        DataError: the data set is not prepared or holds no sequence of class labels.
    """
    split, part = TfdsSet(data).choice(which)
    rows, names = multi_hot(data, split)
    return LabelSets(source, rows if part is None else rows[part.chosen(len(rows))], names)


def multi_hot(data, split):
    """The label sets of a prepared split.

    Args:
        data: config.Data with `dataset` and `data_dir`; split: a split expression.
    Returns:
        (bool [n, num_classes] in the order of the split, class names).
    Raises:
        DataError: the data set is not prepared or holds no sequence of class labels.
    """
    builder = find_builder(data.dataset, data.data_dir)
    features = builder.info.features
    key = _key(features)
    if not key or not builder.info.splits:
        raise DataError(
            f"{data.dataset} has no prepared label sets; prepare it with --download, or choose a "
            "data set with several labels per image, such as voc/2007."
        )
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
