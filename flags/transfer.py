"""`--mode=transfer`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.Transfer
SUMMARY = "Measure an encoder on other data sets: the paper's twelve, or any others."
CHOSEN_BY_DATASETS = ("dataset", "image_dir", "train_split", "eval_split")
SETTINGS = tuple(name for name in config.fields_of(CONFIG) if name not in CHOSEN_BY_DATASETS)
REQUIRED = ("checkpoint",)


def default_preset(values):
    """No preset: the architecture is read from the checkpoint."""
    del values
    return None
