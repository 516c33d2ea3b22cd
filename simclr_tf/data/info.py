"""What is known about a source before it is read. Standard library only."""

import dataclasses
import hashlib

from simclr_tf.errors import DataError


@dataclasses.dataclass(frozen=True)
class SourceInfo:
    """Sizes and names of a training and an evaluation set, without decoding anything.

    Attributes:
        name: the data set or folder, as the user gave it.
        num_train, num_eval: numbers of images; num_eval is 0 if there is nothing to evaluate on.
        num_classes: 0 if there are no labels.
        train_split, eval_split: in words, for the printed plan.
        prepared: False if tensorflow-datasets would have to download it first.
        fingerprint: hexadecimal; equal if and only if names, splits and labels are equal (image
            contents are not read).
        channels: of the images, 3 (RGB) unless they are .npy files.
        label_sets: True if num_classes is that of several labels per image (of fine-tuning only).
    """

    name: str
    num_train: int
    num_eval: int
    num_classes: int
    train_split: str
    eval_split: str
    prepared: bool
    fingerprint: str
    channels: int = 3
    label_sets: bool = False

    @property
    def identity(self):
        """What config.json stores of the images: name, fingerprint, images and classes."""
        names = ("name", "fingerprint", "num_train", "num_classes")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What every `Source` says about itself; see there."""

    name: str
    num_examples: int
    class_names: tuple
    fingerprint: str
    image_shape: tuple = None
    channels: int = 3


def fingerprint_of(*parts):
    """16 hexadecimal digits that depend on the text of every part and on their order."""
    digest = hashlib.sha256()
    for part in parts:
        text = str(part).encode("utf-8", "surrogateescape")
        digest.update(b"%d:" % len(text) + text)
    return digest.hexdigest()[:16]


def require_labels(source, needed_by):
    """Checks that a `SourceInfo` or `Source` has labels.

    Args:
        source: has `name` and `num_classes`.
        needed_by: what needs them, in the user's words, such as "--mode=linear_eval".
    Raises:
        DataError: fewer than two classes.
    """
    if source.num_classes < 2:
        raise DataError(
            f"{source.name} has no labels, which {needed_by} needs; sort the images into one "
            "folder per class (at least two), or choose a labelled data set."
        )
