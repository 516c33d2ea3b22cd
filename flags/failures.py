"""From an exception that ended a command to one sentence and an exit code.

Exceptions are told apart by the kind of trouble: the user's paths, the network, memory, damaged
files, an interruption. What is left is a mistake of this program: it has no sentence and keeps its
traceback.
"""

import errno
import glob
import os
import platform
import re
import socket
import sys
from importlib import metadata

from simclr_tf import config as settings_of
from simclr_tf.errors import DataError, SettingsError, UserError, first_line
from simclr_tf.version import __version__

INTERRUPTED = 130
PIPE_CLOSED = 141  # as a shell reports a process that SIGPIPE ended

# the file system refuses, whosever path it is
_REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
}
_FULL = ("No space left on device", "Disk quota exceeded")
_PATH_WORDS = (
    *_FULL,
    "Permission denied",
    "Read-only file system",
    "No such file or directory",
    "Not a directory",
    "Is a directory",
    "File name too long",
    "Input/output error",
    "Stale file handle",
)
_DAMAGED_RECORD = re.compile(r"(corrupted|truncated) record at \d+")


def explain(error, config=None):
    """(sentence, exit code) of an exception, or None for a mistake of this program.

    Args:
        error: exception that ended a command.
        config: config of the mode, if the command line could be read.
    """
    if isinstance(error, UserError):
        return str(error), error.exit_code
    if isinstance(error, BrokenPipeError):
        return "", PIPE_CLOSED
    if isinstance(error, KeyboardInterrupt):
        return _interrupted(config), INTERRUPTED
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if package != "simclr_tf":
            return _missing_package(package), SettingsError.exit_code
    if isinstance(error, MemoryError):
        return _out_of_memory("main memory", config), SettingsError.exit_code
    if isinstance(error, OSError):
        sentence = _operating_system(error, config)
    elif isinstance(error, UnicodeEncodeError):
        sentence = _undecodable_name(error)
    elif type(error).__module__.startswith("tensorflow."):
        if _is_out_of_memory(error):
            sentence = _out_of_memory("the memory of the device", config)
            return sentence, SettingsError.exit_code
        sentence = _tensorflow(error, config)
    else:
        sentence = None
    return None if sentence is None else (sentence, DataError.exit_code)


def report_request():
    """The line below a traceback: what to send, and to whom."""
    versions = [f"Python {platform.python_version()}", platform.platform()]
    for package in ("tensorflow", "tf-keras", "numpy"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    return (
        "this is a mistake in simclr_tf; please report it with the command, the text above and "
        f"these versions: simclr_tf {__version__}, {', '.join(versions)}."
    )


def _missing_package(name):
    return (
        f"the Python package {name} is not installed here; install what simclr_tf needs, such as "
        "python -m pip install -r requirements.txt."
    )


def _interrupted(config):
    place = getattr(getattr(config, "run", None), "model_dir", "")
    trains = hasattr(config, "training")
    if not trains:
        return "interrupted; run the same command again."
    if place and _has_checkpoint(os.path.join(place, "checkpoints")):
        return "interrupted; the same command continues from the last checkpoint."
    return "interrupted before a checkpoint was saved; the same command starts from the beginning."


def _has_checkpoint(folder):
    try:
        if "://" in folder:
            return bool(sys.modules["tensorflow"].io.gfile.glob(f"{folder}/ckpt-*.index"))
    except Exception:  # a file system that does not answer: nothing to promise
        return False
    return bool(glob.glob(os.path.join(glob.escape(folder), "ckpt-*.index")))


def _out_of_memory(where, config):
    names = settings_of.flatten(config) if config is not None else {}
    advice = [
        f"--{name}={names[name]}"
        for name in ("train_batch_size", "eval_batch_size", "image_size", "num_views")
        if name in names
    ]
    lower = f"lower one of {', '.join(advice)}" if advice else "use smaller batches"
    cached = ""
    if "cached_batch_size" in names and not names["cached_batch_size"]:
        cached = (
            f", or keep the batch with --cached_batch_size={names['train_batch_size']} and a "
            "smaller --train_batch_size"
        )
    return f"{where} is full; {lower}{cached}."


def _operating_system(error, config):
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
        return f"the network failed ({first_line(error)}); check it and run the same command again."
    names = [name for name in (error.filename, error.filename2) if name is not None]
    places = _paths(config, remote=False)
    ours = any(_is_below(os.fsdecode(name), place) for name in names for place in places)
    if error.errno not in _REFUSED and not ours:
        return None
    name = readable(os.fsdecode(names[0])) if names else "a file"
    return f"{name}: {error.strerror}; choose another place or mend it."


def _paths(config, remote):
    """The paths among the settings, those with a scheme such as gs:// or the local ones."""
    if config is None:
        return []
    fields = settings_of.fields_of(type(config))
    values = settings_of.flatten(config)
    paths = [values[name] for name, (_, field) in fields.items() if field.metadata["path"]]
    return [path for path in paths if path and ("://" in path) == remote]


def _is_below(path, place):
    path = os.path.abspath(path)
    place = os.path.abspath(place)
    return path == place or path.startswith(os.path.join(place, ""))


def _undecodable_name(error):
    if not any("\ud800" <= letter <= "\udfff" for letter in error.object):
        return None
    return f"the name {readable(error.object)} is not valid UTF-8; rename it, or give another path."


def readable(name):
    """A file name that any terminal can show: bytes that are no UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_out_of_memory(error):
    return type(error).__name__ == "ResourceExhaustedError" and not any(
        words in str(error) for words in _FULL
    )


def _tensorflow(error, config):
    """The sentence of an error of TensorFlow about files, damage or the network."""
    kind = type(error).__name__
    text = str(error)
    reason = first_line(error).rstrip(".")
    if kind == "DataLossError":
        damage = _DAMAGED_RECORD.search(text)
        return (
            f"a file is damaged ({damage[0] if damage else reason}); restore it, or prepare the "
            "data set again in an empty --data_dir."
        )
    if kind == "UnimplementedError" and "File system scheme" in text:
        return f"{reason}; give a local path or gs://."
    if "libcurl code" in text:
        places = ", ".join(_paths(config, remote=True)) or "a remote path"
        return f"{places} cannot be reached ({reason}); check the network and the name."
    remote = "://" in text
    if kind in ("UnavailableError", "DeadlineExceededError", "UnauthenticatedError"):
        return f"{reason}; check the network and the address, and run the same command again."
    if kind in ("NotFoundError", "PermissionDeniedError", "FailedPreconditionError") and remote:
        return f"{reason}; check that the path exists and that this account may use it."
    if any(words in text for words in _PATH_WORDS):
        return f"{reason}; choose another place or mend it."
    return None
