"""A tensorflow-datasets data set of drawn images with none to three of three labels each."""

import numpy as np
import tensorflow_datasets as tfds

TRAIN = 24
VALIDATION = 13
SIDE = 8


def labels(key):
    """The label set of an example: the bits of its number."""
    return {c for c in range(3) if (key >> c) & 1}


def image(key):
    """uint8 [8, 8, 1]: a bright row for each label."""
    pixels = np.full((SIDE, SIDE, 1), key, np.uint8)
    pixels[[1 + 2 * c for c in labels(key)]] = 255
    return pixels


class TinyLabelSets(tfds.core.GeneratorBasedBuilder):
    """37 grey images in train and validation."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(SIDE, SIDE, 1)),
            "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=["a", "b", "c"])),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        keys = range(TRAIN), range(TRAIN, TRAIN + VALIDATION)
        return {name: self._generate_examples(k) for name, k in zip(("train", "validation"), keys)}

    def _generate_examples(self, keys):
        for key in keys:
            yield key, {"image": image(key), "labels": sorted(labels(key))}


def prepare(folder):
    """Writes the data set; returns the settings that name it."""
    TinyLabelSets(data_dir=str(folder)).download_and_prepare()
    return {"dataset": "tiny_label_sets", "data_dir": str(folder)}
