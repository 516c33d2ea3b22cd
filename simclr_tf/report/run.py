"""`--mode=report`: the table and the picture of a finished run."""

from simclr_tf.errors import DataError
from simclr_tf.report.pictures import draw_overview
from simclr_tf.report.table import summarize
from simclr_tf.training.restore import load_trained


def run(config, given=frozenset()):
    """Draws the overview of a pretraining run and prints the table of its linear evaluation.

    Args:
        config: config.Report; `run.model_dir` is the folder of a pretraining run.
        given: names of the settings that the user gave (not needed here).
    Returns:
        path of the picture, or None for a dry run.
    Raises:
        DataError: the folder holds no pretraining run, or its images cannot be read.
    """
    run_dir = config.run.model_dir
    trained = load_trained(run_dir)
    if config.run.dry_run:
        return None
    path = draw_overview(trained)
    try:
        summarize(run_dir)
    except DataError as error:
        print(f"no table: {error}")
    print(f"picture: {path}")
    return path
