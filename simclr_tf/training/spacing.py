"""The time between two checkpoints: the setting `checkpoint_minutes`."""

import time


class Spacing:
    """Lets a checkpoint pass only if the one before is old enough.

    What is saved, and when, changes nothing in a training; a run that is killed repeats the steps
    since its last checkpoint.
    """

    def __init__(self, minutes, group=None):
        """Counts from now on.

        Args:
            minutes: least time between two checkpoints; 0 lets all pass.
            group: workers.WorkerGroup of several, whose chief's clock decides for all.
        """
        self._seconds = 60.0 * minutes
        self._group = group
        self._last = time.monotonic()

    def is_over(self):
        """Whether a checkpoint that is due now is to be saved; all workers must ask."""
        if not self._seconds:
            return True
        over = time.monotonic() - self._last >= self._seconds
        if self._group is not None and self._group.count > 1:
            over = bool(self._group.exchange(over)[0, 0])
        if over:
            self._last = time.monotonic()
        return over
