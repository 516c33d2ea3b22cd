"""What a run leaves behind while it trains: metrics.jsonl, figures for its loggers, bad images."""

import contextlib
import json
import logging
import math

from simclr_tf import names
from simclr_tf.data.quarantine import lost_classes
from simclr_tf.runs.metrics_log import MetricsLog, metrics_lines
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)


def recorder(folder, start, curve, progress=None, loggers=None):
    """Makes an observer for `loop.train`.

    No times go into metrics.jsonl, so that a resumed run repeats it: they go into pace.jsonl.

    Args:
        folder: RunFolder.
        start: step that the run starts from.
        curve: learning-rate schedule.
        progress: progress.Progress that knows the share of time spent waiting for images, or None.
        loggers: loggers.Loggers that get the figures too, or None.
    Returns:
        callable (step, {name: float}).
    """
    log = MetricsLog(folder.join("metrics.jsonl"), start)
    pace_log = MetricsLog(folder.join("pace.jsonl"), start)
    warned = set()

    def record(step, logs):
        logs = {**logs, "learning_rate": float(curve(step))}
        for name in sorted(logs.keys() - warned):
            if not math.isfinite(logs[name]):
                warned.add(name)
                _LOG.warning(
                    "at step %d: %s is %s; metrics.jsonl says null", step, name, logs[name]
                )
        log.append({"step": step, **logs})
        waiting = None if progress is None else progress.waiting
        if waiting is not None:
            logs["input_share"] = waiting
            pace_log.append({"step": step, "input_share": waiting})
        if loggers is not None:
            loggers.scalars(step, logs)

    return record


def last_line(folder):
    """{name: float} of the last line of a run's metrics.jsonl, {} if it has none."""
    lines = metrics_lines(folder.join("metrics.jsonl"))
    logs = json.loads(lines[-1]) if lines else {}
    return {name: value for name, value in logs.items() if name not in ("step", "learning_rate")}


def repeat_lines(folder, after, observe):
    """Shows an observer of `loop.train` what was logged after a step already."""
    for line in metrics_lines(folder.join("metrics.jsonl")):
        logs = json.loads(line)
        if logs["step"] > after:
            observe(logs["step"], logs)


@contextlib.contextmanager
def bad_images_reported(quarantine, *sources):
    """Around all work on images: bad ones end it in the user's words, or are summed up after it.

    Args:
        quarantine: of the Sources; its list is complete afterwards, whatever happened.
        *sources: the Sources that the work reads to their ends; a class of theirs without any
            usable image is named.
    Raises:
        DataError: the input pipeline failed because of an image.
    """
    try:
        yield
    except tf.errors.OpError:
        quarantine.check()
        raise
    finally:
        quarantine.save()
    if len(quarantine):
        _LOG.warning("%s", quarantine.summary())
    for name, example, reason in (lost for source in sources for lost in lost_classes(source)):
        _LOG.warning(
            "no image of the class %s can be used, such as %s (%s), so figures of this class mean "
            "nothing; mend its images, or remove the class",
            names.shown(name),
            example,
            reason,
        )
