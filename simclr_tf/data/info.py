"""What is known about a source before it is read. Standard library only."""

import dataclasses
import hashlib

from simclr_tf import names
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
        classes: ((name, training images), ...) where both are known, else ().
        no_labels: why class folders give no labels, a sentence without a stop, or "".
        unlabelled_eval: which evaluation images have no class, a sentence without a stop, or "".
        held_out: which images do not train, and why, in words.
        notes: sentences without a stop that the user should read before the work.
        left_out: phrases, one for each reason why a file is no image.
        earlier_fingerprints: those that earlier versions gave the same training images.
        sizes: a digest of the file sizes of some images, "" where unknown: tells apart folders
            whose images only have the same names.
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
    classes: tuple = ()
    no_labels: str = ""
    unlabelled_eval: str = ""
    held_out: str = ""
    notes: tuple = ()
    left_out: tuple = ()
    earlier_fingerprints: tuple = ()
    sizes: str = ""

    @property
    def identity(self):
        """What config.json stores of the images: name, fingerprints, images, classes, sizes."""
        stored = {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "num_train": self.num_train,
            "num_classes": self.num_classes,
        }
        if self.earlier_fingerprints:
            stored["earlier_fingerprints"] = list(self.earlier_fingerprints)
        if self.sizes:
            stored["sizes"] = self.sizes
        return stored


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


def require_labels(images, needed_by):
    """Checks that the training images have labels, and every evaluation image has one of them.

    Args:
        images: `SourceInfo`, or a `Source`, of which the number of classes alone is checked.
        needed_by: what needs them, in the user's words, such as "--mode=linear_eval".
    Raises:
        DataError: fewer than two classes, or evaluation images without a class.
    """
    why = images.no_labels if isinstance(images, SourceInfo) else ""
    if images.num_classes < 2:
        raise DataError(
            f"{names.shown(images.name)} has no labels, which {needed_by} needs"
            f"{f' ({why})' if why else ''}; sort the images into one folder per class (at least "
            "two), or choose a labelled data set."
        )
    if isinstance(images, SourceInfo) and images.unlabelled_eval:
        raise DataError(
            f"{images.unlabelled_eval}, and {needed_by} needs one for each; sort the evaluation "
            "images into the same class folders, or name others with --eval_split."
        )
