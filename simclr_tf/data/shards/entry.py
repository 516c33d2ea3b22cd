"""What is known of one shard, and how its format is told to index and to read it."""

import dataclasses

import numpy as np

MOST_LABEL = 99_999  # a classifier has one row of weights for each class
MOST_TEXT = 256  # characters of a class name
UNLABELLED = -1


@dataclasses.dataclass(frozen=True)
class Keys:
    """Where image and label stand in a record; "" takes the usual name of the format.

    Attributes:
        image: key of a tf.train.Example, column of a Parquet file, or suffix in a tar file.
        label: the same of the label; in a tar file a key of the `.json` beside the image.
    """

    image: str = ""
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Shard:
    """One shard and its records.

    Attributes:
        path: str; size: bytes; mtime: nanoseconds.
        kind: "tfrecord", "parquet" or "tar".
        offsets: int64 [n], where each record begins: in bytes, of Parquet in rows.
        lengths: int64 [n], bytes of each record, of Parquet about.
        labels: int64 [n]; UNLABELLED for none. Where there are `texts`, positions in them.
        texts: names of classes, () where labels are numbers.
        class_names: names of all classes as the file says them, () where it does not.
        groups: int64 [g], first row of every row group of Parquet; empty for others.
        column: of Parquet, the column that holds the images; "" for others.
    """

    path: str
    size: int
    mtime: int
    kind: str
    offsets: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    texts: tuple = ()
    class_names: tuple = ()
    groups: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    column: str = ""

    @property
    def records(self):
        """How many there are."""
        return len(self.offsets)


class Labels:
    """Collects the labels of the records of a shard: numbers, or names of classes."""

    def __init__(self):
        self._values = []

    def add(self, value):
        """value: int, str, bytes, or None for no label; anything else counts as none."""
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            value = value.strip()[:MOST_TEXT]
        if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
            value = None
        self._values.append(value)

    def found(self):
        """(int64 [n], tuple of texts): numbers where all are numbers, else positions in texts."""
        values = self._values
        if all(value is None or isinstance(value, int) for value in values):
            limit = 2**62
            numbers = [
                UNLABELLED if value is None else max(-limit, min(value, limit)) for value in values
            ]
            return np.asarray(numbers, np.int64), ()
        texts = sorted({str(value) for value in values if value is not None})
        places = {text: place for place, text in enumerate(texts)}
        numbers = [UNLABELLED if value is None else places[str(value)] for value in values]
        return np.asarray(numbers, np.int64), tuple(texts)


def int64(values):
    """int64 [n] of a list, also of an empty one."""
    return np.asarray(values, np.int64)
