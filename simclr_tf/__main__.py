"""The door: `python -m simclr_tf --mode=MODE ...`.

Flags become a config, the config goes to the runner of the mode. What the user can mend is one
sentence on stderr and an exit code (`simclr_tf.errors`); anything else keeps its traceback.
"""

import atexit
import errno
import importlib
import os
import re
import sys

from simclr_tf.config import MODES
from simclr_tf.errors import DataError, PreemptedError, UserError
from simclr_tf.flags.parse import parse

# what TensorFlow's C++ side prints at start is about absent GPUs; its exceptions still reach us
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PATH_TROUBLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR}
DAMAGE = re.compile(r"(corrupted|truncated) record at \d+")
PATH_WORDS = ("Permission denied", "No space left on device", "Read-only file system")


def main(argv=None):
    """Runs one command line.

    Args:
        argv: list of str without the program's name; the process's own arguments by default.
    Returns:
        the exit code: 0 done, 1 a selftest failed, 2 wrong flags, 3 data or paths, 4 diverged, 75
        preempted, 130 interrupted from the keyboard.
    """
    try:
        mode, config, given = parse(sys.argv[1:] if argv is None else argv)
        module, function = MODES[mode].runner.split(":")
        getattr(importlib.import_module(module), function)(config, given)
    except UserError as error:
        return say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return say("interrupted; the same command continues from the last checkpoint.", 130)
    except Exception as error:
        sentence = file_trouble(error)
        if sentence is None:
            raise
        return say(sentence, DataError.exit_code)
    return 0


def file_trouble(error):
    """One sentence if a file of the user is damaged or cannot be read or written, else None.

    TensorFlow's file system reports the same troubles with classes of its own, told apart from
    programming errors by the operating system's words.
    """
    if isinstance(error, OSError) and error.errno in PATH_TROUBLE:
        return f"{error.filename or 'a file'}: {error.strerror}; choose another place or mend it."
    text = str(error)
    if type(error).__name__ == "DataLossError":  # of tf.errors, which importing would delay --help
        damage = DAMAGE.search(text)
        return (
            f"a file of the data set is damaged ({damage[0] if damage else text.splitlines()[0]}); "
            "restore it, or prepare the data set again in an empty --data_dir."
        )
    words = [word for word in PATH_WORDS if word in text]
    if type(error).__module__.startswith("tensorflow.") and words:
        return f"{text.splitlines()[0].rstrip('.')}; choose another place or mend it."
    return None


def say(sentence, exit_code):
    """Prints the sentence on stderr and hands the exit code on."""
    print(f"simclr_tf: {sentence}", file=sys.stderr, flush=True)
    return exit_code


def leave(exit_code):
    """Ends the process.

    A stopped one ends without the interpreter's own clearing up, in which the thread pools that
    TensorFlow keeps for its workers may print a traceback below the sentence.
    """
    if exit_code == PreemptedError.exit_code:
        atexit._run_exitfuncs()  # temporary folders go
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)


if __name__ == "__main__":
    leave(main())
