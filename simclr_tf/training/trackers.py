"""MLflow and Weights & Biases as loggers, through their own packages.

Neither goes online by itself: MLflow writes to a database beside the run folder, W&B to the run
folder. The variables of the two packages (MLFLOW_TRACKING_URI, WANDB_MODE) say otherwise.
`trackers.json` of the run folder holds their run ids, so that a resumed run goes on in the same one. It
counts in the folder for which it was written only: one that came from elsewhere starts nothing.
"""

import logging
import math
import os

from packaging.version import Version

from simclr_tf.errors import DataError, SettingsError, first_line
from simclr_tf.files import is_remote
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.stack import tf
from simclr_tf.training.loggers import Logger

_LOG = logging.getLogger(__name__)
NAME = "trackers.json"
PROJECT = "simclr_tf"
_PLACE = "folder"  # where trackers.json was written
_LONGEST = 500  # characters of a parameter
_JOINS = (0, 30)  # first version of W&B whose offline parts say that they belong together


def stored_ids(folder):
    """{name of a tracker: run id} of a RunFolder, {} without or if the folder was copied."""
    path = folder.join(NAME)
    found = read_json(path) if tf.io.gfile.exists(path) else {}
    if not isinstance(found, dict) or found.get(_PLACE) != _place(folder):
        return {}
    return {name: run for name, run in found.items() if name in TRACKERS}


def _place(folder):
    return folder.path if is_remote(folder.path) else os.path.realpath(folder.path)


def _store(folder, **ids):
    write_json(folder.join(NAME), {**stored_ids(folder), **ids, _PLACE: _place(folder)})


def _finite(values):
    """The figures that are numbers: {name: float}."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def run_name(folder):
    """What a run is called: the last part of its folder, of an evaluation the last three."""
    parts = os.path.abspath(folder.path).split(os.sep)
    below = next((at for at in (-2, -3) if len(parts) > -at and parts[at] == "finetune"), None)
    return "/".join(parts[below - 1 :]) if below else parts[-1]


def markdown_of(results):
    """The content of results.json as a Markdown table."""
    rows = [
        f"| {name} | {value} |" for name, value in results.items() if not isinstance(value, dict)
    ]
    return "\n".join(["| figure | value |", "|---|---|", *rows]) + "\n"


class MLflow(Logger):
    """A run of MLflow: in mlflow.db beside the run folder, or at MLFLOW_TRACKING_URI."""

    def __init__(self, folder, settings):
        """Args:
        folder: RunFolder.
        settings: {name: value}, which become parameters.
        """
        # it counts how often it is used and sends that home, unless it is told not to
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        artifacts = None
        known = stored_ids(folder).get("mlflow")
        if not uri:
            uri, artifacts = _local_store(folder)
        try:
            import mlflow

            logging.getLogger("mlflow").setLevel(logging.WARNING)
            logging.getLogger("alembic").setLevel(logging.WARNING)
            self._mlflow = mlflow
            self._client = mlflow.MlflowClient(uri)
            self._run = self._open(folder, known, settings, artifacts)
        except Exception as error:  # of MLflow, its database, or a server
            raise DataError(
                f"MLflow cannot use {uri} ({first_line(error)}); set MLFLOW_TRACKING_URI to another "
                "store, or leave mlflow out of --loggers."
            ) from error
        print(f"MLflow: run {self._run} of {uri}", flush=True)

    def _open(self, folder, known, settings, artifacts):
        """The id of the run, which is made if it is new; known: the stored one, or None."""
        client = self._client
        if known is not None:
            try:
                client.update_run(known, status="RUNNING")
                return known
            except self._mlflow.MlflowException:
                _LOG.warning("MLflow does not know the run %s any more: a new one begins", known)
        found = client.get_experiment_by_name(PROJECT)
        experiment = found.experiment_id if found else client.create_experiment(PROJECT, artifacts)
        made = client.create_run(experiment, run_name=run_name(folder)).info.run_id
        parameters = [
            self._mlflow.entities.Param(name, str(value)[:_LONGEST])
            for name, value in settings.items()
        ]
        for start in range(0, len(parameters), 100):
            client.log_batch(made, params=parameters[start : start + 100])
        client.set_tag(made, "run_folder", os.path.abspath(folder.path))
        _store(folder, mlflow=made)
        return made

    def scalars(self, step, values):
        import time

        now = int(1000 * time.time())
        metrics = [
            self._mlflow.entities.Metric(name, value, now, step)
            for name, value in _finite(values).items()
        ]
        self._client.log_batch(self._run, metrics=metrics)

    def image(self, step, name, pixels):
        self._client.log_image(self._run, pixels, artifact_file=f"pictures/{name}_{step:08d}.png")

    def results(self, results):
        self._client.log_dict(self._run, results, f"{results.get('mode', 'results')}.json")
        self._client.log_text(
            self._run, markdown_of(results), f"{results.get('mode', 'results')}.md"
        )

    def close(self, status):
        words = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(self._run, words[status])


def _local_store(folder):
    """(URI of the database, URI of the artifacts) beside a local run folder."""
    if is_remote(folder.path):
        raise SettingsError(
            f"loggers=mlflow keeps its database beside the run folder, but {folder.path} is not on "
            "this machine; set MLFLOW_TRACKING_URI."
        )
    beside = os.path.dirname(os.path.abspath(folder.path))
    if set(beside) & set("?#%"):
        raise SettingsError(
            f"loggers=mlflow cannot name its database in {beside}, because of ?, # or %; set "
            "MLFLOW_TRACKING_URI."
        )
    return (
        f"sqlite:///{os.path.join(beside, 'mlflow.db')}",
        f"file://{os.path.join(beside, 'mlartifacts')}",
    )


class WandB(Logger):
    """A run of Weights & Biases, offline unless WANDB_MODE says otherwise."""

    def __init__(self, folder, settings):
        """Args:
        folder: RunFolder.
        settings: {name: value}.
        """
        mode = os.environ.get("WANDB_MODE") or "offline"
        if mode != "online":  # it would report its own errors to its makers
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if is_remote(folder.path):
            raise SettingsError(
                f"loggers=wandb writes to the run folder, but {folder.path} is not on this machine; "
                "leave wandb out of --loggers."
            )
        known = stored_ids(folder).get("wandb")
        try:
            import wandb

            self._wandb = wandb
            joins = _version_of(wandb) >= _JOINS
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or PROJECT,
                name=run_name(folder),
                id=known,
                resume="allow" if mode == "online" or (known and joins) else None,
                dir=folder.path,
                config=dict(settings),
                mode=mode,
                save_code=False,
                settings=wandb.Settings(console="off", silent=True, reinit="create_new"),
            )
        except Exception as error:  # of its service, or of its server
            raise DataError(
                f"Weights & Biases cannot be started ({first_line(error)}); leave wandb out of --loggers."
            ) from error
        _store(folder, wandb=self._run.id)
        where = folder.join("wandb")
        later = ""
        if mode == "offline":
            option = "--append " if known and not joins else ""
            what = "all parts of it, which are one run" if known else "it"
            later = f"; wandb sync {option}{where}/offline-run-*-{self._run.id}* uploads {what}"
        print(f"Weights & Biases: run {self._run.id}, {mode}, in {where}{later}", flush=True)

    def scalars(self, step, values):
        self._run.log(_finite(values), step=step)

    def image(self, step, name, pixels):
        self._run.log({name: self._wandb.Image(pixels)}, step=step)

    def histogram(self, step, name, values):
        self._run.log({name: self._wandb.Histogram(values)}, step=step)

    def results(self, results):
        self._run.summary.update(_finite(results))
        rows = [
            [name, str(value)] for name, value in results.items() if not isinstance(value, dict)
        ]
        table = self._wandb.Table(columns=["figure", "value"], data=rows)
        self._run.log({f"{results.get('mode', 'run')}_results": table})

    def close(self, status):
        self._run.finish(exit_code=0 if status == "finished" else 1)


def _version_of(package):
    """(major, minor) of a package."""
    return Version(package.__version__).release[:2]


TRACKERS = {"mlflow": MLflow, "wandb": WandB}


def add_results(folder, results, title):
    """Adds the results of an evaluation to the runs that a training began; else does nothing.

    A package that is gone, or a store that cannot be written, is a warning: the evaluation is done.

    Args:
        folder: RunFolder of the training.
        results: content of results.json.
        title: names the table, such as linear_eval.
    """
    try:
        names = list(stored_ids(folder))
    except DataError as error:  # it is damaged
        _LOG.warning("neither MLflow nor W&B got the results of %s: %s", title, error)
        return
    if not names:
        _LOG.warning(
            "%s was written for another folder, so neither MLflow nor W&B got the results of %s",
            folder.join(NAME),
            title,
        )
    for name in names:
        try:
            tracker = TRACKERS[name](folder, {})
            tracker.results({**results, "mode": title})
            tracker.close("finished")
        except Exception as error:  # noqa: BLE001 - see above
            _LOG.warning("%s did not get the results of %s (%s: %s)", name, title, type(error).__name__, error)  # fmt: skip
