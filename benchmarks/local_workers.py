"""Several processes of one command on this machine, connected over loopback.

Standard library only; used by benchmarks and tests.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import time


def free_addresses(count):
    """Different "127.0.0.1:port" that nobody listens at now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in found]


class LocalWorkers:
    """The processes of `with LocalWorkers(...)`; what still runs at its end is killed.

    Attributes:
        processes: list of subprocess.Popen, the chief first.
    """

    def __init__(self, commands, folder, environment=None):
        """Prepares them.

        Args:
            commands: a list of str per process.
            folder: where their output goes: worker0.out, worker0.err and so on.
            environment: {name: value} on top of this process's own, or one such per process.
        """
        self.commands = commands
        self.folder = pathlib.Path(folder)
        many = isinstance(environment, (list, tuple))
        self.environments = environment if many else [environment or {}] * len(commands)
        self.processes = []

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as files:
            for index, (command, more) in enumerate(zip(self.commands, self.environments)):
                names = (self.folder / f"worker{index}.{end}" for end in ("out", "err"))
                out, err = (files.enter_context(open(name, "w")) for name in names)
                environment = {**os.environ, **more}
                self.processes.append(
                    subprocess.Popen(command, env=environment, stdout=out, stderr=err)
                )
        return self

    def __exit__(self, *error):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def output(self, index, end="out"):
        """What a process has printed so far: on stdout, or with end="err" on stderr."""
        return (self.folder / f"worker{index}.{end}").read_text(errors="replace")

    def wait(self, timeout):
        """The exit codes; None for what still runs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        return [process.poll() for process in self.processes]


def worker_commands(command, count):
    """A command of simclr_tf per worker: the same one with --workers and its --worker_index."""
    workers = "--workers=" + ",".join(free_addresses(count))
    return [[*command, workers, f"--worker_index={index}"] for index in range(count)]
