"""`--mode=report`: the tables and the picture of a finished run."""

import os

from simclr_tf.errors import DataError
from simclr_tf.evaluation.results import markdown_table, plain_table
from simclr_tf.files import write_atomically
from simclr_tf.report.pictures import draw_overview
from simclr_tf.report.summary import summary_table
from simclr_tf.report.table import summarize
from simclr_tf.runs.restore import load_trained


def run(config, given=frozenset()):
    """Draws the overview of a pretraining run and prints the tables of its evaluations.

    The table of everything measured (`report/table.md`) has the untrained encoder, the supervised
    baseline where it was asked for, and SimCLR, with the number of labels used.

    Args:
        config: config.Report; `run.model_dir` is the folder of a pretraining run.
        given: names of the settings that the user gave (not needed here).
    Returns:
        path of the picture, or None for a dry run.
    Raises:
        DataError: the folder holds no pretraining run, or its images cannot be read.
    """
    run_dir = config.run.model_dir
    trained = load_trained(run_dir, trust_code=config.run.trust_code)
    if config.run.dry_run:
        return None
    path = draw_overview(trained)
    try:
        summarize(run_dir)
    except DataError as error:
        print(f"no table: {error}")
    header, rows = summary_table(run_dir)
    if rows:
        if not all(row[0].startswith("linear") for row in rows):  # else it says nothing new
            print(plain_table(header, rows))
        write_atomically(os.path.join(run_dir, "report", "table.md"), markdown_table(header, rows))
    print(f"picture: {path}")
    return path
