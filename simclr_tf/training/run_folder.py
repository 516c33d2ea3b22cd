"""The run folder: config.json, metrics.jsonl, results.json and arrays, all written atomically.

Works on every file system of tf.io.gfile (local disk, gs://, ram://).
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import re
import uuid

import numpy as np

from simclr_tf.errors import DataError, SettingsError, first_line
from simclr_tf.stack import keras, tf

_CHECKSUM = "file_checksum"
_NO_REMEDY = "choose a folder that you can write to."


def write_atomically(path, content):
    """Writes text or bytes so that a reader sees the old file or the new one, never a part.

    Raises:
        DataError: the file cannot be written; the old one is intact.
    """
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"  # a process id is not unique over machines
    try:
        with tf.io.gfile.GFile(temporary, "wb" if isinstance(content, bytes) else "w") as file:
            file.write(content)
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except tf.errors.OpError as error:
        with contextlib.suppress(tf.errors.OpError):  # a full disk leaves a part of it
            tf.io.gfile.remove(temporary)
        raise DataError(f"cannot write {path} ({error.message}); {_NO_REMEDY}") from error


def write_json(path, content):
    """Writes JSON (UTF-8, indented, one final newline) atomically; see write_atomically.

    Args:
        path: of the file.
        content: dict; the file also holds its checksum, so that a digit that a bad disk changed
            is not taken for a setting or a result.
    """
    whole = {**content, _CHECKSUM: _checksum(content)}
    write_atomically(path, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def read_json(path):
    """The content of a JSON file of `write_json`, without its checksum.

    Raises:
        DataError: the file is missing, unreadable, not JSON or does not fit its checksum.
    """
    try:
        with tf.io.gfile.GFile(path) as file:
            content = json.loads(file.read())
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except (tf.errors.OpError, ValueError) as error:
        raise DataError(f"cannot read {path} ({first_line(error)}); give an intact run folder.") from error
    expected = content.pop(_CHECKSUM, None)  # absent: of a hand-made file
    if expected not in (None, _checksum(content)):
        raise DataError(
            f"{path} was changed after it was written; restore it, or remove its "
            f'"{_CHECKSUM}" to have it read as it is.'
        )
    return content


def _checksum(content):
    stored = json.loads(json.dumps(content))  # keys that are numbers become text, and sort as such
    canonical = json.dumps(stored, sort_keys=True).encode()
    return hashlib.sha256(canonical).hexdigest()[:16]


def write_array(path, array):
    """Writes a NumPy array (.npy, no objects) atomically; see write_atomically."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    write_atomically(path, content.getvalue())


def read_array(path):
    """The NumPy array of a file of `write_array`.

    Raises:
        DataError: the file is missing, unreadable or no array.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return np.load(io.BytesIO(file.read()), allow_pickle=False)
    except (tf.errors.OpError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {path} ({first_line(error)}); give an intact run folder.") from error


def clear_half_written(folder):
    """Removes what a killed save left in a folder of checkpoints: its temporary folders.

    TensorFlow uses them again only if the same step is saved again.
    """
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    for name in names:
        if name.rstrip("/").endswith("_temp"):
            with contextlib.suppress(tf.errors.NotFoundError):  # another worker was faster
                tf.io.gfile.rmtree(os.path.join(folder, name))


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
        self.path, self.flag = path, flag

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
            raise DataError(f"cannot make {self.path} ({error.message}); {_NO_REMEDY}") from error

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
        before, now = stored.get("dataset", {}).get("fingerprint"), dataset.get("fingerprint")
        if before != now:
            raise SettingsError(
                f"the images of {dataset.get('name')} changed since {self.path} was started "
                f"(fingerprint {before} -> {now}); give another {self.flag}."
            )


class MetricsLog:
    """metrics.jsonl: one JSON object per logged step, in step order.

    Lines after `step` are dropped when the log is opened: a killed run may have logged steps that
    its last checkpoint does not know, and the resumed run logs them again.
    """

    def __init__(self, path, step):
        self.path = path
        if tf.io.gfile.exists(path):
            lines = metrics_lines(path, step)
            write_atomically(path, "".join(line + "\n" for line in lines))

    def append(self, record):
        """Adds one line; `record` has the key "step"."""
        try:
            with tf.io.gfile.GFile(self.path, "a") as file:
                file.write(json.dumps(record) + "\n")
        except tf.errors.OpError as error:
            raise DataError(f"cannot write {self.path} ({error.message}); {_NO_REMEDY}") from error


def metrics_lines(path, step=float("inf")):
    """The whole lines of a metrics.jsonl up to a step, list of str; [] without the file."""
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as file:
        return [line for line in file.read().splitlines() if _step(line, step)]


def _step(line, limit):
    """Whether a line is whole and belongs to a step up to `limit`."""
    try:
        return json.loads(line)["step"] <= limit
    except (ValueError, KeyError, TypeError):
        return False  # the line that a kill cut short
