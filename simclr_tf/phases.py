"""Says what a long phase is doing, how far it is and how long it will take.

Phases shorter than two seconds stay silent. A terminal shows one line that is rewritten, a notebook a
bar; anywhere else a line is printed now and then. `quiet` silences them all.
"""

import contextlib
import io
import shutil
import sys
import threading
import time

_SILENT_SECONDS = 2.0
_SINGULAR = {"classes": "class", "penalties": "penalty"}  # of the units that lose more than an s
_BETWEEN_LINES = 10.0  # seconds, where lines cannot be rewritten
_BETWEEN_REWRITES = 0.2


_quiet = [False]


@contextlib.contextmanager
def quiet():
    """While it lasts, nothing is said about how far anything is."""
    _quiet[0] = True
    try:
        yield
    finally:
        _quiet[0] = False


def said_to():
    """The stream that progress is said to: stderr, or nowhere while it is `quiet`."""
    return io.StringIO() if _quiet[0] else sys.stderr


def in_notebook(stream):
    """Whether a stream, such as sys.stderr, is that of a notebook's kernel."""
    return type(stream).__module__.startswith("ipykernel")


def rewrite(stream, text, last=False):
    """Puts a text in the place of the last line of a terminal, cut to its width."""
    width = shutil.get_terminal_size((0, 0)).columns
    if width > 1 and len(text) >= width:
        text = text[: width - 2] + "…"
    stream.write("\r\x1b[K" + text + "\n" * last)
    stream.flush()


class Phase:
    """One phase of a command, such as "features".

    Args:
        name: what is being done.
        total: how many pieces there are; None if that is not known.
        unit: what the pieces are; "" for a phase whose pieces are not counted.
        stream: where it is said; None is `said_to()`.
        start: pieces that were done before, by an earlier call.
    """

    def __init__(self, name, total=None, unit="images", stream=None, start=0):
        self.name = name
        self.total = total
        self.unit = unit
        self.stream = stream or said_to()
        self.start = start
        self.done = start
        self._started = self._said = time.monotonic()
        self._shown = False
        self._bar = None
        self._lock = threading.Lock()  # the timer of `phase` speaks from its own thread

    def advance(self, count=1):
        """Notes that `count` more pieces are done."""
        self.reach(self.done + count)

    def reach(self, done):
        """Notes how many pieces are done in all."""
        self.done = done
        now = time.monotonic()
        between = _BETWEEN_REWRITES if self.stream.isatty() else _BETWEEN_LINES
        if now - self._started < _SILENT_SECONDS or (self._shown and now - self._said < between):
            return
        self._said = now
        self._shown = True
        self._write(self.line(now - self._started))

    def line(self, seconds):
        """The state after so many seconds, in words."""
        if not self.unit or self.done == self.start:
            return f"{self.name} ..."
        if self.total is None:
            return f"{self.name}: {self._counted(self.done)}"
        left = (self.total - self.done) * seconds / (self.done - self.start)
        share = f"{self.done:,}/{self.total:,} {self.unit}"
        return f"{self.name}: {share}, about {in_words(left)} left"

    def _counted(self, count):
        return f"{count:,} {_SINGULAR.get(self.unit, self.unit[:-1]) if count == 1 else self.unit}"

    def close(self):
        """Says how long the phase took, if it was long enough to be heard of."""
        seconds = time.monotonic() - self._started
        if seconds >= _SILENT_SECONDS:
            count = f": {self._counted(self.done - self.start)}" if self.unit else ""
            self._write(f"{self.name}{count} in {in_words(seconds)}", last=True)
        if self._bar is not None:
            self._bar.close()

    def begin(self):
        """Says what is done, if nothing was said yet."""
        if not self._shown:
            self._shown = True
            self._write(self.line(time.monotonic() - self._started))

    def _write(self, text, last=False):
        with self._lock:
            if in_notebook(self.stream) and self.unit:
                self._show_bar()
            elif self.stream.isatty():
                rewrite(self.stream, text, last)
            else:
                self.stream.write(text + "\n")
                self.stream.flush()

    def _show_bar(self):
        if self._bar is None:
            from tqdm.auto import tqdm  # a widget where there are widgets, else text

            self._bar = tqdm(desc=self.name, total=self.total, initial=self.start, unit=self.unit)
        self._bar.update(self.done - self._bar.n)


@contextlib.contextmanager
def phase(name, total=None, unit="images", start=0):
    """Around a phase: yields its Phase, whose `advance` counts; arguments as of Phase.

    After two seconds it is named, also if nothing was counted yet.
    """
    one = Phase(name, total, unit, start=start)
    timer = threading.Timer(_SILENT_SECONDS, one.begin)
    timer.daemon = True
    timer.start()
    try:
        yield one
    finally:
        timer.cancel()
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
