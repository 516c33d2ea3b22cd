"""`--mode=knn`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.Knn
SUMMARY = "Classify held-out images by their nearest training images, for h and every head layer."
SETTINGS = tuple(config.fields_of(CONFIG))
REQUIRED = ("checkpoint",)


def default_preset(values):
    """No preset: the data and the architecture are read from the checkpoint."""
    del values
    return None
