"""The best checkpoint of a run by one of its logged figures: the setting `keep_best`."""

import os

from simclr_tf.distribution.workers import WorkerGroup
from simclr_tf.runs.files import clear_half_written, read_json, write_json
from simclr_tf.stack import tf

_LOWER_IS_BETTER = {"loss"}


class BestKeeper:
    """Keeps one checkpoint in a folder of its own, beside best.json, which says how good it is.

    Candidates are the steps at which every such run saves a checkpoint, not those at which one is
    stopped; what counts is the newest figure that was logged since the candidate before. What
    best.json holds survives a resume: a resumed run comes to the same figures again, and only a
    better one replaces it.
    """

    def __init__(self, saver, directory, metric, group=None):
        """Finds the best one so far; writes nothing.

        Args:
            saver: checkpoint_state.Saver of `directory`, a folder, str.
            metric: name of a logged figure.
            group: workers.WorkerGroup of several, whose chief alone decides.
        """
        self.metric = metric
        self._path = os.path.join(directory, "best.json")
        self._sign = -1.0 if metric in _LOWER_IS_BETTER else 1.0
        self._saver = saver
        self._latest = None
        self._group = group or WorkerGroup(None)
        clear_half_written(directory)
        stored = read_json(self._path) if tf.io.gfile.exists(self._path) else {}
        self._best = stored.get("value") if stored.get("metric") == metric else None

    def observe(self, step, logs):
        """An observer of `loop.train`."""
        self._latest = logs.get(self.metric, self._latest)

    def save(self, step):
        """Saves the checkpoint of `step` too, if it is the best one so far.

        Raises:
            tf.errors.OpError, DataError: it cannot be written.
        """
        value = self._latest
        self._latest = None
        if not self._group.exchange(self._is_better(value))[0, 0]:
            return
        self._saver.save(step)
        if not self._group.is_chief:
            return
        write_json(self._path, {"metric": self.metric, "value": value, "step": step})
        self._best = value

    def _is_better(self, value):
        if value is None or self._best is None:
            return value is not None
        return self._sign * value > self._sign * self._best
