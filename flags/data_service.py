"""`--mode=data_service`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.DataService
SUMMARY = "Prepare the batches of a training that is given --data_service."
SETTINGS = tuple(config.fields_of(CONFIG))
REQUIRED = ()


def default_preset(values):
    """No preset: nothing depends on the data."""
    del values
    return None
