"""The user's own images: a flat folder, or one folder per class.

Layouts, decided by what is there:
* a folder `train` (--train_split) beside `test`, `validation`, `val` or `valid` (--eval_split):
  own splits, each laid out as below;
* at least two folders that hold images, and no image beside them: classes, sorted by name;
* anything else: one set without labels.
Folders are searched to any depth. Names tell which files are images; whether they can be decoded
shows when they are read.
"""

import dataclasses
import os

import numpy as np

from simclr_tf.data import listing, stacks
from simclr_tf.data.holdout import held_out
from simclr_tf.data.info import Facts, SourceInfo, fingerprint_of
from simclr_tf.errors import DataError

EVAL_FOLDERS = ("test", "validation", "val", "valid")


@dataclasses.dataclass(frozen=True)
class _Part:
    """One split: its folder, the files below it and the split in words."""

    folder: str
    files: list
    words: str


def class_names_of(files):
    """Names of the top-level folders of relative paths, sorted; () if that makes no classes."""
    if any("/" not in path for path in files):
        return ()
    names = sorted({path.split("/", 1)[0] for path in files})
    return tuple(names) if len(names) > 1 else ()


def labels_of(files, class_names):
    """int32 [n]: the class of each relative path, -1 without classes."""
    numbers = {name: number for number, name in enumerate(class_names)}
    return np.asarray([numbers.get(path.split("/", 1)[0], -1) for path in files], np.int32)


class FolderSet:
    """The images below `data.image_dir` and how they are split."""

    def __init__(self, data):
        self.name = data.image_dir
        self._data = data
        self._parts = None
        self.class_names = ()
        self.channels = stacks.RGB

    def _split_folders(self, root):
        """(train folder, eval folder) if the images come with their own splits, else None."""
        data = self._data
        wanted = (data.eval_split,) if data.eval_split else EVAL_FOLDERS
        present = [name for name in wanted if listing.is_folder(listing.join(root, name))]
        if listing.is_folder(listing.join(root, data.train_split)) and present:
            return data.train_split, present[0]
        if data.eval_split or data.train_split != "train":
            raise DataError(
                f"{self.name} has no folders {data.train_split} and "
                f"{data.eval_split or ' or '.join(EVAL_FOLDERS)}; make them, or leave out the "
                "split flags to hold out --eval_fraction."
            )
        return None

    def _read(self):
        """{"train": part, "eval": part}; lists the files once."""
        if self._parts is not None:
            return self._parts
        root = listing.checked_folder(self.name)
        own = self._split_folders(root)
        if own:
            folders = [listing.join(root, name) for name in own]
            parts = [_Part(where, _images_below(where), name) for where, name in zip(folders, own)]
            self.class_names = class_names_of(parts[0].files)
            self._check_classes(parts[1])
        else:
            files = _images_below(root)
            self.class_names = class_names_of(files)
            out = held_out(
                labels_of(files, self.class_names), self._data.eval_fraction, self._data.split_seed
            )
            kept = [path for path, is_out in zip(files, out) if not is_out]
            held = [path for path, is_out in zip(files, out) if is_out]
            share = f"{self._data.eval_fraction:g} of the images"
            parts = [_Part(root, kept, "all but the held-out share"), _Part(root, held, share)]
        self.channels = stacks.common_channels(
            listing.join(part.folder, path) for part in parts for path in part.files
        )
        self._parts = dict(zip(("train", "eval"), parts))
        return self._parts

    def _check_classes(self, evaluated):
        """Evaluation folders may lack a class, but not bring a new one."""
        unknown = sorted(set(class_names_of(evaluated.files)) - set(self.class_names))
        if self.class_names and unknown:
            raise DataError(
                f"{evaluated.folder} has the class folder {unknown[0]}, which the training "
                "folder has not; give both the same class folders."
            )

    def info(self):
        """`SourceInfo`; see `sources.describe`."""
        train, evaluated = (self._read()[which] for which in ("train", "eval"))
        return SourceInfo(
            name=self.name,
            num_train=len(train.files),
            num_eval=len(evaluated.files),
            num_classes=len(self.class_names),
            train_split=train.words,
            eval_split=evaluated.words,
            prepared=True,
            fingerprint=fingerprint_of(*train.files, "", *evaluated.files),
            channels=self.channels,
        )

    def open(self, which):
        """A `Source`; see `sources.open_source`."""
        part = self._read()[which]
        return _file_source(self.name, part, self.class_names, self.channels)


def open_folder(image_dir):
    """A `Source` of every image below a folder, whatever splits it has; see `sources`.

    Raises:
        DataError: no such folder, no image in it, or images with different channels.
    """
    folder = listing.checked_folder(image_dir)
    files = _images_below(folder)
    channels = stacks.common_channels(listing.join(folder, path) for path in files)
    return _file_source(image_dir, _Part(folder, files, "all"), class_names_of(files), channels)


def _images_below(folder):
    files = listing.list_images(folder)
    if not files:
        raise DataError(
            f"{folder} holds no images; give a folder with "
            f"{', '.join(listing.IMAGE_SUFFIXES)} files, at any depth."
        )
    return files


def _file_source(name, part, class_names, channels):
    from simclr_tf.data.source import FileSource

    facts = Facts(
        name=name,
        num_examples=len(part.files),
        class_names=class_names,
        fingerprint=fingerprint_of(*part.files),
        channels=channels,
    )
    paths = [os.fsencode(listing.join(part.folder, path)) for path in part.files]
    return FileSource(facts, paths, labels_of(part.files, class_names))
