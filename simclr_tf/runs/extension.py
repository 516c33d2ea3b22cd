"""A finished run goes on with one more round of its schedule: the setting `extend_epochs`."""

import dataclasses

from simclr_tf.errors import SettingsError
from simclr_tf.runs.checkpoint_state import newest
from simclr_tf.runs.checkpoints import read_step
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.stack import tf

_FILE = "extensions.json"


def extended(folder, epochs, steps):
    """The steps of a run with its extensions.

    extensions.json lists the values of `extend_epochs` that the run was extended to so far.

    Args:
        folder: RunFolder; epochs: the setting; steps: length.Steps without extensions.
    Returns:
        length.Steps, and what `record` is to write: list of int.
    Raises:
        SettingsError: the run is not finished, or was extended by more than `epochs` already.
    """
    path = folder.join(_FILE)
    ends = []
    if folder.path and tf.io.gfile.exists(path):
        ends = read_json(path)["extend_epochs"]
    last = ends[-1] if ends else 0
    if epochs < last:
        raise SettingsError(
            f"extend_epochs={epochs} is less than the {last} epochs that {folder.path} was "
            f"extended by; repeat --extend_epochs={last} to resume, or give more to extend it."
        )
    if epochs > last:
        _check_finished(folder, epochs, _with_rounds(steps, ends).total)
        ends = [*ends, epochs]
    return _with_rounds(steps, ends), ends


def record(folder, ends):
    """Writes what `extended` returned; the run is extended from then on."""
    if ends:
        write_json(folder.join(_FILE), {"extend_epochs": ends})


def _with_rounds(steps, ends):
    lengths = [(end - start) * steps.per_epoch for start, end in zip([0, *ends], ends)]
    return dataclasses.replace(steps, total=steps.total + sum(lengths), rounds=tuple(lengths))


def _check_finished(folder, epochs, total):
    latest = newest(folder.join("checkpoints")) if folder.path else None
    if latest is None:
        raise SettingsError(
            f"extend_epochs={epochs} continues a finished run and {folder.path or 'no folder'} "
            "holds none; leave it out, or give the --model_dir of one."
        )
    step = read_step(latest)
    if step != total:
        raise SettingsError(
            f"extend_epochs={epochs} continues a finished run and {folder.path} is at step {step} "
            f"of {total}; finish it by its own command first."
        )
