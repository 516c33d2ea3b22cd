"""scikit-learn's handwritten digits as a tensorflow-datasets builder that needs no network."""

import contextlib
import os

import numpy as np

from simclr_tf.data.sizes import KNOWN
from simclr_tf.errors import DataError
from simclr_tf.stack import tf  # noqa: F401 - chooses the Keras before tensorflow-datasets loads it

import tensorflow_datasets as tfds  # isort: skip

CLASS_NAMES = tuple("0123456789")
_SPLIT_SEED = 0


def digit_images():
    """The 1797 scans in the order of the two splits, train first.

    Returns:
        (images uint8 [1797, 8, 8, 1] with the stored 0 .. 16 stretched to 0 .. 255, labels int64
        [1797]).
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.round(found.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
    shuffled = np.random.RandomState(_SPLIT_SEED).permutation(len(images))
    return images[shuffled], found.target[shuffled].astype(np.int64)


class Digits(tfds.core.GeneratorBasedBuilder):
    """1797 scans of handwritten digits, 8x8 grey: a seeded 80/20 split into train and test."""

    name = "digits"
    code_path = None  # there is no file of download checksums to look for
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Seeded 80/20 split of sklearn.datasets.load_digits."}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="Optical recognition of handwritten digits (UCI test set), 8x8 grey.",
            homepage="https://archive.ics.uci.edu/dataset/80",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=CLASS_NAMES),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing to download
        images, labels = digit_images()
        cut = KNOWN["digits"][0]["train"]
        return {
            "train": self._generate_examples(images[:cut], labels[:cut]),
            "test": self._generate_examples(images[cut:], labels[cut:]),
        }

    def _generate_examples(self, images, labels):
        for key, (image, label) in enumerate(zip(images, labels)):
            yield key, {"image": image, "label": int(label)}


def prepared_builder(data_dir=""):
    """The builder with its files in place.

    Two processes may call this at once: each writes its own temporary folder, and the one that
    finds the data already renamed into place uses that.

    Args:
        data_dir: where the files go; "" is the folder of tensorflow-datasets.
    Raises:
        DataError: the folder cannot be written.
    """
    builder = Digits(data_dir=data_dir or None)
    if builder.info.splits:
        return builder
    try:
        with open(os.devnull, "w") as nowhere:  # progress bars for one second of work
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                builder.download_and_prepare()
    except (OSError, tf.errors.OpError) as error:
        other = Digits(data_dir=data_dir or None)
        if other.info.splits:
            return other
        raise DataError(
            f"the digits cannot be written to {builder.data_dir} ({error}); give a writable "
            "folder with --data_dir."
        ) from error
    return builder
