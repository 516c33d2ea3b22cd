"""Images from several folders, or from a text file that lists their paths, with or without labels.

`--image_dir=A,B` takes the images below both folders. The folders on the first level of each are the
classes, so `A/cats` and `B/cats` are one class. `--image_dir=list.csv` takes one image a line: its
path and, if wanted, its label. Paths in a list begin in the folder of the list. Both may be mixed.
Only names are looked at here.
"""

import csv
import dataclasses
import io
import os
import stat

import numpy as np

from simclr_tf import names
from simclr_tf.config import places_in
from simclr_tf.data import formats, listing, stacks
from simclr_tf.data.holdout import held_out, share_of
from simclr_tf.data.info import Facts, SourceInfo, fingerprint_of
from simclr_tf.errors import DataError

SUFFIXES = (".txt", ".csv", ".tsv")
_PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path")  # fmt: skip
_LABEL_COLUMNS = ("label", "class", "target", "category")


@dataclasses.dataclass
class _Found:
    """What is found: one entry per image.

    Attributes:
        paths: where the image lies.
        keys: what the image is called in its folder or list, for the fingerprint.
        labels: text of the class, "" without.
        seen: Listing of what is left out.
    """

    paths: list = dataclasses.field(default_factory=list)
    keys: list = dataclasses.field(default_factory=list)
    labels: list = dataclasses.field(default_factory=list)
    seen: listing.Listing = dataclasses.field(default_factory=listing.Listing)


def places_of(image_dir):
    """The folders and lists of a setting `image_dir`, a list of str."""
    return places_in(image_dir)


def is_collection(image_dir):
    """Whether a setting `image_dir` names several places, or a list of paths."""
    places = places_of(image_dir)
    return len(places) > 1 or _is_list(places[0])


def _is_list(place):
    if listing.is_remote(place):
        return place.lower().endswith(SUFFIXES)
    return os.path.isfile(place)


class CollectionSet:
    """The images of several places and how they are split."""

    def __init__(self, data):
        self.name = data.image_dir
        self._data = data
        self._found = None
        if data.eval_split or data.train_split != "train":
            raise DataError(
                f"{names.shown(self.name)} is a list or several folders, which have no splits; "
                "leave out --train_split and --eval_split to hold out --eval_fraction."
            )

    def _read(self):
        """_Found; lists the files once."""
        if self._found is None:
            self._found = _look(self._data)
            self.class_names = class_names_in_order(self._found.labels)
            self.channels = stacks.common_channels(self._found.paths)
            numbers = {label: number for number, label in enumerate(self.class_names)}
            self.labels = np.asarray([numbers.get(one, -1) for one in self._found.labels], np.int32)
        return self._found

    def _held_out(self):
        """bool [n], the images to measure on: labelled ones, if there are labels."""
        share = share_of(self._data.eval_fraction, bool(self.class_names))
        out = held_out(self.labels, share, self._data.split_seed)
        return out & (self.labels >= 0) if self.class_names else out

    def info(self):
        """`SourceInfo`; see `sources.describe`."""
        found = self._read()
        out = self._held_out()
        sizes = np.bincount(self.labels[~out] + 1, minlength=len(self.class_names) + 1)[1:]
        without = int((self.labels < 0).sum())
        notes = []
        if self.class_names and without:
            notes.append(f"{without:,} images have no label; they train, and are not measured on")
        share = share_of(self._data.eval_fraction, bool(self.class_names))
        return SourceInfo(
            name=self.name,
            num_train=int((~out).sum()),
            num_eval=int(out.sum()),
            num_classes=len(self.class_names),
            train_split="all but the held-out share" if out.any() else "all images",
            eval_split=f"{share:g} of the images" if out.any() else "none",
            prepared=True,
            fingerprint=fingerprint_of(*self._identities(~out), "", *self._identities(out)),
            channels=self.channels,
            classes=tuple(zip(map(names.as_text, self.class_names), sizes.tolist())),
            held_out=self._in_words(share, int(out.sum()), len(out)),
            left_out=tuple(found.seen.words()),
            notes=tuple(notes),
        )

    def _identities(self, chosen):
        """What tells images and labels apart, of the chosen ones."""
        pairs = zip(self._found.keys, self._found.labels, chosen)
        return [f"{key}\0{label}" for key, label, wanted in pairs if wanted]

    def _in_words(self, share, count, total):
        if count:
            of = "of each class" if self.class_names else "of the images"
            return f"{count:,} of {total:,} images to measure on ({share:g} {of})"
        if self.class_names:
            return "nothing (--eval_fraction=0)"
        return "nothing: without labels every image trains"

    def open(self, which):
        """A `Source`; see `sources.open_source`."""
        self._read()
        out = self._held_out()
        return self._source(np.flatnonzero(out == (which == "eval")))

    def whole(self):
        """A `Source` of every image, in the order of the places."""
        return self._source(np.arange(len(self._read().paths)))

    def _source(self, ids):
        from simclr_tf.data.source import FileSource

        chosen = np.zeros(len(self.labels), bool)
        chosen[ids] = True
        facts = Facts(
            name=self.name,
            num_examples=len(ids),
            class_names=tuple(names.as_text(one) for one in self.class_names),
            fingerprint=fingerprint_of(*self._identities(chosen)),
            channels=self.channels,
        )
        paths = [os.fsencode(self._found.paths[at]) for at in ids]
        return FileSource(facts, paths, self.labels[ids])


def class_names_in_order(labels):
    """The different labels, () if they are fewer than two: numbers by size, other words by letter.

    Args:
        labels: list of str, "" without.
    """
    found = set(labels) - {""}
    if len(found) < 2:
        return ()
    if all(one.isascii() and one.isdigit() for one in found):
        return tuple(sorted(found, key=lambda one: (int(one), one)))
    return tuple(sorted(found))


def _look(data):
    """_Found of all places of `data.image_dir`."""
    found = _Found()
    places = places_of(data.image_dir)
    several = len(places) > 1
    labelled = []  # of the folders: whether their own folders are classes
    for number, place in enumerate(places):
        before = f"{number}/" if several else ""
        if _is_list(place):
            _add_list(place, before, found)
        else:
            labelled.append(_add_folder(place, before, found, data))
    if labelled and not all(labelled):  # an image beside the class folders of any: no classes
        lists = [place for place in places if _is_list(place)]
        if not lists:
            found.labels = [""] * len(found.labels)
    if not found.paths:
        left_out = "; ".join(found.seen.words())
        raise DataError(
            f"{names.shown(data.image_dir)} names no images; give folders with images, or a text "
            f"file with the path of one image a line{f' (left out: {left_out})' if left_out else ''}."
        )
    return found


def _add_folder(place, before, found, data):
    """Adds the images below a folder; returns whether each lies in a folder of its class."""
    folder = listing.checked_folder(place)
    inside = listing.look_below(folder, data.follow_links, data.image_formats)
    tops = [path.split("/", 1)[0] if "/" in path else "" for path in inside.images]
    has_classes = bool(tops) and "" not in tops
    found.paths += [listing.join(folder, path) for path in inside.images]
    found.keys += [before + path for path in inside.images]
    found.labels += tops if has_classes else [""] * len(tops)
    found.seen.add(inside, place)
    return has_classes


def _add_list(place, before, found):
    """Adds the images that a text file names."""
    rows = _rows(place)
    folder = os.path.dirname(place) if not listing.is_remote(place) else place.rpartition("/")[0]
    for path, label in rows:
        whole = os.path.expanduser(path)
        if not listing.is_remote(whole) and not os.path.isabs(whole):
            whole = listing.join(folder, whole) if folder else whole
        if not listing.is_remote(whole) and not _is_regular(whole):
            found.seen.leave_out(listing.NO_FILE, path)
            continue
        found.paths.append(whole)
        found.keys.append(before + path)
        found.labels.append(label)


def _is_regular(path):
    """Whether there is a file that may be opened: a pipe or a device would never end."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # ValueError: a null character in the name
        return False


def _rows(place):
    """[(path, label or "")] of a list.

    A tab separates the label in any list, a comma only in .csv. A first line with the name of the
    column of paths, such as path or filename, is a header; without one the label is the second
    column.
    """
    text = _text_of(place)
    first = text.split("\n", 1)[0]
    if "\t" in first:
        separator = "\t"
    elif place.lower().endswith(".csv"):
        separator = ","
    else:
        lines = (line.strip("\r\n") for line in text.split("\n"))
        return [(line, "") for line in lines if line.strip() and not line.startswith("#")]
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting) if row]  # fmt: skip
    except csv.Error as error:
        raise DataError(
            f"image_dir={names.shown(place)} cannot be read as a table ({error}); give one path a "
            "line, and a label behind a comma if wanted."
        ) from None
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    path_at = next((header.index(name) for name in _PATH_COLUMNS if name in header), None)
    label_at = next((header.index(name) for name in _LABEL_COLUMNS if name in header), None)
    if path_at is None:
        path_at, label_at = 0, 1
    else:
        rows = rows[1:]
    cell = lambda row, at: row[at].strip() if at is not None and at < len(row) else ""  # noqa: E731
    return [(cell(row, path_at), cell(row, label_at)) for row in rows if cell(row, path_at)]


def _text_of(place):
    """The text of a list.

    Raises:
        DataError: it cannot be read, or is an image or another binary file.
    """
    try:
        if listing.is_remote(place):
            from simclr_tf.stack import tf

            with tf.io.gfile.GFile(place, "rb") as file:
                content = file.read()
        else:
            with listing.open_regular(place) as file:
                content = file.read()
    except OSError as error:
        raise DataError(
            f"image_dir={names.shown(place)} cannot be read ({error.strerror}); give a folder of "
            "images, or a text file of paths."
        ) from None
    kind = formats.name_of(content[: formats.MOST_HEAD])
    if kind or b"\0" in content[:4096]:
        raise DataError(
            f"image_dir={names.shown(place)} is {f'a {kind} image' if kind else 'no text'}; give "
            "the folder that holds the images, or a text file with the path of one image a line."
        )
    return content.decode("utf-8-sig", "surrogateescape")
