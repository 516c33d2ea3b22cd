"""Measuring one case in a process of its own: CPU time, peak extra memory, one core.

CPU time and not wall time, because other work on the machine stretches the latter. Standard
library only: TensorFlow is loaded by the measured process.
"""

import json
import os
import subprocess
import sys
import time

MIB = 2.0**20
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def run_case(module, case, timeout=600.0, memory_limit=None, cores=1):
    """Runs `python -m module --case=JSON` on one core, or some, and reads the JSON it prints last.

    Args:
        module: name of a module whose process prints its figures by `report`.
        case: dict of plain values.
        timeout: seconds.
        memory_limit: bytes of address space beyond which the case counts as failed, or None.
        cores: how many the process may use.
    Returns:
        dict of the figures, or {"failed": one line}.
    """

    def prepare():
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-cores:]))
        if memory_limit:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (int(memory_limit), int(memory_limit)))

    command = [sys.executable, "-m", module, "--case", json.dumps(case)]
    try:
        done = subprocess.run(
            command, env={**os.environ, **(ONE_THREAD if cores == 1 else {})},
            preexec_fn=prepare, timeout=timeout,
            capture_output=True, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {timeout:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        errors = done.stderr.strip().splitlines()
        return {"failed": errors[-1][:200] if errors else f"exit code {done.returncode}"}
    return json.loads(lines[-1])


def report(figures):
    """Prints the figures of a case for `run_case`."""
    print(json.dumps(figures), flush=True)


def wait_for_turn(compile_seconds):
    """Says that this process is ready, and waits until `gpu_session` writes a line to its stdin."""
    print(json.dumps({"ready": compile_seconds}), flush=True)
    sys.stdin.readline()


def cpu_seconds(function, repetitions):
    """CPU seconds of each of several calls of `function`, which must wait for its result."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return times


def _status(key):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}; memory is measured on Linux only.")


class PeakMemory:
    """Peak resident memory inside a `with`, in bytes: `.extra` above its start, `.total`."""

    def __enter__(self):
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # forget the earlier peak
        self.start = _status("VmRSS")
        return self

    def __exit__(self, *error):
        self.total = _status("VmHWM")
        self.extra = self.total - self.start


def print_table(header, rows):
    """Prints rows of strings in columns, the first left and the others right aligned."""
    widths = [max(len(row[i]) for row in [header] + rows) for i in range(len(header))]
    for row in [header] + rows:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        print("  ".join(cells), flush=True)


def write_json(path, figures):
    """Writes the figures under a temporary name and renames it."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w") as file:
        json.dump(figures, file, indent=2)
        file.write("\n")
    os.replace(temporary, path)
