"""`--mode=report`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.Report
SUMMARY = "Print a run's figures as a table and draw its views and nearest neighbours."
SETTINGS = ("model_dir",)
REQUIRED = ("model_dir",)


def default_preset(values):
    """No preset: everything is read from the run folder."""
    del values
    return None
