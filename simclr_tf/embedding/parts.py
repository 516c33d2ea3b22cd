"""Finished ranges of embeddings on disk: what an interrupted run keeps."""

import io
import json
import os
import zipfile
import zlib

import numpy as np

from simclr_tf.errors import DataError, SettingsError, first_line
from simclr_tf.files import write_atomically
from simclr_tf.runs.files import read_json
from simclr_tf.stack import tf

# what TensorFlow, NumPy and zipfile raise for a file with changed or missing bytes
_DAMAGED = (
    *(tf.errors.OpError, zipfile.BadZipFile, zlib.error, OSError, EOFError),
    *(ValueError, KeyError, RuntimeError),
)


class Parts:
    """A folder of numbered .npz files, each written whole or not at all.

    A part holds the usable images from where the part before it ended to before `next`.

    Attributes:
        next: id of the first image that no part covers yet.
    """

    def __init__(self, folder, identity, state=None):
        """Opens or makes the folder.

        Args:
            folder: path, on any file system of tf.io.gfile.
            identity: {what decides the content: text}, such as the hash of the weights.
            state: {what may change between two calls: text}, such as the stamp of the images; parts
                of another one are removed.
        Raises:
            SettingsError: the folder holds parts of something else.
            DataError: it cannot be written.
        """
        self.folder = folder
        plan = os.path.join(folder, "identity.json")
        if tf.io.gfile.exists(plan):
            stored = read_json(plan)
            changed = [name for name in identity if stored.get(name) != identity[name]]
            if changed:
                raise SettingsError(
                    f"{folder} holds embeddings with other {' and '.join(changed)}; give another "
                    "--output, or remove that folder."
                )
            outdated = [name for name in state or {} if stored.get(name) != state[name]]
            if outdated and stored.keys() >= set(outdated):
                print(f"the {' and '.join(outdated)} changed: starting anew", flush=True)
                tf.io.gfile.rmtree(folder)
        if not tf.io.gfile.exists(plan):
            tf.io.gfile.makedirs(folder)
            write_atomically(plan, json.dumps({**identity, **(state or {})}))
        self.count = 0
        while tf.io.gfile.exists(self._path(self.count)):
            self.count += 1
        self.next = int(self.read(self.count - 1)["next"]) if self.count else 0

    def add(self, next_id, columns):
        """Writes the next part: {name: array}; it covers the images up to before `next_id`."""
        content = io.BytesIO()
        np.savez(content, next=np.int64(next_id), **columns)
        write_atomically(self._path(self.count), content.getvalue())
        self.count = self.count + 1
        self.next = next_id

    def read(self, number):
        """The columns of part `number`, a dict of arrays.

        Raises:
            DataError: the file is damaged.
        """
        path = self._path(number)
        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                with np.load(file, allow_pickle=False) as columns:
                    return dict(columns)
        except _DAMAGED as error:
            raise DataError(
                f"{path} is damaged ({first_line(error)}); remove the folder {self.folder} to embed these "
                "images again."
            ) from error

    def __iter__(self):
        """Yields (id of the first image it covers, columns) of every part, in order."""
        start = 0
        for number in range(self.count):
            columns = self.read(number)
            yield start, columns
            start = int(columns["next"])

    def remove(self):
        """Removes the folder."""
        tf.io.gfile.rmtree(self.folder)

    def _path(self, number):
        return os.path.join(self.folder, f"{number:06d}.npz")
