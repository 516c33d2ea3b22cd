"""An orderly stop: of one process, or of several workers at the same step.

SIGTERM, SIGHUP (a closed terminal) and Ctrl-C let a training end after the step that is under way,
with its state saved. A second Ctrl-C ends the process at once.
"""

import os
import signal
import socket
import sys
import threading
import time

SECONDS_BETWEEN = 2.0  # about so long a stop may stay unnoticed
KEYBOARD = "Ctrl-C"
_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: KEYBOARD}
if hasattr(signal, "SIGHUP"):  # Windows has none
    _NAMES[signal.SIGHUP] = "SIGHUP"
_CODES = ["", *_NAMES.values()]  # what workers exchange: the position of the name
_PROMISE = "\nstopping: the state is saved after this step; press Ctrl-C again to end at once\n"
_EXIT_CODE = 130  # interrupted from the keyboard


class _Keyboard:
    """What is known of Ctrl-C in this process."""

    watched = False  # a thread looks at signals, see `watch_keyboard`
    pressed = False  # Ctrl-C came before a training could save its state
    saves = False  # a training is under way and will save


def watch_keyboard():
    """For a command line, at its very start: lets a second Ctrl-C end the process at once.

    Python looks at signals between two of its own instructions only, so a step or a compilation of
    minutes would hide them. A thread of its own reads what the operating system reports. A first
    Ctrl-C before the training raises KeyboardInterrupt as always, and is remembered in case that
    TensorFlow swallows it.
    """
    if _Keyboard.watched or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, as for a job in the background
    reports, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _interrupt)
    _Keyboard.watched = True
    threading.Thread(target=_read_reports, args=(reports, wakeup), daemon=True).start()


def _interrupt(signum, frame):
    _Keyboard.pressed = True
    raise KeyboardInterrupt


def _read_reports(reports, wakeup):
    """Ends the process at the second Ctrl-C; `wakeup` is held here so that it stays open."""
    presses = 0
    while True:
        for number in reports.recv(64):
            if number != signal.SIGINT:
                continue
            presses += 1
            if presses > 1:
                os.write(2, b"\nsimclr_tf: interrupted a second time, ended at once.\n")
                os._exit(_EXIT_CODE)
            if _Keyboard.saves:
                os.write(2, _PROMISE.encode())


class StopRequest:
    """Why a run should stop between two steps: a signal came, or its time is over."""

    def __init__(self, max_minutes=0.0):
        """
        Args:
            max_minutes: from now on; 0 is no limit.
        """
        self.max_minutes = max_minutes
        self._deadline = time.monotonic() + 60.0 * max_minutes if max_minutes else float("inf")
        self._signal = ""
        self._old = {}

    def __enter__(self):
        if _Keyboard.pressed:  # and swallowed on the way
            _Keyboard.pressed = False
            raise KeyboardInterrupt
        if threading.current_thread() is threading.main_thread():
            for number in _NAMES:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants to go on
                    self._old[number] = signal.signal(number, self._note)
        _Keyboard.saves = bool(self._old)
        return self

    def _note(self, signum, frame):
        if signum == signal.SIGINT:
            if self._signal == KEYBOARD:
                raise KeyboardInterrupt
            if not _Keyboard.watched:
                sys.stderr.write(_PROMISE)
        self._signal = _NAMES[signum]

    def __exit__(self, *error):
        _Keyboard.saves = False
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old = {}

    def reason(self, step):
        """What asks for a stop after `step`, in words; "" if nothing does."""
        if self._signal:
            return self._signal
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
        """
        Args:
            max_minutes: see StopRequest.
            group: workers.WorkerGroup.
        """
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
        code = _CODES.index(own) if own in _CODES else 0
        found = self._group.exchange(code, bool(own), per_step)
        slowest = found[:, 2].max()
        self._next = step + (max(1, int(SECONDS_BETWEEN / slowest)) if slowest else 1)
        self._last = step, time.monotonic()
        asking = [worker for worker in range(len(found)) if found[worker, 1]]
        if not asking:
            return ""
        name = _CODES[int(found[asking[0], 0])]
        what = name or f"--max_wall_minutes={self.max_minutes:g}"
        return f"{what} of worker {asking[0]}"
