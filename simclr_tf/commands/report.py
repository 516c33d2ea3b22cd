"""`--mode=report`: the tables and the picture of a finished run."""

import logging
import os

from simclr_tf.commands import plan
from simclr_tf.errors import DataError
from simclr_tf.evaluation.results import markdown_table, plain_table
from simclr_tf.files import write_atomically
from simclr_tf.report.pictures import draw_overview
from simclr_tf.report.summary import summary_table
from simclr_tf.report.table import summarize
from simclr_tf.runs.restore import load_trained

_LOG = logging.getLogger(__name__)


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
        _LOG.warning("no table: %s", error)
    header, rows = summary_table(run_dir)
    if rows:
        if not all(row[0].startswith("linear") for row in rows):  # else it says nothing new
            print(plain_table(header, rows))
        write_atomically(os.path.join(run_dir, "report", "table.md"), markdown_table(header, rows))
    print(f"picture: {path}")
    print(plan.next_line(f"export --checkpoint={run_dir}"), flush=True)
    return path
