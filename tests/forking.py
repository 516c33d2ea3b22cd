"""Command lines of simclr_tf in processes that start in a moment and may be killed.

`python -m tests.forking` imports TensorFlow, runs no operation, and forks a child for each line
of JSON that it reads: a child is a process of its own without the seconds of importing.
"""

import ctypes
import json
import os
import pathlib
import subprocess
import sys
import traceback

_CAPABILITIES_VERSION = 0x20080522  # of the headers of Linux


class Launcher:
    """The parent process: starts one child at a time; use it in a `with` statement.

    Args:
        folder: in which the children run; this process's own by default.
    """

    def __init__(self, folder=None):
        self._folder = folder

    def __enter__(self):
        command = [sys.executable, "-m", "tests.forking"]
        root = pathlib.Path(__file__).resolve().parents[1]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        return self

    def __exit__(self, *error):
        self._process.communicate()

    def start(self, arguments, output, obeys=False):
        """Starts `simclr_tf.__main__.main(arguments)`; returns the id of the process.

        Args:
            arguments: list of str, or one str: Python code, which is run instead.
            output: file for what it prints.
            obeys: whether permissions of files bind it even if it runs as root.
        """
        request = {"arguments": arguments, "output": str(output), "obeys": obeys}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def wait(self):
        """The exit code of the child, or minus the signal that ended it."""
        return int(self._process.stdout.readline())

    def run(self, arguments, output, obeys=False):
        """Starts a child, waits for its end and returns its exit code."""
        self.start(arguments, output, obeys)
        return self.wait()


def _drop_capabilities():
    """Makes root an owner of files like any other."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    if ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError("capabilities cannot be dropped")


def _child(arguments, output, obeys):
    code = 1
    try:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1), os.dup2(file, 2)
        if obeys:
            _drop_capabilities()
        if isinstance(arguments, str):
            exec(compile(arguments, "code", "exec"), {"__name__": "__main__"})
            code = 0
        else:
            from simclr_tf.__main__ import main

            code = main(arguments)
    except SystemExit as done:
        code = done.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def _serve():
    from tensorflow.python.eager import context

    import simclr_tf.commands.finetune
    import simclr_tf.commands.pretrain  # noqa: F401

    started = context.context_safe()
    assert started is None or started._context_handle is None, "TensorFlow cannot be forked now"
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _child(**json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
