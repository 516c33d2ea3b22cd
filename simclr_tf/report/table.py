"""Text tables, and the small final table of a run."""

import os

from simclr_tf.errors import DataError
from simclr_tf.evaluation.results import plain_table, results_table
from simclr_tf.runs.files import read_json
from simclr_tf.stack import tf


def summarize(run_dir):
    """The final table of a run: pixels, untrained encoder, SimCLR by number of labels.

    Args:
        run_dir: folder of a pretraining run that was linear-evaluated, or the evaluation's own.
    Returns:
        str, a plain text table; it is printed too.
    Raises:
        DataError: the folder holds no readable results of a linear evaluation.
    """
    inner = os.path.join(run_dir, "linear_eval", "results.json")
    outer = os.path.join(run_dir, "results.json")
    results = read_json(inner if tf.io.gfile.exists(inner) else outer)
    if results.get("mode") != "linear_eval":
        raise DataError(
            f"{run_dir} holds no linear evaluation; run --mode=linear_eval "
            f"--checkpoint={run_dir} first."
        )
    header, rows = results_table(results)
    text = plain_table(header, rows)
    print(text)
    return text
