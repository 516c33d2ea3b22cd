"""metrics.jsonl: one JSON object per logged step."""

import json
import logging

from simclr_tf.errors import DataError
from simclr_tf.files import CHOOSE_ANOTHER, write_atomically
from simclr_tf.runs.files import without_non_finite
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)


class MetricsLog:
    """metrics.jsonl: one JSON object per logged step, in step order.

    Lines after `step` are dropped when the log is opened: a killed run may have logged steps that
    its last checkpoint does not know, and the resumed run logs them again. A line that cannot be
    read is dropped too, and named in a warning.
    """

    def __init__(self, path, step):
        self.path = path
        if tf.io.gfile.exists(path):
            lines = metrics_lines(path, step, say=_LOG.warning)
            write_atomically(path, "".join(line + "\n" for line in lines))

    def append(self, record):
        """Adds one line; `record` has the key "step". NaN and infinity become null."""
        line = json.dumps(without_non_finite(record), allow_nan=False)
        try:
            with tf.io.gfile.GFile(self.path, "a") as file:
                file.write(line + "\n")
        except tf.errors.OpError as error:
            raise DataError(
                f"cannot write {self.path} ({error.message}); {CHOOSE_ANOTHER}"
            ) from error


def metrics_lines(path, step=float("inf"), say=None):
    """The whole lines of a metrics.jsonl up to a step.

    Args:
        path: of the file.
        step: lines of later steps are left out.
        say: function of a text, such as the method of a logger, which is called for lines that cannot be
            read; the last line may be one that a kill cut short, which is no damage.
    Returns:
        list of str; [] without the file.
    """
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path, "rb") as file:
        content = file.read().decode("utf-8", "replace")
    lines = content.splitlines()
    steps = [_step(line) for line in lines]
    whole = len(lines) if content.endswith("\n") else len(lines) - 1
    damaged = [number for number in range(whole) if steps[number] is None]
    if damaged and say is not None:
        numbers = ", ".join(str(number + 1) for number in damaged[:5])
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        say(
            f"{path} is damaged: line {numbers}{more} cannot be read and is left out; the "
            "checkpoints are not affected"
        )
    return [line for line, at in zip(lines, steps) if at is not None and at <= step]


def _step(line):
    """The step of a line, None if the line is not whole."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if isinstance(step, (int, float)) else None
