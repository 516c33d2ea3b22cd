"""Says what a long phase is doing, how far it is and how long it will take.

Phases shorter than two seconds stay silent. A terminal shows one line that is rewritten; anywhere
else a line is printed now and then.
"""

import contextlib
import sys
import time

_SILENT_SECONDS = 2.0
_BETWEEN_LINES = 10.0  # seconds, where lines cannot be rewritten
_BETWEEN_REWRITES = 0.2


class Phase:
    """One phase of a command, such as "features".

    Args:
        name: what is being done.
        total: how many pieces there are; None if that is not known.
        unit: what the pieces are.
        stream: where it is said; None is stderr.
    """

    def __init__(self, name, total=None, unit="images", stream=None):
        self.name = name
        self.total = total
        self.unit = unit
        self.stream = stream or sys.stderr
        self.done = 0
        self._started = self._said = time.monotonic()
        self._shown = False

    def advance(self, count=1):
        """Notes that `count` more pieces are done."""
        self.done += count
        now = time.monotonic()
        between = _BETWEEN_REWRITES if self.stream.isatty() else _BETWEEN_LINES
        if now - self._started < _SILENT_SECONDS or (self._shown and now - self._said < between):
            return
        self._said = now
        self._shown = True
        self._write(self.line(now - self._started))

    def line(self, seconds):
        """The state after so many seconds, in words."""
        if self.total is None:
            return f"{self.name}: {self.done:,} {self.unit}"
        left = (self.total - self.done) * seconds / max(1, self.done)
        share = f"{self.done:,}/{self.total:,} {self.unit}"
        return f"{self.name}: {share}, about {in_words(left)} left"

    def close(self):
        """Says how long the phase took, if it was long enough to be heard of."""
        seconds = time.monotonic() - self._started
        if seconds >= _SILENT_SECONDS:
            self._write(f"{self.name}: {self.done:,} {self.unit} in {in_words(seconds)}", last=True)

    def _write(self, text, last=False):
        if self.stream.isatty():
            self.stream.write("\r\x1b[K" + text + "\n" * last)
        else:
            self.stream.write(text + "\n")
        self.stream.flush()


@contextlib.contextmanager
def phase(name, total=None, unit="images"):
    """Around a phase: yields its Phase, whose `advance` counts."""
    one = Phase(name, total, unit)
    yield one
    one.close()


def counted(batches, name, total=None):
    """Yields batches with the column "label"; their rows are counted as a phase."""
    with phase(name, total) as one:
        for batch in batches:
            yield batch
            one.advance(int(batch["label"].shape[0]))


def in_words(seconds):
    """A duration in words: "12 s", "3 min 5 s", "2 h 10 min"."""
    seconds = int(round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
