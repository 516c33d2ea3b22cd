"""`--mode=probe`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.Probe
SUMMARY = "Ask h and every head layer what was done to a view (colour, rotation, noise, Sobel)."
SETTINGS = tuple(config.fields_of(CONFIG))
REQUIRED = ("checkpoint",)


def default_preset(values):
    """No preset: the data and the architecture are read from the checkpoint."""
    del values
    return None
