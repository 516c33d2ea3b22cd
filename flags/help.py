"""The text of `--help`: modes, presets, and the flags of a mode with defaults and limits."""

import textwrap

from simclr_tf.flags import preset_files

from simclr_tf import config
from simclr_tf.config import MODES

WIDTH = 100


def help_text(mode, full=False):
    """What `--help` prints.

    Args:
        mode: name of a mode, or "" for the overview and the flags of the first mode.
        full: list the flags of every mode.
    """
    parts = ["simclr_tf: SimCLR for TensorFlow 2: pretrain an image encoder without labels."]
    parts.append("usage: python -m simclr_tf --mode=MODE [--preset=NAME] [--flag=value ...]")
    if full or not mode:
        parts += [modes_text(), presets_text(list(MODES))]
    else:
        parts += [f"--mode={mode}: {MODES[mode].summary}", presets_text([MODES[mode].preset_mode])]
    shown = list(MODES) if full else [mode or next(iter(MODES))]
    parts += [flags_text(name) for name in shown]
    if not full:
        others = "" if mode else "--mode=MODE --help: the flags of another mode. "
        parts.append(others + "--helpfull: the flags of every mode.")
    return "\n\n".join(part for part in parts if part)


def modes_text():
    """One line per mode."""
    lines = [f"  {name:<14}{module.summary}" for name, module in MODES.items()]
    return "\n".join(["modes:", *lines])


def presets_text(modes):
    """One line per preset of the modes."""
    rows = [(name, *preset_files.preset_summary(name)) for name in preset_files.preset_names()]
    lines = [
        wrap(f"  {name:<22}", f"[{mode}] {words}") for name, mode, words in rows if mode in modes
    ]
    return "\n".join(["presets (flags on the command line win):", *lines]) if lines else ""


def flags_text(mode):
    """The flags of a mode, grouped as in `simclr_tf.config`."""
    module = MODES[mode]
    lines = [f"flags of --mode={mode} (name=default):"]
    heading = None
    known = config.fields_of(module.config)
    for name in module.settings:
        section, field = known[name]
        if section != heading:
            heading = section
            lines += ["", f"  {config.sections(module.config)[section].__doc__.splitlines()[0]}"]
        lines.append(flag_text(name, field))
    return "\n".join(lines)


def flag_text(name, field):
    """`--name=default`, what it does, and its limits."""
    default = field.default
    if isinstance(default, bool):
        shown = f"--[no]{name}={default}"
    else:
        shown = f"--{name}={default:.4g}" if isinstance(default, float) else f"--{name}={default}"
    words = field.metadata["help"]
    limits = config.describe_limits(field.metadata)
    words += f" Allowed: {limits}." if limits else ""
    head = f"    {shown:<36} "
    if len(head) > 41:
        return f"    {shown}\n" + wrap(" " * 41, words)
    return wrap(head, words)


def wrap(head, words):
    """`head` and the words beside it, in lines of at most `WIDTH` columns."""
    return textwrap.fill(
        words,
        width=WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
    )
