"""Runs the test files in parts, one after the other, each in new processes.

What TensorFlow compiled stays in the memory of a process as long as it lives, so one pair of
processes for all files would grow to two thirds of a machine of 16 GB. A new pair costs ten
seconds of one core. The last lines are those of all parts together.

    python -m tests.parts 4 -n 2 --dist loadfile -m "not slow"

runs pytest with the options behind the number on each of four parts of the files.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from tests import reporting

ROOT = pathlib.Path(__file__).resolve().parents[1]
FAILED = 1  # what pytest returns if tests failed, and if there were none
NONE = 5


def parts_of(files, count):
    """The files in `count` lists, each with its share of long ones."""
    known = reporting.known_seconds()
    ordered = sorted(files, key=lambda name: (-known.get(name, reporting.UNKNOWN), name))
    return [ordered[at::count] for at in range(count)]


def test_files():
    """All test files, as pytest names them."""
    found = (ROOT / "tests").rglob("test_*.py")
    return [path.relative_to(ROOT).as_posix() for path in found]


def run(count, options):
    """Runs the parts and prints the last lines.

    A part whose tests fail does not keep the others from running; one that could not go on does.

    Returns:
        the exit code: 0 if all tests passed.
    """
    began = time.monotonic()
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        totals = pathlib.Path(folder) / "totals.json"
        for at, files in enumerate(parts_of(test_files(), count), 1):
            print(f"=== tests, part {at} of {count}", flush=True)
            command = [sys.executable, "-m", "pytest", f"--add-totals={totals}", *options, *files]
            code = subprocess.run(command, cwd=ROOT).returncode
            worst = max(worst, 0 if code == NONE else code)
            if code not in (0, FAILED, NONE):
                print(f"=== part {at} of {count} did not end (exit code {code})", flush=True)
                break
        if totals.exists():
            _print(json.loads(totals.read_text(encoding="utf-8")), time.monotonic() - began)
    return worst


def _print(totals, seconds):
    """The last lines."""
    print(f"=== all parts, {seconds // 60:.0f} min {seconds % 60:.0f} s")
    for kind in ("failed", "error"):
        for nodeid in totals[kind]:
            print(f"{'FAILED' if kind == 'failed' else 'ERROR'} {nodeid}")
    print(f"peak memory of all test processes together: {totals['peak']:,.0f} MiB")
    print(reporting.sentence(totals), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(130)
