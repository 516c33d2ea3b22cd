"""Runs programs of `benchmarks.lowered_step` with jax's XLA: speed, memory, and whether they are right.

TensorFlow is not needed; `pip install jax` (tested with 0.11.2) is. Every program runs in a process of
its own, so that its peak memory is its own.

    python -m benchmarks.run_lowered lowered/resnet50_224_256_bfloat16 --json=figures.json

Time is that of one call, the median over rounds of several calls in a row, each of which takes the
updated variables of the call before. `TFLOP/s` counts the convolutions and dense layers only (of the
loss its products), and its share is that of the chip's peak for dense products of the precision.
`error` is the largest relative difference to what TensorFlow computed on a CPU in float32.
"""

import argparse
import collections
import gzip
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import lowered, timing

# dense products per second, from the makers' data sheets; float32 there is TF32 unless exact
PEAKS = {
    "NVIDIA H100 80GB HBM3": {"mixed_bfloat16": 989e12, "float32": 495e12, "exact": 67e12},
    "NVIDIA H200": {"mixed_bfloat16": 989e12, "float32": 495e12, "exact": 67e12},
    "NVIDIA A100-SXM4-80GB": {"mixed_bfloat16": 312e12, "float32": 156e12, "exact": 19.5e12},
}
# relative, to float32 on a CPU; CPU: float32 products are exact, elsewhere TF32
TOLERANCE = {"cpu": 1e-3, "float32": 1e-2, "mixed_bfloat16": 3e-2}


class Loaded:
    """A compiled program with its arguments on the device.

    Args:
        folder: of the manifest.
        entry: of the program in the manifest.
    """

    def __init__(self, folder, entry):
        import jax
        from jax._src.lib import _jax  # the reader of HLO has no public name
        from jax.extend import backend
        from jaxlib import xla_client

        jax.config.update("jax_enable_x64", True)  # else int64 arguments would become int32
        self.entry = entry
        self.client = backend.get_backend()
        self.device = self.client.local_devices()[0]
        with gzip.open(os.path.join(folder, entry["file"])) as file:
            module = _jax.mlir.hlo_to_stablehlo(file.read())
        began = time.perf_counter()
        options = xla_client.CompileOptions()
        devices = xla_client.DeviceList((self.device,))
        self.executable = self.client.compile_and_load(module, devices, options)
        self.compile_seconds = time.perf_counter() - began
        self.put = lambda values: jax.device_put(values, self.device)
        self.arguments = []

    def fill(self):
        """Puts the arguments on the device."""
        self.arguments = [self.put(lowered.values_of(a)) for a in self.entry["arguments"]]

    def call(self):
        """Runs once, keeps the updated variables, and returns the other results."""
        results = self.executable.execute(self.arguments)
        for result, argument in self.entry["updates"].items():
            self.arguments[argument] = results[int(result)]  # the old buffer was taken
        return results[: len(self.entry["results"])]

    def memory(self):
        """Bytes that the compiled program needs, and the peak that the device saw, or None."""
        stats = self.executable.get_compiled_memory_stats()
        needed = stats.argument_size_in_bytes + stats.temp_size_in_bytes
        needed += stats.output_size_in_bytes - stats.alias_size_in_bytes
        seen = self.device.memory_stats() or {}
        return needed, seen.get("peak_bytes_in_use")


def measure(program, rounds, seconds):
    """Median seconds of a call, and the fastest and slowest round.

    Args:
        program: Loaded, which ran before.
        rounds: int.
        seconds: float, about the length of a round.
    """
    began = time.perf_counter()
    _wait(program.call())
    once = time.perf_counter() - began
    calls = max(1, min(100, round(seconds / once)))
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(calls):
            results = program.call()
        _wait(results)
        times.append((time.perf_counter() - began) / calls)
    return statistics.median(times), min(times), max(times)


def _wait(results):
    for result in results:
        result.block_until_ready()


def run_program(folder, name, rounds, seconds, profile=0, wait=False):
    """The figures of one program, run in this process: dict of plain values."""
    manifest = lowered.read_manifest(folder)
    entry = manifest["programs"][name]
    program = Loaded(folder, entry)
    if wait:
        timing.wait_for_turn(program.compile_seconds)
    program.fill()
    summaries = []
    for _ in range(max(1, len(entry["expected"]))):
        results = program.call()
        if entry["checked"] is not None:
            summaries.append(lowered.summary_of(results[entry["checked"]]))
    median, fastest, slowest = measure(program, rounds, seconds)
    needed, peak = program.memory()
    chip = program.device.device_kind
    precision = "exact" if manifest["exact_products"] else manifest["precision"]
    figures = {
        "name": name,
        "chip": chip,
        "precision": manifest["precision"],
        "batch": manifest["batch"],
        "compile_seconds": program.compile_seconds,
        "seconds": median,
        "fastest": fastest,
        "slowest": slowest,
        "images_per_second": entry["images"] / median,
        "needed_mib": needed / timing.MIB,
        "peak_mib": None if peak is None else peak / timing.MIB,
        "tflops": entry["flop"] / median / 1e12,
        "peak_tflops": PEAKS.get(chip, {}).get(precision, 0.0) / 1e12,
        "found": summaries,
        "expected": entry["expected"],
    }
    if profile:
        figures["kernels"] = kernels(program, profile)
    return {**figures, **check(figures, program.client.platform)}


def kernels(program, count, calls=3):
    """[name, ms a call, launches a call] of the device operations that take most time."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                results = program.call()
            _wait(results)
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
    totals = collections.defaultdict(lambda: [0.0, 0])
    for plane in data.planes:
        if not plane.name.startswith("/device:"):
            continue
        for line in plane.lines:
            if not line.name.startswith("Stream"):
                continue
            for event in line.events:
                totals[event.name][0] += event.duration_ns / 1e6 / calls
                totals[event.name][1] += 1 / calls
    found = sorted(([name, *sums] for name, sums in totals.items()), key=lambda row: -row[1])
    return found[:count]


def check(figures, platform):
    """{"error", "passed"}: the difference to the expected result; None where there is none."""
    if not figures["expected"]:
        finite = all(abs(x) < float("inf") for pair in figures["found"] for x in pair)
        return {"error": None, "passed": finite}
    error = max(
        abs(got - want) / abs(want)
        for found, expected in zip(figures["found"], figures["expected"])
        for got, want in zip(found, expected)
    )
    exact = platform == "cpu" and figures["precision"] == "float32"
    return {"error": error, "passed": error <= TOLERANCE["cpu" if exact else figures["precision"]]}


def in_process(folder, name, rounds, seconds, timeout, profile=0):
    """`run_program` in a process of its own; {"name", "failed": one line} if it fails."""
    command = [sys.executable, "-m", "benchmarks.run_lowered", folder, "--case", name]
    command += ["--rounds", str(rounds), "--seconds", str(seconds)]
    command += ["--profile", str(profile)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"name": name, "failed": f"more than {timeout:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"name": name, "failed": lines[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


HEADER = [
    "program", "compile s", "ms", "images/s", "needed MiB", "peak MiB", "TFLOP/s", "share", "error",
]  # fmt: skip


def to_row(figures):
    """A row of the table."""
    if "failed" in figures:
        return [figures["name"], "failed", *[""] * (len(HEADER) - 3), figures["failed"][:60]]
    peak = figures["peak_mib"]
    share = figures["tflops"] / figures["peak_tflops"] if figures["peak_tflops"] else None
    error = figures["error"]
    verdict = "" if figures["passed"] else " WRONG"
    return [
        figures["name"],
        f"{figures['compile_seconds']:.1f}",
        f"{1000 * figures['seconds']:.2f}",
        f"{figures['images_per_second']:.0f}",
        f"{figures['needed_mib']:.0f}",
        "-" if peak is None else f"{peak:.0f}",
        f"{figures['tflops']:.3g}",
        "-" if share is None else f"{share:.1%}",
        ("-" if error is None else f"{error:.1e}") + verdict,
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="Written by benchmarks.lowered_step.")
    parser.add_argument("--programs", default="", help="Names, comma-separated; default: all.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="Length of a round.")
    parser.add_argument("--timeout", type=float, default=600.0, help="Seconds for one program.")
    parser.add_argument("--profile", type=int, default=0, help="So many of the slowest kernels.")
    parser.add_argument("--json", default="", help="JSON file for the figures.")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--wait", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    how = {name: getattr(arguments, name) for name in ("rounds", "seconds", "profile")}
    if arguments.case:
        timing.report(run_program(arguments.folder, arguments.case, wait=arguments.wait, **how))
        return
    if importlib.util.find_spec("jax") is None:
        raise SystemExit(
            "jax is not installed; run: pip install jax==0.11.2 (Python 3.12 or newer)."
        )
    known = lowered.read_manifest(arguments.folder)["programs"]
    names = arguments.programs.split(",") if arguments.programs else list(known)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SystemExit(
            f"--programs={','.join(unknown)} is not in {arguments.folder}; it has "
            f"{', '.join(known)}."
        )
    found = []
    for name in names:
        found.append(in_process(arguments.folder, name, timeout=arguments.timeout, **how))
        if arguments.json:
            timing.write_json(arguments.json, found)
    chips = sorted({one["chip"] for one in found if "chip" in one})
    print(f"{arguments.folder} on {', '.join(chips) or 'no device'}")
    timing.print_table(HEADER, [to_row(one) for one in found])
    if any("failed" in one or not one["passed"] for one in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
