"""The run folder: a folder that belongs to one mode with one set of settings."""

import os
import platform
import re

from simclr_tf.errors import DataError, SettingsError
from simclr_tf.files import CHOOSE_ANOTHER
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.stack import keras, tf


def versions():
    """{package: version} of what shapes the numbers of a run."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "tf_keras": keras.__version__,
    }


class RunFolder:
    """A folder that belongs to one mode with one set of settings.

    Args:
        path: of the folder.
        flag: what the user gives it with, for the errors.
    """

    def __init__(self, path, flag="--model_dir"):
        self.path = path
        self.flag = flag

    def join(self, *parts):
        """A path inside the folder."""
        return os.path.join(self.path, *parts)

    def claim(self, mode, settings, free, dataset):
        """Makes the folder this run's, or checks that it already is.

        Args:
            mode: name of the mode.
            settings: {setting name: value}, all resolved settings.
            free: names of settings that a resumed run may change.
            dataset: {"name", "fingerprint", ...} of the training images.
        Returns:
            True if the folder already held this run.
        Raises:
            SettingsError: the folder belongs to a run of another mode or with other settings.
            DataError: the folder cannot be written.
        """
        config_path = self.join("config.json")
        resumed = tf.io.gfile.exists(config_path)
        if resumed:
            self.check_same(mode, settings, free, dataset)
        else:
            self._make()
        content = {"mode": mode, "settings": settings, "dataset": dataset, "versions": versions()}
        write_json(config_path, content)
        return resumed

    def _make(self):
        try:
            if tf.io.gfile.exists(self.path) and not tf.io.gfile.isdir(self.path):
                raise DataError(f"{self.path} is a file; give a folder as {self.flag}.")
            if tf.io.gfile.exists(self.path) and self._foreign_files():
                raise SettingsError(
                    f"{self.path} is not empty and holds no config.json of ours; "
                    f"give a new or empty folder as {self.flag}."
                )
            tf.io.gfile.makedirs(self.path)
        except tf.errors.OpError as error:
            raise DataError(
                f"cannot make {self.path} ({error.message}); {CHOOSE_ANOTHER}"
            ) from error

    def _foreign_files(self):
        """What is in the folder, without the part of config.json that a killed start left."""
        started = re.compile(r"config\.json\.[0-9a-f]{8}\.tmp")
        return [name for name in tf.io.gfile.listdir(self.path) if not started.fullmatch(name)]

    def check_same(self, mode, settings, free, dataset):
        """Refuses a folder that belongs to another run; arguments and errors as of `claim`."""
        stored = read_json(self.join("config.json"))
        if stored.get("mode") != mode:
            raise SettingsError(
                f"{self.path} holds a {stored.get('mode')} run, not a {mode} run; "
                f"give another {self.flag}."
            )
        old = stored.get("settings", {})
        differing = sorted(
            name for name in settings if name not in free and old.get(name) != settings[name]
        )
        if differing:
            pairs = ", ".join(f"--{n}={settings[n]} (was {old.get(n)})" for n in differing)
            raise SettingsError(
                f"{self.path} holds a run with other settings: {pairs}; "
                f"repeat the old settings to resume, or give another {self.flag}."
            )
        before = stored.get("dataset", {}).get("fingerprint")
        now = dataset.get("fingerprint")
        if before != now:
            raise SettingsError(
                f"the images of {dataset.get('name')} changed since {self.path} was started "
                f"(fingerprint {before} -> {now}); give another {self.flag}."
            )
