"""The user's own images: a flat folder, or one folder per class.

Layouts, decided by what is there:
* a folder for training beside one for evaluation, under the usual names (`splits_in`): own splits,
  each laid out as below;
* at least two folders that hold images, and no image beside them: classes, sorted by name;
* anything else: one set without labels.
Folders are searched to any depth. Names tell which files are images; whether they can be decoded
shows when they are read.
"""

import concurrent.futures
import dataclasses
import os
import re

import numpy as np

from simclr_tf import names
from simclr_tf.data import formats, listing, stacks
from simclr_tf.data.holdout import held_out, share_of
from simclr_tf.data.info import Facts, SourceInfo, fingerprint_of
from simclr_tf.errors import DataError

EVAL_FOLDERS = ("test", "validation", "val", "valid")  # the first that is there is evaluated on
_SET = "(set|images?|imgs?|data|split)?"
_TRAINING = re.compile(f"train(ing)?{_SET}")
_EVALUATION = (
    re.compile(f"test(ing)?{_SET}"),
    re.compile(f"(val(id(ation)?)?|eval(uation)?|dev){_SET}"),
)
# a folder that holds everything, and whose name says no more than that
_WRAPPERS = frozenset("images image imgs img pictures photos data dataset jpegimages".split())
_SAMPLED = 256  # images whose sizes in bytes tell folders apart
_AT_ONCE = 32  # remote files that are asked for at a time


@dataclasses.dataclass(frozen=True)
class _Part:
    """One split.

    Attributes:
        folder: where its files lie.
        files: relative paths below it, sorted.
        words: the split in words.
        wrapper: "" or the folder, with "/", that holds all of them and is no class.
    """

    folder: str
    files: list
    words: str
    wrapper: str = ""

    @classmethod
    def of(cls, folder, files, words):
        """The part with its wrapper found."""
        tops = {path.split("/", 1)[0] if "/" in path else "" for path in files}
        only = next(iter(tops)) if len(tops) == 1 else ""
        wrapper = only + "/" if only.lower() in _WRAPPERS else ""
        return cls(folder, files, words, wrapper)

    def tops(self):
        """The folder that could be the class of each file, "" where it lies in none."""
        start = len(self.wrapper)
        return [path[start : max(path.find("/", start), start)] for path in self.files]

    def why_no_classes(self):
        """Why several folders with images are no classes, or ""."""
        tops = self.tops()
        folders = set(tops) - {""}
        beside = [path for path, top in zip(self.files, tops) if not top]
        if len(folders) < 2 or not beside:
            return ""
        several = len(beside) > 1
        return (
            f"{len(beside):,} image{'s lie' if several else ' lies'} beside the {len(folders):,} "
            f"folders, such as {names.shown(beside[0])}, so the folders are no classes; move "
            f"{'them' if several else 'it'} into a folder or out"
        )


def splits_in(folder_names):
    """(training folder, [evaluation folders, preferred first]) among names, or None.

    Case, "-", "_" and " " make no difference: train, Training, training_set and train-images are
    for training; test and testing, val, valid, validation, eval and dev for evaluation.
    """
    training = [name for name in folder_names if _TRAINING.fullmatch(_plain(name))]
    evaluation = [name for name in EVAL_FOLDERS if name in folder_names]
    for pattern in _EVALUATION:
        evaluation += [name for name in folder_names if pattern.fullmatch(_plain(name))]
    if not training or not evaluation:
        return None
    exact = "train" if "train" in training else training[0]
    return exact, list(dict.fromkeys(evaluation))


def _plain(name):
    return re.sub("[-_. ]", "", name.lower())


def class_names_of(tops):
    """Names of the folders in `_Part.tops`, sorted; () if they make no classes."""
    found = sorted(set(tops))
    return tuple(found) if len(found) > 1 and "" not in found else ()


def labels_of(tops, class_names):
    """int32 [n]: the class of each image, -1 without one."""
    numbers = {name: number for number, name in enumerate(class_names)}
    return np.asarray([numbers.get(top, -1) for top in tops], np.int32)


class FolderSet:
    """The images below `data.image_dir` and how they are split."""

    def __init__(self, data):
        self.name = data.image_dir
        self.channels = stacks.RGB
        self._data = data
        self._parts = None
        self._folder_names = ()  # the classes as the file system calls them
        self._seen = listing.Listing()
        self._held_out = ""
        self._notes = []
        self._no_labels = ""
        self._unlabelled_eval = ""
        self._earlier = ()

    def _read(self):
        """{"train": part, "eval": part}; lists the files once."""
        if self._parts is not None:
            return self._parts
        root = listing.checked_folder(self.name)
        own = self._split_folders(root)
        parts = self._own_splits(root, *own) if own else self._one_set(root)
        self.channels = stacks.common_channels(
            listing.join(part.folder, path) for part in parts for path in part.files
        )
        self._parts = dict(zip(("train", "eval"), parts))
        return self._parts

    def _split_folders(self, root):
        """(training folder, [evaluation folders]) if the images have splits of their own, or None."""
        data = self._data
        if data.eval_split or data.train_split != "train":
            wanted = (data.eval_split,) if data.eval_split else EVAL_FOLDERS
            present = [name for name in wanted if listing.is_folder(listing.join(root, name))]
            if listing.is_folder(listing.join(root, data.train_split)) and present:
                return data.train_split, present[:1]
            raise DataError(
                f"{names.shown(self.name)} has no folders {data.train_split} and "
                f"{data.eval_split or ' or '.join(EVAL_FOLDERS)}; make them, or leave out the "
                "split flags to hold out --eval_fraction."
            )
        found = _splits_below(root)
        if found is None:
            for name in listing.entries(root):  # such as images/train beside labels/train
                if name.lower() in _WRAPPERS and listing.is_folder(listing.join(root, name)):
                    below = _splits_below(listing.join(root, name))
                    if below:
                        return f"{name}/{below[0]}", [f"{name}/{one}" for one in below[1]]
        return found

    def _look(self, folder, words):
        """The part that a folder is; what it leaves out is counted."""
        found = listing.look_below(folder, self._data.follow_links, self._data.image_formats)
        self._seen.add(found, words)
        return _Part.of(folder, found.images, words)

    def _own_splits(self, root, training, evaluation):
        """(training part, evaluation part) of images that have folders for both.

        Of several evaluation folders the first whose images all have a class is taken.
        """
        train = self._look(listing.join(root, training), training)
        _check_any(train.folder, train.files, self._seen)
        self._folder_names = class_names_of(train.tops())
        self._no_labels = train.why_no_classes()
        first = evaluated = self._look(listing.join(root, evaluation[0]), evaluation[0])
        for name in evaluation[1:]:
            if evaluated.files and not self._lacking_class(evaluated):
                break
            other = self._look(listing.join(root, name), name)
            if other.files and not self._lacking_class(other):
                evaluated = other
        _check_any(evaluated.folder, evaluated.files, self._seen)
        if evaluated is not first:
            self._earlier = (fingerprint_of(*train.files, "", *first.files),)
        self._check_classes(train, evaluated)
        used = {os.path.basename(training), os.path.basename(evaluated.words)}
        for name in listing.entries(os.path.dirname(train.folder)):
            if name not in used:
                self._seen.leave_out(listing.BESIDE, name)
        self._held_out = f"{len(evaluated.files):,} images of {names.shown(evaluated.words)}"
        return train, evaluated

    def _lacking_class(self, part):
        """The images of an evaluation part that lie in no class folder of the training part."""
        tops = part.tops()
        known = set(self._folder_names)
        return [path for path, top in zip(part.files, tops) if known and top not in known]

    def _check_classes(self, train, evaluated):
        """Evaluation folders may lack a class, but not bring a new one.

        Images without any class folder can still be used where no labels are needed.
        """
        lacking = self._lacking_class(evaluated)
        unknown = sorted(set(class_names_of(evaluated.tops())) - set(self._folder_names))
        if self._folder_names and unknown:
            raise DataError(
                f"{names.shown(evaluated.folder)} has the class folder {names.shown(unknown[0])}, "
                "which the training folder has not; give both the same class folders."
            )
        if lacking:
            count = "1 image" if len(lacking) == 1 else f"{len(lacking):,} images"
            self._unlabelled_eval = (
                f"{names.shown(evaluated.words)} has {count} without a class folder of "
                f"{names.shown(train.words)}, such as "
                f"{names.shown(listing.join(evaluated.words, lacking[0]))}"
            )

    def _one_set(self, root):
        """(training part, evaluation part) of images without splits: a share is held out."""
        found = listing.look_below(root, self._data.follow_links, self._data.image_formats)
        self._seen = found
        _check_any(root, found.images, found)
        whole = _Part(root, found.images, "")
        self._folder_names = class_names_of(whole.tops())
        self._no_labels = whole.why_no_classes()
        splits = [name for name in self._folder_names if _TRAINING.fullmatch(_plain(name))]
        if splits:
            self._notes.append(
                f"the class folder {names.shown(splits[0])} looks like a split; if it is one, name "
                "the splits with --train_split and --eval_split"
            )
        labels = labels_of(whole.tops(), self._folder_names)
        share = share_of(self._data.eval_fraction, bool(self._folder_names))
        out = held_out(labels, share, self._data.split_seed)
        self._held_out = self._held_out_in_words(share, int(out.sum()), len(out))
        kept = [path for path, is_out in zip(found.images, out) if not is_out]
        held = [path for path, is_out in zip(found.images, out) if is_out]
        return (
            _Part(root, kept, "all but the held-out share" if held else "all images"),
            _Part(root, held, f"{share:g} of the images" if held else "none"),
        )

    def _held_out_in_words(self, share, count, total):
        if count:
            of = "of each class" if self._folder_names else "of the images"
            return f"{count:,} of {total:,} images to measure on ({share:g} {of})"
        if share:
            return "nothing, there is one image"
        if self._folder_names:
            return "nothing (--eval_fraction=0)"
        return "nothing: without labels every image trains"

    def info(self):
        """`SourceInfo`; see `sources.describe`."""
        train, evaluated = (self._read()[which] for which in ("train", "eval"))
        sizes = np.bincount(
            labels_of(train.tops(), self._folder_names) + 1, minlength=len(self._folder_names) + 1
        )[1:]
        class_names = [names.as_text(name) for name in self._folder_names]
        return SourceInfo(
            name=self.name,
            num_train=len(train.files),
            num_eval=len(evaluated.files),
            num_classes=len(class_names),
            train_split=train.words,
            eval_split=evaluated.words,
            prepared=True,
            fingerprint=fingerprint_of(*train.files, "", *evaluated.files),
            channels=self.channels,
            classes=tuple(zip(class_names, sizes.tolist())),
            no_labels=self._no_labels,
            unlabelled_eval=self._unlabelled_eval,
            held_out=self._held_out,
            left_out=tuple(self._seen.words()),
            notes=tuple(self._notes),
            earlier_fingerprints=self._earlier,
            sizes=_digest_of_sizes(train),
        )

    def open(self, which):
        """A `Source`; see `sources.open_source`."""
        part = self._read()[which]
        return _file_source(self.name, part, self._folder_names, self.channels)


def open_folder(image_dir, follow_links=False, image_formats="all"):
    """A `Source` of every image below a folder, whatever splits it has; see `sources`.

    Raises:
        DataError: no such folder, no image in it, or images with different channels.
    """
    folder = listing.checked_folder(image_dir)
    found = listing.look_below(folder, follow_links, image_formats)
    _check_any(folder, found.images, found)
    channels = stacks.common_channels(listing.join(folder, path) for path in found.images)
    part = _Part(folder, found.images, "all")
    return _file_source(image_dir, part, class_names_of(part.tops()), channels)


def _splits_below(folder):
    """`splits_in` of the folders below a folder."""
    found = splits_in(listing.entries(folder))
    if found is None:
        return None
    training, evaluation = found
    present = [one for one in evaluation if listing.is_folder(listing.join(folder, one))]
    if not present or not listing.is_folder(listing.join(folder, training)):
        return None
    return training, present


def _check_any(folder, files, seen):
    if not files:
        left_out = "; ".join(seen.words())
        raise DataError(
            f"{names.shown(folder)} holds no images; give a folder with "
            f"{', '.join(formats.SUFFIXES)} files, at any depth"
            f"{f' (left out: {left_out})' if left_out else ''}."
        )


def _digest_of_sizes(part):
    """A digest of the sizes in bytes of some images, evenly spaced."""
    step = -(-len(part.files) // _SAMPLED)
    paths = [listing.join(part.folder, path) for path in part.files[::step]]
    if not listing.is_remote(part.folder):
        return fingerprint_of(*map(_size, paths))
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        return fingerprint_of(*pool.map(_remote_size, paths))


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:  # gone since it was listed
        return 0


def _remote_size(path):
    from simclr_tf.stack import tf

    try:
        return tf.io.gfile.stat(path).length
    except tf.errors.OpError:
        return 0


def _file_source(name, part, folder_names, channels):
    from simclr_tf.data.source import FileSource

    facts = Facts(
        name=name,
        num_examples=len(part.files),
        class_names=tuple(names.as_text(one) for one in folder_names),
        fingerprint=fingerprint_of(*part.files),
        channels=channels,
    )
    paths = [os.fsencode(listing.join(part.folder, path)) for path in part.files]
    return FileSource(facts, paths, labels_of(part.tops(), folder_names))
