"""The processes of this machine that share the runs of a study."""

import os
import signal
import subprocess
import sys
import threading

from simclr_tf import config as settings_of
from simclr_tf.config.modes import MODES
from simclr_tf.data.memory import is_address
from simclr_tf.errors import InterruptedRunError, PreemptedError, SettingsError, UserError

_PREEMPTED = 75


def commands(config, given, studies):
    """The command line of each process.

    Args:
        config: config.Study.
        given: names of the settings that the user gave.
        studies: names.
    Raises:
        SettingsError: the images live in the memory of this process.
    """
    if is_address(config.data.image_dir):
        raise SettingsError(
            f"processes={config.study.processes} cannot share images in memory; give a folder, or "
            "leave processes at 1."
        )
    index, count = config.study.part
    processes = config.study.processes
    values = settings_of.flatten(config)
    kept = [
        n
        for n in MODES["study"].settings
        if n in given and n not in ("processes", "shard", "study")
    ]
    flags = [f"--{name}={values[name]}" for name in kept]
    return [
        [
            sys.executable, "-m", "simclr_tf", "study", f"--study={','.join(studies)}", *flags,
            f"--shard={index * processes + number + 1}/{count * processes}",
        ]
        for number in range(processes)
    ]  # fmt: skip


def share(config, given, studies):
    """Runs the studies in several processes and waits for all of them.

    Raises:
        PreemptedError: one was stopped; the same command goes on.
        UserError: one failed; what it said stands above.
    """
    lines = commands(config, given, studies)
    threads = str(max(1, (os.cpu_count() or 1) // len(lines)))
    around = {**os.environ, "OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads}
    running = [subprocess.Popen(line, env=around) for line in lines]
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda number, frame: _stop(running)) if main else None
    try:
        codes = [process.wait() for process in running]
    except KeyboardInterrupt:
        _stop(running)
        for process in running:
            process.wait()
        raise InterruptedRunError(
            "stopped by Ctrl-C, the state of every run is saved; run the same command again to go on."
        ) from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
    if any(code in (_PREEMPTED, -signal.SIGTERM) for code in codes):
        raise PreemptedError(
            "processes of the study were stopped, the state of every run is saved; run the same "
            "command again to go on."
        )
    for number, code in enumerate(codes, start=1):
        if code:
            raise UserError(
                f"process {number} of {len(codes)} ended with exit code {code} (its sentence stands "
                "above); mend that and run the same command again."
            )


def _stop(running):
    """Asks processes to save and end, as SIGTERM does."""
    for process in running:
        if process.poll() is None:
            process.terminate()
