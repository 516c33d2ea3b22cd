"""What a classifier said of every evaluation image: predictions.csv beside confusion.csv."""

import csv
import dataclasses

import numpy as np

from simclr_tf import names
from simclr_tf.errors import DataError
from simclr_tf.evaluation.results import csv_text
from simclr_tf.files import check_regular
from simclr_tf.stack import tf

NAME = "predictions.csv"
_HEADER = ["id", "image", "label", "predicted"]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Rows of evaluation images, by id.

    Attributes:
        ids, labels, predicted: int64 [n].
    """

    ids: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray

    @property
    def hits(self):
        """bool [n]."""
        return self.labels == self.predicted


def predictions_csv(scores, labels, ids, name_of):
    """The table as text; class numbers are those of the columns of `scores`.

    Args:
        scores: float [n, c].
        labels: int [n].
        ids: int [n], of the images in their source.
        name_of: function id -> name of the image.
    """
    predicted = np.argmax(scores, axis=1)
    rows = [
        [int(one), names.cell(name_of(int(one))), int(label), int(guess)]
        for one, label, guess in zip(ids, labels, predicted)
    ]
    return csv_text(_HEADER, rows)


def read_predictions(path):
    """The Predictions of a file, None if there is none, as of an evaluation of an earlier version.

    Raises:
        DataError: it is damaged.
    """
    if not tf.io.gfile.exists(path):
        return None
    check_regular(path)
    try:
        with tf.io.gfile.GFile(path) as file:
            rows = list(csv.DictReader(file.read().splitlines()))
        columns = [np.array([int(row[name]) for row in rows], np.int64) for name in ("id", "label", "predicted")]  # fmt: skip
    except (tf.errors.OpError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"cannot read {path} ({error}); run the evaluation again.") from error
    order = np.argsort(columns[0], kind="stable")
    return Predictions(*(column[order] for column in columns))
