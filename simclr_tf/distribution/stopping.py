"""An orderly stop: of one process, or of several workers at the same step."""

import signal
import threading
import time

SECONDS_BETWEEN = 2.0  # about so long a stop may stay unnoticed


class StopRequest:
    """Why a run should stop between two steps: SIGTERM, or its time is over."""

    def __init__(self, max_minutes=0.0):
        """Args: max_minutes: from now on; 0 is no limit."""
        self.max_minutes = max_minutes
        self._deadline = time.monotonic() + 60.0 * max_minutes if max_minutes else float("inf")
        self._terminated = False

    def __enter__(self):
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._old = signal.signal(signal.SIGTERM, self._terminate)
        return self

    def _terminate(self, signum, frame):
        self._terminated = True

    def __exit__(self, *error):
        if self._main:
            signal.signal(signal.SIGTERM, self._old)

    def reason(self, step):
        """What asks for a stop after `step`, in words; "" if nothing does."""
        if self._terminated:
            return "SIGTERM"
        over = time.monotonic() >= self._deadline
        return f"--max_wall_minutes={self.max_minutes:g}" if over else ""


def stop_request(max_minutes, group):
    """The StopRequest of a worker of a WorkerGroup, or of one process alone; arguments as below."""
    return AgreedStop(max_minutes, group) if group.count > 1 else StopRequest(max_minutes)


class AgreedStop(StopRequest):
    """A StopRequest that holds for all workers as soon as one of them has it.

    The workers exchange their requests after the first step and then every few steps, about every
    SECONDS_BETWEEN; the number of steps between follows from the slowest worker's time per step,
    which is exchanged too, so all look at the same steps.
    """

    def __init__(self, max_minutes, group):
        """Args: max_minutes: see StopRequest; group: workers.WorkerGroup."""
        super().__init__(max_minutes)
        self._group = group
        self._next = 0
        self._last = None  # (step, time) of the last look

    def reason(self, step):
        """What asks for a stop at `step`, in words; "" if nothing does or nobody looks now."""
        if step < self._next:
            return ""
        own = super().reason(step)
        now = time.monotonic()
        per_step = 0.0
        if self._last is not None:
            per_step = (now - self._last[1]) / (step - self._last[0])
        found = self._group.exchange(own == "SIGTERM", bool(own), per_step)
        slowest = found[:, 2].max()
        self._next = step + (max(1, int(SECONDS_BETWEEN / slowest)) if slowest else 1)
        self._last = step, time.monotonic()
        asking = [worker for worker in range(len(found)) if found[worker, 1]]
        if not asking:
            return ""
        what = "SIGTERM" if found[asking[0], 0] else f"--max_wall_minutes={self.max_minutes:g}"
        return f"{what} of worker {asking[0]}"
