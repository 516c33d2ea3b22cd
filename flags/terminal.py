"""What a person at the terminal sees beside plans and results: warnings, notes, no chatter.

The rooms write warnings and notes with `logging` below the logger "simclr_tf", so that a library
user can silence them. Only the command line shows them on stderr.
"""

import contextlib
import importlib
import logging
import os
import sys
import tempfile

from simclr_tf import phases

LOGGER = logging.getLogger("simclr_tf")


class _StderrHandler(logging.Handler):
    """Writes `warning: TEXT` and `note: TEXT`; on a terminal it first clears the progress line."""

    def emit(self, record):
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{clear}{kind}: {record.getMessage()}\n")
        sys.stderr.flush()


def _worth_reading(record):
    """A logging filter: TensorFlow's advice about its own functions is not for users of ours."""
    return "triggered tf.function retracing" not in record.getMessage()


@contextlib.contextmanager
def notices_on_stderr():
    """While it lasts, warnings and notes of `simclr_tf` are shown on stderr, each once.

    absl, which tensorflow-datasets uses, gives the root logger a handler with its first message.
    If there is none yet, that one is not to show ours as well.
    """
    handler = _StderrHandler()
    level = LOGGER.level
    propagates = LOGGER.propagate
    LOGGER.propagate = propagates and bool(logging.root.handlers)
    tensorflow = logging.getLogger("tensorflow")
    tensorflow.addFilter(_worth_reading)
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        tensorflow.removeFilter(_worth_reading)
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagates


@contextlib.contextmanager
def quiet():
    """While it lasts, plans, results and progress are not shown; warnings and errors are."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), phases.quiet():
        yield


def import_quietly(module):
    """Imports a module without what its C++ libraries print while they are loaded.

    TensorFlow registers its GPU plug-ins and says so on stderr, partly before any log level is
    read. An import that fails shows everything that was held back.

    Args:
        module: dotted name.
    Returns:
        the module.
    """
    if module in sys.modules or "tensorflow" in sys.modules:
        return importlib.import_module(module)
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held_back:
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        done = False
        try:
            found = importlib.import_module(module)
            done = True
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            if not done:
                held_back.seek(0)
                os.write(2, held_back.read())
    return found


def close_broken_stdout():
    """After a reader such as `head` went away: nothing more is written, and nothing complains."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
