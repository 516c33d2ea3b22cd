"""`--mode=import_weights`: what it is for, and which settings it offers."""

import dataclasses

from simclr_tf import config

CONFIG = config.ImportWeights
SUMMARY = "Turn official SimCLR weights or a PyTorch ResNet into a run folder."
SETTINGS = (
    *(field.name for field in dataclasses.fields(config.ImportSettings)),
    "model_dir",
    "dry_run",
    *(field.name for field in dataclasses.fields(config.Data)),
)
REQUIRED = ("source", "model_dir")


def default_preset(values):
    """No preset: the architecture is read from the source."""
    del values
    return None
