"""metrics.jsonl: one JSON object per logged step."""

import json

from simclr_tf.errors import DataError
from simclr_tf.runs.files import CHOOSE_ANOTHER, write_atomically
from simclr_tf.stack import tf


class MetricsLog:
    """metrics.jsonl: one JSON object per logged step, in step order.

    Lines after `step` are dropped when the log is opened: a killed run may have logged steps that
    its last checkpoint does not know, and the resumed run logs them again.
    """

    def __init__(self, path, step):
        self.path = path
        if tf.io.gfile.exists(path):
            lines = metrics_lines(path, step)
            write_atomically(path, "".join(line + "\n" for line in lines))

    def append(self, record):
        """Adds one line; `record` has the key "step"."""
        try:
            with tf.io.gfile.GFile(self.path, "a") as file:
                file.write(json.dumps(record) + "\n")
        except tf.errors.OpError as error:
            raise DataError(
                f"cannot write {self.path} ({error.message}); {CHOOSE_ANOTHER}"
            ) from error


def metrics_lines(path, step=float("inf")):
    """The whole lines of a metrics.jsonl up to a step, list of str; [] without the file."""
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as file:
        return [line for line in file.read().splitlines() if _step(line, step)]


def _step(line, limit):
    """Whether a line is whole and belongs to a step up to `limit`."""
    try:
        return json.loads(line)["step"] <= limit
    except (ValueError, KeyError, TypeError):
        return False  # the line that a kill cut short
