"""Presets: `presets/NAME.flags`, one `--name=value` per line, `#` for comments.

A preset names its mode itself (`--mode=pretrain` in the file), since names such as
`train_epochs` mean different things in different modes. The comment on its first line says in one
sentence what it is.
"""

import pathlib

from simclr_tf.flags.hints import nearest

from simclr_tf.errors import SettingsError

FOLDER = pathlib.Path(__file__).parent / "presets"


def preset_names():
    """The names of all presets, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.flags"))


def read_preset(name):
    """The flags of a preset, as arguments of the command line.

    Raises:
        SettingsError: there is no such preset.
    """
    names = preset_names()
    if name not in names:
        raise SettingsError(
            f"--preset={name} does not exist{nearest(name, names)}; the presets are "
            f"{', '.join(names)}."
        )
    lines = (FOLDER / f"{name}.flags").read_text(encoding="utf-8").splitlines()
    lines = [line.split("#")[0].strip() for line in lines]
    return [line for line in lines if line]


def preset_summary(name):
    """(mode, first comment line) of a preset, for `--help`."""
    text = (FOLDER / f"{name}.flags").read_text(encoding="utf-8")
    return preset_mode(name), text.splitlines()[0].lstrip("# ")


def preset_mode(name):
    """The mode that a preset is for."""
    modes = [line for line in read_preset(name) if line.startswith("--mode=")]
    return modes[0].split("=", 1)[1]
