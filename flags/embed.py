"""`--mode=embed`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.Embed
SUMMARY = "Write h of every image of a folder or split to .npz and .parquet, and look at it."
# Every image is taken, so nothing is held out, and --output is the place.
_WITHOUT = ("model_dir", "train_split", "eval_split", "eval_fraction", "split_seed")
SETTINGS = tuple(name for name in config.fields_of(CONFIG) if name not in _WITHOUT)
REQUIRED = ("checkpoint", "output")


def default_preset(values):
    """No preset: the architecture is read from the checkpoint."""
    del values
    return None
