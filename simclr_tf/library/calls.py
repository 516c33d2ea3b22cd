"""From keyword arguments to the runner of a mode: the library's counterpart of the command line."""

import contextlib
import importlib
import io
import json
import os
import re
from typing import Any, Dict, Iterator, Mapping

from simclr_tf.config import MODES
from simclr_tf.errors import SettingsError, UserError
from simclr_tf.flags.hints import OFFICIAL, nearest
from simclr_tf.flags.parse import settle
from simclr_tf.flags.places import check_places
from simclr_tf.flags.terminal import import_quietly

FUNCTIONS = (
    "pretrain",
    "finetune",
    "distill",
    "linear_eval",
    "knn",
    "probe",
    "transfer",
    "study",
    "tune",
    "embed",
    "export",
    "import_weights",
    "views",
    "report",
    "compare",
    "search",
)
"""The modes that are functions of the library."""

_HELP = re.compile(r"python -m simclr_tf --mode=(\w+) --help")
_MODE = re.compile(r"--mode=(\w+)")
_FLAG = re.compile(r"(?<![\w-])--(\w+)")


def run(
    mode: str,
    settings: Mapping[str, Any],
    *,
    preset: str = "",
    quiet: bool = False,
    note: str = "",
) -> Any:
    """Runs a mode.

    Args:
        mode: name of the mode.
        settings: {setting name: value}; None stands for a setting that was not given.
        preset: name of a preset, "none", or "" for the mode's choice.
        quiet: print nothing.
        note: line to print once the settings are known to be right.
    Returns:
        what the runner of the mode returns.
    Raises:
        UserError: as the command line; the sentence names keyword arguments instead of flags.
    """
    with in_python_words():
        check_names(mode, settings)
        values = {name: plain(value) for name, value in settings.items() if value is not None}
        settled = settle(mode, preset, values)
        check_places(settled.config, settled.given)
        module, function = MODES[mode].runner.split(":")
        process_kept = import_quietly("simclr_tf.stack").process_kept
        with _silence() if quiet else contextlib.nullcontext():
            for line in filter(None, (note, settled.note)):
                print(in_python(line), flush=True)
            runner = getattr(importlib.import_module(module), function)
            chosen = importlib.import_module("simclr_tf.commands.chosen_precision")
            with process_kept():
                return runner(chosen.settle(settled.config), settled.given)


def check_names(mode: str, settings: Mapping[str, Any]) -> None:
    """Refuses a keyword that is no setting of a mode; arguments as of `run`.

    Raises:
        SettingsError: its sentence suggests the nearest name.
    """
    for name in settings:
        if name in MODES[mode].settings:
            continue
        owners = [f"simclr_tf.{one}" for one in FUNCTIONS if name in MODES[one].settings]
        if owners:
            raise SettingsError(
                f"{name} is a setting of {' and '.join(owners)}, not of simclr_tf.{mode}: leave it "
                "out."
            )
        if name in OFFICIAL:
            words = in_python(OFFICIAL[name])
            raise SettingsError(f"{name} is not a setting of simclr_tf.{mode}: {words}.")
        raise SettingsError(
            f"{name} is not a setting of simclr_tf.{mode}{nearest(name, MODES[mode].settings)}; "
            f"help(simclr_tf.{mode}) lists them all."
        )


def plain(value: Any) -> Any:
    """A value as settings hold it.

    Args:
        value: a path (os.PathLike) becomes text, a NumPy number a Python one, a list or tuple a
            comma-separated text, and a dict a list of NAME=VALUE.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}={plain(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(str(plain(one)) for one in value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def plain_dict(results: Any) -> Dict[str, Any]:
    """Results as their JSON file holds them; {} for those of a dry run."""
    return json.loads(json.dumps(results)) if results else {}


def in_python(sentence: str) -> str:
    """A sentence of the command line with keyword arguments and functions instead of flags."""
    sentence = _HELP.sub(r"help(simclr_tf.\1)", sentence)
    sentence = _MODE.sub(r"simclr_tf.\1", sentence)
    return _FLAG.sub(r"\1", sentence)


@contextlib.contextmanager
def in_python_words() -> Iterator[None]:
    """Around a call: errors that a user can mend speak of keyword arguments."""
    try:
        yield
    except UserError as error:
        error.args = (in_python(str(error)), *error.args[1:])
        raise


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def function(name: str) -> Any:
    """The public function of that name; looked up late, because functions return the objects."""
    return getattr(importlib.import_module("simclr_tf"), name)
