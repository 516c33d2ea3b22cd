"""`--mode=finetune`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.Finetune
SUMMARY = "Train an encoder further with labels (1 %, 10 %, any share), or from scratch."
SETTINGS = tuple(config.fields_of(CONFIG))
REQUIRED = ()


def default_preset(values):
    """No preset: the data and the architecture are read from the checkpoint."""
    del values
    return None
