"""Where the figures and pictures of a training go beside metrics.jsonl: the setting `loggers`.

TensorBoard and a CSV file are written here. MLflow and Weights & Biases are in `trackers.py`.
"""

import contextlib
import csv
import importlib.util
import io
import json
import logging
import math

from simclr_tf.config import listed
from simclr_tf.errors import PreemptedError, SettingsError
from simclr_tf.files import write_atomically
from simclr_tf.runs.metrics_log import metrics_lines
from simclr_tf.runs.projector_files import write_points
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)
# what a logger imports: what pip calls it
_PACKAGES = {
    "mlflow": {"mlflow": "mlflow-skinny", "sqlalchemy": "sqlalchemy", "alembic": "alembic"},
    "wandb": {"wandb": "wandb"},
}


def check(names):
    """Refuses a logger whose package is missing; imports nothing.

    Args:
        names: the setting `loggers`.
    Raises:
        SettingsError: a package is missing.
    """
    for name in listed(names):
        packages = _PACKAGES.get(name, {})
        missing = [called for one, called in packages.items() if not _is_installed(one)]
        if missing:
            raise SettingsError(
                f"loggers={names} needs {' and '.join(missing)}, not installed here; run "
                f"pip install {' '.join(missing)}, or leave {name} out."
            )


def _is_installed(package):
    """Whether a package can be imported; a mere folder of that name, as W&B makes one, is none."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None


class Logger:
    """One place for figures and pictures; every method may be left as it is."""

    def scalars(self, step, values):
        """Figures of a step: {name: float}."""

    def image(self, step, name, pixels):
        """A picture, uint8 [h, w, 3]."""

    def histogram(self, step, name, values):
        """How the values float [n] are distributed."""

    def points(self, rows, pictures, lines):
        """Embeddings float [n, d] for a projector, see `write_points`."""

    def results(self, results):
        """The content of results.json."""

    def close(self, status):
        """Nothing comes after it; status: "finished", "stopped" (goes on later) or "failed"."""


class TensorBoard(Logger):
    """Event files in the folder logs; the projector beside them.

    Args:
        folder: RunFolder.
        start: step that the training starts from.
        settings: {name: value}.
    """

    def __init__(self, folder, start, settings):
        self._logs = folder.join("logs")
        self._writer = tf.summary.create_file_writer(self._logs)
        rows = [f"| {name} | {_cell(value)} |" for name, value in settings.items()]
        with self._writer.as_default(start):
            tf.summary.text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))
        self._writer.flush()

    def scalars(self, step, values):
        with self._writer.as_default(step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def image(self, step, name, pixels):
        with self._writer.as_default(step):
            tf.summary.image(name, pixels[None])
        self._writer.flush()

    def histogram(self, step, name, values):
        with self._writer.as_default(step):
            tf.summary.histogram(name, values, buckets=50)
        self._writer.flush()

    def points(self, rows, pictures, lines):
        write_points(self._logs, rows, pictures, lines, below="projector")

    def close(self, status):
        self._writer.close()


class CsvFile(Logger):
    """metrics.csv: one row per logged step, one column per figure; an empty cell is no value.

    It is made from metrics.jsonl at the start, so it has the rows of earlier parts of the run.
    """

    def __init__(self, folder, start):
        self._path = folder.join("metrics.csv")
        lines = metrics_lines(folder.join("metrics.jsonl"), start)
        self._rows = [json.loads(line) for line in lines]
        self._columns = ["step"]
        self._write()

    def _write(self):
        """The whole file, as for a new column."""
        for row in self._rows:
            self._columns += [name for name in row if name not in self._columns]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._columns)
        writer.writerows(map(self._cells, self._rows))
        write_atomically(self._path, text.getvalue())

    def _cells(self, row):
        return ["" if row.get(name) is None else row[name] for name in self._columns]

    def scalars(self, step, values):
        row = {"step": step, **{name: one for name, one in values.items() if math.isfinite(one)}}
        self._rows.append(row)
        if not set(row) <= set(self._columns):
            self._write()
            return
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(self._cells(row))
        with tf.io.gfile.GFile(self._path, "a") as file:
            file.write(text.getvalue())


def _cell(value):
    """A value as a cell of a Markdown table."""
    return f"`{value}`".replace("|", "\\|") if value != "" else ""


class Loggers(Logger):
    """Several loggers as one. One that fails is left out from then on, with a warning.

    A training of days must not end because a disk or a server of figures is away: metrics.jsonl
    has them all.
    """

    def __init__(self, named):
        """Args:
        named: {name: Logger}.
        """
        self._named = dict(named)

    def __bool__(self):
        return bool(self._named)

    def add(self, name, logger):
        """Adds a logger."""
        self._named[name] = logger

    @property
    def shows_pictures(self):
        """Whether one of them takes pictures."""
        return bool(set(self._named) - {"csv"})

    def _each(self, method, *arguments):
        for name, logger in list(self._named.items()):
            try:
                getattr(logger, method)(*arguments)
            except Exception as error:  # noqa: BLE001 - of any package; see above
                del self._named[name]
                _LOG.warning(
                    "the logger %s failed (%s: %s) and is left out from here on; metrics.jsonl "
                    "goes on",
                    *(name, type(error).__name__, error),
                )

    def scalars(self, step, values):
        self._each("scalars", step, values)

    def image(self, step, name, pixels):
        self._each("image", step, name, pixels)

    def histogram(self, step, name, values):
        self._each("histogram", step, name, values)

    def points(self, rows, pictures, lines):
        self._each("points", rows, pictures, lines)

    def results(self, results):
        self._each("results", results)

    def close(self, status):
        self._each("close", status)


@contextlib.contextmanager
def opened(config, folder, start, chief=True):
    """Around a training: the loggers of its settings.

    Args:
        config: config with the sections run and training, resolved.
        folder: RunFolder.
        start: step that the training starts from.
        chief: whether this process writes; the others get no logger.
    Yields:
        Loggers.
    Raises:
        SettingsError: see `check`.
        DataError: MLflow or W&B cannot be started.
    """
    from simclr_tf import config as settings_of

    names = listed(config.training.loggers) if chief else ()
    check(",".join(names))
    settings = settings_of.flatten(config)
    loggers = Loggers({})
    status = "failed"
    try:
        for name in names:
            if name == "tensorboard":
                loggers.add(name, TensorBoard(folder, start, settings))
            elif name == "csv":
                loggers.add(name, CsvFile(folder, start))
            else:
                from simclr_tf.training import trackers

                loggers.add(name, trackers.TRACKERS[name](folder, settings))
        yield loggers
        status = "finished"
    except PreemptedError:
        status = "stopped"
        raise
    finally:
        loggers.close(status)
