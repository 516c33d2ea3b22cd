"""`--mode=export`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.Export
SUMMARY = "Write a trained encoder as a SavedModel that TF Hub and TF Serving load."
SETTINGS = tuple(config.fields_of(CONFIG))
REQUIRED = ("checkpoint",)


def default_preset(values):
    """No preset: everything is read from the checkpoint."""
    del values
    return None
