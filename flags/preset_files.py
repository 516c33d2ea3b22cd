"""Presets: `presets/NAME.flags`, one `--name=value` per line, `#` for comments.

A preset names its mode itself (`--mode=pretrain` in the file), since names such as
`train_epochs` mean different things in different modes. The comment on its first line says in one
sentence what it is. A file of the user in this form is a preset too: `--preset=PATH.flags`.
"""

import os
import pathlib

from simclr_tf.flags.hints import nearest

from simclr_tf import config
from simclr_tf.errors import SettingsError

FOLDER = pathlib.Path(__file__).parent / "presets"
MOST_BYTES = 100_000  # of a file of the user
_SECTIONS = ("views", "multi_crop", "model", "loss", "optimizer", "training", "auto")
_OF_FILES = {
    name
    for name, (section, field) in config.fields_of(config.Pretrain).items()
    if section in _SECTIONS and field.metadata["path"] is None
}
_OF_FILES -= {"encoder", "data_service", "loggers", "profile_steps"}  # code, addresses, more files
_OF_FILES |= {"image_size", "precision"}


def preset_names():
    """The names of all presets, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.flags"))


def is_file(name):
    """Whether a --preset names a file of the user, not a preset of this package."""
    return name.endswith(".flags") or "/" in name or os.sep in name


def read_preset(name):
    """The flags of a preset, as arguments of the command line.

    Args:
        name: of a preset, or the path of a file such as --mode=tune writes.
    Raises:
        SettingsError: there is no such preset or file, or the file sets what no preset may.
    """
    if is_file(name):
        return _read_file(name)
    names = preset_names()
    if name not in names:
        raise SettingsError(
            f"--preset={name} does not exist{nearest(name, names)}; the presets are "
            f"{', '.join(names)}, or give the path of a .flags file."
        )
    return _flags_in((FOLDER / f"{name}.flags").read_text(encoding="utf-8"))


def _flags_in(text):
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line]


def _content(path):
    """The bytes of a user's preset file; TensorFlow is needed for those of object stores only."""
    if "://" in path:
        from simclr_tf.stack import tf

        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                content = file.read(MOST_BYTES + 1)
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
    else:
        place = os.path.expanduser(path)
        if os.path.exists(place) and not os.path.isfile(place):  # reading a pipe would wait
            raise OSError("it is no regular file")
        with open(place, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise SettingsError(
            f"--preset={path} has more than {MOST_BYTES:,} bytes, which no preset has; give a "
            ".flags file."
        )
    return content


def _read_file(path):
    """The flags of a user's preset file.

    It may come from elsewhere, so it is data: what it may set changes a training and nothing else,
    no place, no address and no code.
    """
    try:
        text = _content(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"--preset={path} cannot be read ({error}); give the path of a .flags file, or one of "
            f"{', '.join(preset_names())}."
        ) from error
    found = _flags_in(text)
    for line in found:
        name, equals, value = line.partition("=")
        if not line.startswith("--") or not equals:
            raise SettingsError(f"--preset={path} has the line {line!r}; each line is --name=value.")  # fmt: skip
        if name == "--mode" and value != "pretrain":
            raise SettingsError(f"--preset={path} is for {line}; a preset file is for --mode=pretrain.")  # fmt: skip
        if name != "--mode" and name[2:] not in _OF_FILES:
            raise SettingsError(
                f"--preset={path} sets {name}, which a preset file may not; take the line out and "
                "give the flag yourself."
            )
    return ["--mode=pretrain", *(line for line in found if not line.startswith("--mode="))]


def preset_summary(name):
    """(mode, first comment line) of a preset, for `--help`."""
    text = (FOLDER / f"{name}.flags").read_text(encoding="utf-8")
    return preset_mode(name), text.splitlines()[0].lstrip("# ")


def preset_mode(name):
    """The mode that a preset is for."""
    modes = [line for line in read_preset(name) if line.startswith("--mode=")]
    return modes[0].split("=", 1)[1]
