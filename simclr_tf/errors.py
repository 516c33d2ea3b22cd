"""Errors that a user can mend: one sentence each, and the exit code of the command line.

Standard library only. `simclr_tf.__main__` prints the sentence without a traceback; library users
catch `UserError` or one of its kinds. Every sentence says what was given, what is allowed and
what to do next.
"""

import re


class UserError(Exception):
    """Something the user gave cannot be used; `str(error)` is one sentence."""

    exit_code = 1


class SelftestError(UserError):
    """The machine does not compute what it should."""


class SettingsError(UserError, ValueError):
    """Wrong flags, or settings that contradict each other or the run folder."""

    exit_code = 2


class StackError(UserError, ImportError):
    """The installed TensorFlow and Keras do not fit together."""

    exit_code = 2


class DataError(UserError):
    """Images, a data set or a checkpoint cannot be read or used."""

    exit_code = 3


class DivergedError(UserError):
    """The loss or a gradient is not finite."""

    exit_code = 4


class PreemptedError(UserError):
    """The run was asked to stop and saved its state; the same command resumes it."""

    exit_code = 75


class InterruptedRunError(PreemptedError):
    """Ctrl-C stopped the run, which saved its state; the same command resumes it."""

    exit_code = 130


class WorkerLostError(PreemptedError):
    """Another process of the run is gone; the same command goes on from the last checkpoint."""


_MOST = 200  # characters of a reason
_PYTHON_CLASS = re.compile(r"^[\w.]*(Error|Exception): ")
# lines of TensorFlow's errors that say where a graph was made, not what is wrong
_AROUND = re.compile(r"\s*$|Graph execution error:|Detected at node |  File |\t| *\d+ root error")


def first_line(error):
    """The reason inside any exception, for a sentence.

    Its first line without what TensorFlow puts around it (where the graph's node was defined, the
    names of node and operation, the class of a Python exception, a final stop), at most 200
    characters; the name of its class if it says nothing.
    """
    text = str(getattr(error, "message", None) or error).strip()
    lines = [line for line in text.splitlines() if not _AROUND.match(line)]
    line = lines[0] if lines else ""
    line = re.sub(r"^\{\{[^}]*\}\} ?", "", line).partition(" [Op:")[0].strip().rstrip(". ")
    line = _PYTHON_CLASS.sub("", line)
    return line[:_MOST] or type(error).__name__
