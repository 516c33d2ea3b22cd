"""Time and memory of exact k-NN: 10,000 queries among 50,000 features of 2048 dimensions.

    python -m benchmarks.knn [--queries=10000] [--bank=50000] [--dims=2048] [--k=200]

Prints seconds and the peak of the resident set during the search above its size before, beside the
bound that `nearest_neighbours` states and the size of the whole similarity matrix, which is never
made. The features themselves (491 MB by default) are in memory before.
"""

import argparse
import time

import numpy as np

from benchmarks import timing
from simclr_tf.evaluation.knn import BANK_BLOCK, BLOCK, nearest_neighbours


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("queries", 10000), ("bank", 50000), ("dims", 2048), ("k", 200)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((options.queries, options.dims), np.float32)
    bank = rng.standard_normal((options.bank, options.dims), np.float32)
    nearest_neighbours(queries[:8], bank[:1000], 8)  # what TensorFlow itself needs
    began = time.perf_counter()
    with timing.PeakMemory() as memory:
        similarity, index = nearest_neighbours(queries, bank, options.k)
    seconds = time.perf_counter() - began
    rows = min(BLOCK, options.queries)
    columns = min(BANK_BLOCK, options.bank)
    numbers = rows * options.dims + columns * options.dims + 2 * rows * (columns + options.k)
    results = (similarity.nbytes + index.nbytes) / timing.MIB
    timing.print_table(
        ["", "value"],
        [
            ["seconds", f"{seconds:.1f}"],
            ["peak extra memory, MiB", f"{memory.extra / timing.MIB:.0f}"],
            ["of that, results, MiB", f"{results:.0f}"],
            ["stated bound of the device, MiB", f"{4 * numbers / timing.MIB:.0f}"],
            ["whole similarity matrix, MiB", f"{4 * options.queries * options.bank / timing.MIB:.0f}"],  # fmt: skip
        ],
    )


if __name__ == "__main__":
    main()
