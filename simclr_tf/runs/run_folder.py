"""The run folder: a folder that belongs to one mode with one set of settings."""

import logging
import os
import platform

from simclr_tf import config as settings_of
from simclr_tf import names
from simclr_tf.data.memory import is_address
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.files import CHOOSE_ANOTHER, is_leftover, remove_leftovers
from simclr_tf.runs import lock
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.stack import keras, tf

FORMAT = 1  # of config.json, checkpoints and metrics.jsonl; see docs/contributing.md

_LOG = logging.getLogger(__name__)

UPGRADES = {}  # {format: function from a config.json of that format to one of the next}

# what a run writes before it has done any work
_RESTARTS = "restarts.json"
_OF_A_START = {
    "config.json",
    lock.NAME,
    "quarantine.txt",
    "identity.json",
    "extensions.json",
    "starts.json",
    _RESTARTS,
}
# what the steps of a run leave
_OF_STEPS = ("checkpoints", "best", "logs", "metrics.jsonl", "results.json")


def versions():
    """{package: version} of what shapes the numbers of a run."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "tf_keras": keras.__version__,
    }


def read_config(path):
    """The content of a config.json in today's format.

    Raises:
        DataError: it is missing or damaged, or a later version wrote it in a format of its own.
    """
    return upgraded(read_json(path), path, FORMAT, UPGRADES)


def upgraded(content, path, today, upgrades):
    """What a file of an earlier format says, in today's.

    Args:
        content: dict; its "format" is 1 where it is missing.
        path: of the file, for the error.
        today: the format of this version.
        upgrades: {format: function from a content of that format to one of the next}.
    Raises:
        DataError: the format is none that this version knows.
    """
    found = content.get("format", 1)  # the first runs did not say it
    if type(found) is not int or not 1 <= found <= today:
        raise DataError(
            f"{path} has format {found}, this version of simclr_tf reads 1 to {today}; use the "
            "version that wrote it."
        )
    for number in range(found, today):
        content = {**upgrades[number](content), "format": number + 1}
    return content


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

    def exists(self, name: str) -> bool:
        """Whether the folder holds a file or folder of this name."""
        return tf.io.gfile.exists(self.join(name))

    def read_text(self, name: str) -> str:
        """The text of a file in the folder."""
        with tf.io.gfile.GFile(self.join(name)) as file:
            return file.read()

    def stored_settings(self) -> dict:
        """{setting name: value} of the run that the folder holds, {} for a new folder."""
        path = self.join("config.json")
        if not self.path or not tf.io.gfile.exists(path):
            return {}
        return read_json(path).get("settings", {})

    def restarted(self) -> bool:
        """Whether the run in the folder was started again with other settings, see `restart`."""
        return self.exists(_RESTARTS)

    def restart(self, settings, reason):
        """Makes a claimed folder that of a run with other settings, which has done no step.

        A kill on the way leaves a run of the old settings without a step, which starts again too.

        Args:
            settings: {setting name: value}, all resolved settings.
            reason: why, in words; it is kept in the folder.
        """
        for name in _OF_STEPS:
            path = self.join(name)
            if tf.io.gfile.isdir(path):
                tf.io.gfile.rmtree(path)
            elif tf.io.gfile.exists(path):
                tf.io.gfile.remove(path)
        write_json(self.join(_RESTARTS), {"reasons": [reason]})
        content = read_config(self.join("config.json"))
        write_json(self.join("config.json"), {**content, "settings": settings})

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
        if not tf.io.gfile.exists(config_path):
            self._make()
        lock.acquire(self.path, self.flag)
        remove_leftovers(self.path)
        resumed = tf.io.gfile.exists(config_path) and self._resumes(mode, settings, free, dataset)
        content = {
            "format": FORMAT,
            "mode": mode,
            "settings": settings,
            "dataset": dataset,
            "versions": versions(),
        }
        write_json(config_path, content)
        return resumed

    def _resumes(self, mode, settings, free, dataset):
        """Whether the folder holds this run; False if what it holds is nothing and goes."""
        try:
            self.check_same(mode, settings, free, dataset)
        except SettingsError:
            if not self._holds_nothing():
                raise
            for name in tf.io.gfile.listdir(self.path):
                path = self.join(name.rstrip("/"))
                if tf.io.gfile.isdir(path):
                    tf.io.gfile.rmtree(path)
                elif name != lock.NAME:
                    tf.io.gfile.remove(path)
            return False
        return True

    def _holds_nothing(self):
        """Whether a run was started here and ended before it wrote anything of worth."""
        for _, _, files in tf.io.gfile.walk(self.path):
            for name in files:
                events = name.startswith("events.out.tfevents.")
                if not (events or name in _OF_A_START or is_leftover(name)):
                    return False
        return True

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
        """What is in the folder, without what a killed start left and the tuning before it."""
        inside = {name.rstrip("/") for name in tf.io.gfile.listdir(self.path)}
        tuned = {"tune"} if self.exists("tune/tune.json") else set()
        return [n for n in inside - tuned if n != lock.NAME and not is_leftover(n)]

    def check_same(self, mode, settings, free, dataset):
        """Refuses a folder that belongs to another run; arguments and errors as of `claim`."""
        stored = read_config(self.join("config.json"))
        if stored.get("mode") != mode:
            raise SettingsError(
                f"{self.path} holds a {stored.get('mode')} run, not a {mode} run; "
                f"give another {self.flag}."
            )
        same_images = self._check_images(stored, settings, dataset)
        old = stored.get("settings", {})
        if mode in settings_of.MODES:  # a setting that the run did not know yet has its default
            kind = settings_of.MODES[mode].config
            fields = settings_of.fields_of(kind).items()
            defaults = {name: field.default for name, (_, field) in fields}
            old = {**defaults, **settings_of.settings_before(kind), **old}
        # of images in memory the fingerprint below says that they are others
        differing = sorted(
            name
            for name in settings
            if name not in free
            and not (same_images and name in settings_of.CHOOSES_IMAGES)
            and old.get(name) != settings[name]
            and not (is_address(str(old.get(name))) and is_address(str(settings[name])))
        )
        if differing:
            pairs = ", ".join(f"--{n}={settings[n]} (was {old.get(n)})" for n in differing)
            raise SettingsError(
                f"{self.path} holds a run with other settings: {pairs}; "
                f"repeat the old settings to resume, or give another {self.flag}."
            )
        before = stored.get("dataset", {}).get("fingerprint")
        now = dataset.get("fingerprint")
        if before != now and not same_images:
            raise SettingsError(
                f"the images of {names.shown(dataset.get('name'))} changed since {self.path} was "
                f"started (fingerprint {before} -> {now}); give another {self.flag}."
            )

    def _check_images(self, stored, settings, dataset):
        """Whether the images are those of the stored run, wherever they lie now.

        Their fingerprint says so: the same names and splits below the folder, which may have been
        moved, or be written in another way. Another folder whose images only have the same names
        is told by their sizes.
        """
        before = stored.get("dataset", {})
        now = dataset.get("fingerprint")
        known = [now, *dataset.get("earlier_fingerprints", ())]
        if not now or before.get("fingerprint") not in known:
            return False
        places = [one.get("image_dir") for one in (stored.get("settings", {}), settings)]
        sizes = [one.get("sizes", "") for one in (before, dataset)]
        others = all(sizes) and sizes[0] != sizes[1]
        if others and places[0] == places[1]:
            _LOG.warning(
                "images of %s have other sizes than when %s was started: some were replaced",
                names.shown(places[1]),
                self.path,
            )
        elif others:
            raise SettingsError(
                f"the images of --image_dir={names.shown(places[1])} have the names of those that "
                f"{self.path} was started with ({names.shown(places[0])}), but other sizes; give "
                f"those images, or another {self.flag}."
            )
        return True


def require_folder(run, example):
    """Refuses a run without a place; run: config.Run; example: of a folder, for the sentence.

    Raises:
        SettingsError: no model_dir is given, and it is not a dry run.
    """
    if not (run.model_dir or run.dry_run):
        raise SettingsError(
            f"model_dir is not given; say where the run goes, such as --model_dir={example}."
        )
