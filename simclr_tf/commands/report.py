"""`--mode=report`: the page, the tables and the picture of a run."""

import logging
import os

from simclr_tf.commands import plan
from simclr_tf.errors import DataError
from simclr_tf.evaluation.results import markdown_table, plain_table
from simclr_tf.files import write_atomically
from simclr_tf.report.pictures import draw_overview
from simclr_tf.report.run_page import write_run_page
from simclr_tf.report.summary import summary_table
from simclr_tf.report.table import summarize
from simclr_tf.runs import restore

_LOG = logging.getLogger(__name__)


def run(config, given=frozenset()):
    """Writes what there is to see of a pretraining run, and prints the tables of its evaluations.

    `report/index.html` is one page with everything, `report/overview.png` a picture of views and
    neighbours, and `report/table.md` the table of everything measured: the untrained encoder, the
    supervised baseline where it was asked for, and SimCLR, with the number of labels used. The run
    may be training. Without its checkpoints or images the page has what remains.

    Args:
        config: config.Report; `run.model_dir` is the folder of a pretraining run.
        given: names of the settings that the user gave (not needed here).
    Returns:
        {"page": path, "picture": path or None}, or None for a dry run.
    Raises:
        SettingsError: the run names code that is not trusted.
        DataError: the folder holds no pretraining run, or the page cannot be written.
    """
    run_dir = config.run.model_dir
    restore.stored_settings_of(run_dir)  # a folder of something else is refused now
    if config.run.dry_run:
        return None
    trained = picture = None
    note = ""
    try:
        trained = restore.load_trained(run_dir, trust_code=config.run.trust_code)
        picture = draw_overview(trained)
    except DataError as error:
        _LOG.warning("no picture: %s", error)
        note = f"Without images: {error}" if trained is None else ""
    try:
        summarize(run_dir)
    except DataError as error:
        _LOG.warning("no table: %s", error)
    _write_table(run_dir)
    page = write_run_page(run_dir, os.path.join(run_dir, "report", "index.html"), trained, note)
    print("\n".join(f"{name}: {path}" for name, path in (("picture", picture), ("page", page)) if path))  # fmt: skip
    print(plan.next_line(f"export --checkpoint={run_dir}"), flush=True)
    return {"page": page, "picture": picture}


def _write_table(run_dir):
    """Prints and writes the table of everything measured, if there is anything."""
    try:
        header, rows = summary_table(run_dir)
    except DataError as error:
        _LOG.warning("no table of all evaluations: %s", error)
        return
    if not rows:
        return
    if not all(row[0].startswith("linear") for row in rows):  # else it says nothing new
        print(plain_table(header, rows))
    write_atomically(os.path.join(run_dir, "report", "table.md"), markdown_table(header, rows))
