"""Time and memory of exact k-NN: 10,000 queries among 50,000 features of 2048 dimensions.

    python -m benchmarks.knn [--queries=10000] [--bank=50000] [--dims=2048] [--k=200]

A fresh process on one core prints CPU seconds and the peak of its resident set during the search
above the size before, beside the bound that `nearest_neighbours` states and the size of the whole
similarity matrix, which is never made. The features themselves (491 MB by default) are in memory
before.
"""

import argparse
import json

import numpy as np

from benchmarks import timing


def measure_case(case):
    """Runs one case {"queries", "bank", "dims", "k"} in this process; returns its figures."""
    from simclr_tf.evaluation.knn import device_bytes, nearest_neighbours

    rng = np.random.default_rng(0)
    queries = rng.standard_normal((case["queries"], case["dims"]), np.float32)
    bank = rng.standard_normal((case["bank"], case["dims"]), np.float32)
    nearest_neighbours(queries[:8], bank[:1000], 8)  # what TensorFlow itself needs
    found = []
    with timing.PeakMemory() as memory:
        search = lambda: found.append(nearest_neighbours(queries, bank, case["k"]))  # noqa: E731
        (seconds,) = timing.cpu_seconds(search, 1)
    ((similarity, index),) = found
    return {
        "cpu_seconds": seconds,
        "extra_mib": memory.extra / timing.MIB,
        "result_mib": (similarity.nbytes + index.nbytes) / timing.MIB,
        "stated_mib": device_bytes(*(case[name] for name in ("queries", "bank", "dims", "k")))
        / timing.MIB,
        "matrix_mib": 4 * case["queries"] * case["bank"] / timing.MIB,
    }


TITLES = {
    "cpu_seconds": "CPU seconds",
    "extra_mib": "peak extra memory, MiB",
    "result_mib": "of that, results, MiB",
    "stated_mib": "stated bound of the device, MiB",
    "matrix_mib": "whole similarity matrix, MiB",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("queries", 10000), ("bank", 50000), ("dims", 2048), ("k", 200)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--case", help="a case as JSON; its figures are printed as JSON")
    options = vars(parser.parse_args())
    given = options.pop("case")
    if given:
        timing.report(measure_case(json.loads(given)))
        return
    figures = timing.run_case("benchmarks.knn", options, timeout=3600.0)
    if "failed" in figures:
        raise SystemExit(figures["failed"])
    timing.print_table(["", "value"], [[TITLES[name], f"{value:.1f}"] for name, value in figures.items()])  # fmt: skip


if __name__ == "__main__":
    main()
