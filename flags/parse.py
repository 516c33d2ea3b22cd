"""From the arguments of a command line to (mode, config, given).

The mode stands first (`pretrain ...`) or anywhere as `--mode=pretrain`. Two stages: mode, `--preset`
and `--help` first, because they decide which flags exist; then
the flags of the mode, those of the preset below those of the command line.
"""

import contextlib
import dataclasses
import platform
import sys
import typing
from importlib import metadata

from absl import flags as absl_flags
from simclr_tf.flags import build, preset_files
from simclr_tf.flags.help import help_text
from simclr_tf.flags.hints import nearest, official_command, unknown_flag

from simclr_tf import config
from simclr_tf.config import MODES
from simclr_tf.errors import SettingsError
from simclr_tf.version import __version__


def parse(argv):
    """Reads a command line.

    Args:
        argv: list of str, the arguments after the program's name.
    Returns:
        (mode, config, given): the name of the mode, its dataclass of `simclr_tf.config`, and the
        frozenset of names of settings that the command line or a preset has set.
    Raises:
        SettingsError: anything in `argv` that cannot be used.
        SystemExit: help or the version was asked for and has been printed.
    """
    if argv and not argv[0].startswith("-"):
        argv = [f"--mode={argv[0]}", *argv[1:]]
    settings = {name: module.settings for name, module in MODES.items()}
    official = official_command(argv, settings)
    if official:
        raise SettingsError(official)
    front = build.front_flags()
    rest = call_absl(front, argv, known_only=True)
    if front["version"].value:
        print(version_text())
        sys.exit(0)
    mode = front["mode"].value
    preset = front["preset"].value
    if preset and preset != "none":
        mode = mode or preset_files.preset_mode(preset)
    asked = [name for name in ("helpfull", "help", "helpshort", "h") if front[name].value]
    if asked:
        if mode:
            find_mode(mode)
        print(help_text(mode, full=asked[0] == "helpfull"))
        sys.exit(0)
    find_mode(mode)
    settled = settle(mode, preset, parse_settings(mode, rest))
    if settled.note and not front["quiet"].value:
        print(settled.note, flush=True)
    return mode, settled.config, settled.given


def wants_quiet(argv) -> bool:
    """Whether a command line that `parse` has accepted asks for `--quiet`."""
    front = build.front_flags()
    call_absl(front, argv, known_only=True)
    return front["quiet"].value


@dataclasses.dataclass(frozen=True)
class Settled:
    """The settings of one run.

    Attributes:
        config: dataclass of `simclr_tf.config`.
        given: names of the settings that the user or a preset has set.
        note: a line that says which preset was chosen for the user; "" if none was.
    """

    config: config.ModeConfig
    given: typing.FrozenSet[str]
    note: str = ""


def settle(mode: str, preset: str, values: typing.Dict[str, typing.Any]) -> Settled:
    """Puts the values that a user gave above those of the preset, and checks them.

    The command line and the library both come by here.

    Args:
        mode: name of a mode.
        preset: name of a preset, "none", or "" for the one that the mode chooses.
        values: {setting name: value} that the user gave.
    Raises:
        SettingsError: a value, the preset or their combination cannot be used, or a setting is
            missing.
    """
    note = ""
    if not preset:
        chosen = MODES[mode].default_preset(values)
        preset = "none"
        if chosen is not None:
            preset = chosen[0]
            note = f"no --preset given: using --preset={preset} ({chosen[1]})"
    values = {**preset_values(mode, preset, values), **values}
    check_required(mode, MODES[mode], values)
    return Settled(config.build(MODES[mode].config, values), frozenset(values), note)


def version_text():
    """The line of `--version`; no package is imported for it."""
    versions = [f"Python {platform.python_version()}"]
    for package in ("tensorflow", "tf-keras"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    return f"simclr_tf {__version__} ({', '.join(versions)})"


def find_mode(name):
    """The config.Mode named `name`.

    Raises:
        SettingsError: no mode is named, or there is none of this name.
    """
    if not name:
        raise SettingsError(
            f"the mode is missing: give one of {', '.join(MODES)}, such as python -m simclr_tf "
            "pretrain, or see python -m simclr_tf --help."
        )
    if name not in MODES:
        raise SettingsError(
            f"--mode={name} does not exist{nearest(name, MODES)}; the modes are {', '.join(MODES)}."
        )
    return MODES[name]


def call_absl(flag_values, argv, known_only=False):
    """Parses `argv` into `flag_values` and returns what is left over."""
    try:
        return flag_values(["simclr_tf", *argv], known_only=known_only)[1:]
    except absl_flags.UnrecognizedFlagError:
        raise
    except (absl_flags.Error, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        text = str(error).strip().rstrip(".")
        raise SettingsError(f"{text}; flags are written --name=value.") from error


def parse_settings(mode, argv):
    """{name: value} of the settings of a mode that `argv` gives."""
    flag_values = build.mode_flags(MODES[mode])
    try:
        left_over = call_absl(flag_values, argv)
    except absl_flags.UnrecognizedFlagError as error:
        settings = {name: module.settings for name, module in MODES.items()}
        raise SettingsError(unknown_flag(error.flagname, mode, settings)) from error
    if left_over and left_over[0] in MODES:
        raise SettingsError(
            f"{left_over[0]} stands behind the flags: write the mode first, as in "
            f"python -m simclr_tf {left_over[0]} --flag=value, or --mode={left_over[0]}."
        )
    if left_over:
        raise SettingsError(
            f"{left_over[0]!r} is not a flag: flags are written --name=value, and switches "
            "--name, --noname or --name=False."
        )
    return build.given_values(flag_values)


def preset_values(mode, preset, values):
    """{name: value} of a preset, for the settings that a user gave.

    The preset "none" has no values. Images that the user gave replace those of the preset.
    """
    if preset == "none":
        return {}
    arguments = preset_files.read_preset(preset)
    made_for = preset_files.preset_mode(preset)
    if made_for != MODES[mode].preset_mode:
        raise SettingsError(
            f"--preset={preset} is for --mode={made_for}, not --mode={mode}; presets of this mode: "
            f"{', '.join(presets_of(mode)) or 'none, leave --preset out'}."
        )
    settings = [line for line in arguments if not line.startswith("--mode=")]
    found = parse_settings(made_for, settings)
    found = {name: found[name] for name in found if name in MODES[mode].settings}
    if "image_dir" in values or "shards" in values:
        for name in ("dataset", "train_split", "eval_split"):
            found.pop(name, None)
    return found


def presets_of(mode):
    """The names of the presets that are for this mode."""
    made_for = MODES[mode].preset_mode
    names = preset_files.preset_names()
    return [name for name in names if preset_files.preset_mode(name) == made_for]


def check_required(mode, module, values):
    """Refuses a command without the settings that its mode cannot guess."""
    for name in module.required:
        if not values.get(name) and not (name == "model_dir" and values.get("dry_run")):
            meta = config.fields_of(module.config)[name][1].metadata
            kind, example = ("PATH", "runs/first") if meta["path"] else ("NAME", meta["each_of"][0])
            if meta["path"] == config.PLACES:
                example = "photo.jpg"
            raise SettingsError(
                f"--mode={mode} needs --{name}={kind} ({meta['help'].rstrip('.')}); "
                f"add it, such as --{name}={example}."
            )
    named = [name for name in ("image_dir", "shards", "dataset") if values.get(name)]
    if len(named) > 1:
        raise SettingsError(
            f"--{named[0]}={values[named[0]]} and --{named[1]}={values[named[1]]} contradict each "
            "other: leave one out."
        )
