"""Paths that must exist are looked at before TensorFlow is imported, which takes seconds."""

import glob
import os

from simclr_tf import config as settings_of
from simclr_tf.errors import DataError

MUST_EXIST = (
    "image_dir",
    "checkpoint",
    "init",
    "compare",
    "source",
    "teacher",
    "query",
    "embeddings",
)


def check_places(config, given):
    """Refuses a local path that is not there.

    Args:
        config: of a mode.
        given: names of the settings that the command line or a preset gave.
    Raises:
        DataError: the first such path.
    """
    values = settings_of.flatten(config)
    for name in MUST_EXIST:
        value = values.get(name, "")
        if name not in given:
            continue
        for path in settings_of.places_in(value) if name in ("image_dir", "query") else [value]:
            if path in ("", "scratch") or "://" in path:
                continue
            # a checkpoint is named by what its files have in common
            if not os.path.exists(path) and not glob.glob(glob.escape(path) + ".*"):
                raise DataError(
                    f"--{name}={path} does not exist (looked in {os.path.abspath(path)}); check "
                    "the spelling, or give another path."
                )
