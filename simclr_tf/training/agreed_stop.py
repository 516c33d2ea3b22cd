"""Stopping several workers at the same step, without a sync at every step."""

import time

from simclr_tf.training.loop import StopRequest

SECONDS_BETWEEN = 2.0  # about so long a stop may stay unnoticed


def stop_request(max_minutes, crew):
    """The StopRequest of a worker of a Crew, or of one process alone; arguments as below."""
    return AgreedStop(max_minutes, crew) if crew.count > 1 else StopRequest(max_minutes)


class AgreedStop(StopRequest):
    """A StopRequest that holds for all workers as soon as one of them has it.

    The workers exchange their requests after the first step and then every few steps, about every
    SECONDS_BETWEEN; the number of steps between follows from the slowest worker's time per step,
    which is exchanged too, so all look at the same steps.
    """

    def __init__(self, max_minutes, crew):
        """Args: max_minutes: see StopRequest; crew: workers.Crew."""
        super().__init__(max_minutes)
        self._crew, self._next = crew, 0
        self._last = None  # (step, time) of the last look

    def reason(self, step):
        """What asks for a stop at `step`, in words; "" if nothing does or nobody looks now."""
        if step < self._next:
            return ""
        own, now = super().reason(step), time.monotonic()
        per_step = 0.0
        if self._last is not None:
            per_step = (now - self._last[1]) / (step - self._last[0])
        found = self._crew.exchange(own == "SIGTERM", bool(own), per_step)
        slowest = found[:, 2].max()
        self._next = step + (max(1, int(SECONDS_BETWEEN / slowest)) if slowest else 1)
        self._last = step, time.monotonic()
        asking = [worker for worker in range(len(found)) if found[worker, 1]]
        if not asking:
            return ""
        what = "SIGTERM" if found[asking[0], 0] else f"--max_wall_minutes={self.max_minutes:g}"
        return f"{what} of worker {asking[0]}"
