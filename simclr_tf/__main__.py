"""The door: `python -m simclr_tf MODE ...`, or `simclr-tf MODE ...` where it is installed.

Flags become a config, the config goes to the runner of the mode. What the user can mend is one
sentence on stderr and an exit code; a mistake of this program keeps its traceback.
"""

import atexit
import contextlib
import gc
import importlib
import os
import sys
import threading
import traceback

from simclr_tf import names
from simclr_tf.config import MODES
from simclr_tf.distribution import stopping
from simclr_tf.errors import InterruptedRunError, PreemptedError
from simclr_tf.flags import failures, terminal
from simclr_tf.flags.parse import parse, wants_quiet
from simclr_tf.flags.places import check_places

# what TensorFlow's C++ side prints at start is about absent GPUs; its exceptions still reach us
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(argv=None):
    """Runs one command line.

    Args:
        argv: list of str without the program's name; the process's own arguments by default.
    Returns:
        the exit code: 0 done, 1 a selftest failed, 2 wrong flags, missing packages or too little
        memory, 3 data or paths, 4 diverged, 75 preempted, 130 interrupted from the keyboard, 141 nobody reads
        stdout.
    Raises:
        Exception: a mistake of this program.
    """
    config = None
    with terminal.notices_on_stderr():
        try:
            argv = sys.argv[1:] if argv is None else argv
            mode, config, given = parse(argv)
            check_places(config, given)
            with terminal.quiet() if wants_quiet(argv) else contextlib.nullcontext():
                runner = runner_of(mode)
                runner(settled(config), given)
        except (Exception, KeyboardInterrupt) as error:
            explained = failures.explain(error, config)
            if explained is None:
                raise
            return say(*explained)
    return 0


def runner_of(mode):
    """The function (config, given) that runs a mode; TensorFlow is imported on the way."""
    module, function = MODES[mode].runner.split(":")
    with _kept_objects():
        terminal.import_quietly("simclr_tf.stack")
        return getattr(importlib.import_module(module), function)


def settled(config):
    """The config with what only the devices can tell; TensorFlow is there."""
    module = importlib.import_module("simclr_tf.commands.chosen_precision")
    return module.settle(config)


@contextlib.contextmanager
def _kept_objects():
    """Around the imports of a process: the garbage collector leaves alone what they make.

    They make a million objects that stay. Looking through them again and again took a tenth of the
    time up to the first step.
    """
    # somebody's process may hold objects of theirs
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def say(sentence, exit_code):
    """Prints the sentence on stderr, if there is one, and hands the exit code on.

    It may hold words out of a file, which must not reach the terminal as commands.
    """
    if sentence:
        lines = [names.shown(line) for line in sentence.split("\n")]
        print("simclr_tf: " + "\n".join(lines), file=sys.stderr, flush=True)
    return exit_code


def leave(exit_code):
    """Ends the process; one that is done or was stopped without the interpreter's own clearing up.

    Taking TensorFlow apart object by object takes a second. In a process that was stopped, the
    thread pools that TensorFlow keeps for its workers may also print a traceback meanwhile.
    """
    if exit_code not in (PreemptedError.exit_code, InterruptedRunError.exit_code):
        stack = sys.modules.get("simclr_tf.stack")
        if exit_code or stack is None or stack.has_other_workers():
            sys.exit(exit_code)
        threading._shutdown()  # threads that still write something end first
    atexit._run_exitfuncs()  # temporary folders go
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code or 0)


def run_and_exit():
    """Runs the command line of this process and ends it: the command `simclr-tf`."""
    stopping.watch_keyboard()
    try:
        exit_code = _exit_code()
        sys.stdout.flush()
    except BrokenPipeError:  # what was printed last, such as --help
        exit_code = failures.PIPE_CLOSED
    if exit_code == failures.PIPE_CLOSED:
        terminal.close_broken_stdout()
    leave(exit_code)


def _exit_code():
    try:
        return main()
    except SystemExit as done:  # --help and --version
        return done.code
    except Exception:
        traceback.print_exc()
        return say(failures.report_request(), 1)


if __name__ == "__main__":
    run_and_exit()
