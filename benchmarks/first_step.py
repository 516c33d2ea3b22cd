"""CPU seconds of a whole `--mode=pretrain` of one step on the digits: what a start costs.

Each round is a process of its own: imports, images, model, traced and compiled step, one step, its
checkpoint and its line of metrics. CPU seconds of user and system, of which other work on the machine
changes less than of the seconds on the clock. The digits are prepared before the first round.

    python -m benchmarks.first_step --rounds=5 [--other=DIR] [--output=FILE]

With --other, a checkout of another version of this program takes turns with this one.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.timing import print_table, write_json

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def start(checkout):
    """Runs the command in a folder with the code; returns (CPU seconds, seconds on the clock)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "simclr_tf", "--mode=pretrain", "--preset=digits"]
        command += ["--train_steps=1", f"--model_dir={folder}/run"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        subprocess.run(command, cwd=checkout, check=True, capture_output=True)
        seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", default="", help="folder with the code of another version")
    parser.add_argument("--output", default="", help="JSON file for the figures")
    arguments = parser.parse_args()
    places = {"this": HERE, **({"other": arguments.other} if arguments.other else {})}
    found = {name: [] for name in places}
    start(HERE)  # prepares the digits, and reads all files once
    for _ in range(arguments.rounds):
        for name, place in places.items():
            found[name].append(start(place))
    rows = []
    for name, each in found.items():
        cpu, clock = zip(*each)
        figures = (statistics.median(cpu), min(cpu), max(cpu), statistics.median(clock))
        rows.append([name, *(f"{seconds:.2f}" for seconds in figures)])
    print_table(["version", "CPU s, median", "least", "most", "clock s, median"], rows)
    if arguments.output:
        write_json(arguments.output, {"rounds": found})


if __name__ == "__main__":
    main()
