"""`--mode=linear_eval`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.LinearEval
SUMMARY = "Measure a frozen encoder: linear classifier and few-shot, beside two baselines."
SETTINGS = tuple(config.fields_of(CONFIG))
REQUIRED = ("checkpoint",)


def default_preset(values):
    """No preset: the data and the architecture are read from the checkpoint."""
    del values
    return None
