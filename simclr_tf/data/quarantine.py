"""Images that could not be used: counted, named, and listed in the run folder."""

import threading

import numpy as np

from simclr_tf import names
from simclr_tf.errors import DataError
from simclr_tf.files import write_atomically
from simclr_tf.stack import tf

_WRITE_EACH = 64  # up to here every image is listed at once, then every 64th time and by save()


def lost_classes(source):
    """Classes none of whose images can be used.

    Args:
        source: Source of a folder, read to its end.
    Returns:
        list of (class, name of one image, why it cannot be used), sorted.
    """
    reasons = source.quarantine.reasons
    labels = source.labels
    if labels is None or labels.ndim != 1 or not source.class_names or not reasons:
        return []
    counts = np.bincount(labels[labels >= 0], minlength=len(source.class_names))
    possible = np.flatnonzero((counts > 0) & (counts <= len(reasons)))
    found = []
    for number in possible:
        named = [source.name_of(one) for one in np.flatnonzero(labels == number)]
        if all(name in reasons for name in named):
            found.append((source.class_names[number], named[0], reasons[named[0]]))
    return found


class Quarantine:
    """The bad images of one source.

    Args:
        strict: True stops at the first one.

    Attributes:
        reasons: {name of the image: why it cannot be used}, in the order they were met.
    """

    def __init__(self, strict=False):
        self.reasons = {}
        self._strict = strict
        self._path = ""
        self._error = None
        self._lock = threading.Lock()

    def __len__(self):
        return len(self.reasons)

    def attach(self, path):
        """Lists the images in a text file: one line each, name, tab, reason; see `names.shown`.

        What an earlier part of the run found there stays and is counted.
        """
        if tf.io.gfile.exists(path):
            with tf.io.gfile.GFile(path) as file:
                lines = [line.rstrip("\n").partition("\t") for line in file]
            self.reasons = {**{name: reason for name, _, reason in lines}, **self.reasons}
        self._path = path
        self.save()

    def add(self, name, reason):
        """Notes an image; called while batches are made.

        Raises:
            DataError: strict; the same error is what `check` raises.
        """
        name = names.shown(name)
        reason = names.shown(reason)
        with self._lock:
            if self._strict:
                self._error = DataError(
                    f"{name} cannot be used ({reason}); mend or remove it, or leave out "
                    "--strict_data to put another image in its place."
                )
                raise self._error
            if name in self.reasons:
                return
            self.reasons[name] = reason
            if len(self.reasons) <= _WRITE_EACH or len(self.reasons) % _WRITE_EACH == 0:
                self.save()

    def fail(self, message):
        """Notes why no batch can be made, and raises that as DataError."""
        self._error = DataError(message)
        raise self._error

    def check(self):
        """Raises what stopped the input pipeline, if it was an image.

        TensorFlow wraps an error of the input pipeline in one of its own; call this where that
        is caught, so that the user sees one sentence.
        """
        if self._error is not None:
            raise self._error

    def save(self):
        """Writes the list, if there is anything to write and a place for it.

        Raises:
            DataError: it cannot be written.
        """
        if not self._path or not self.reasons:
            return
        lines = [f"{name}\t{reason}\n" for name, reason in self.reasons.items()]
        write_atomically(self._path, "".join(lines))

    def summary(self):
        """One line for the end of a run, "" if every image could be used."""
        if not self.reasons:
            return ""
        images = "1 image" if len(self.reasons) == 1 else f"{len(self.reasons)} images"
        where = f" (listed in {self._path})" if self._path else ""
        return f"{images} could not be used and gave way to others{where}"
