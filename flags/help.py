"""The text of `--help`: modes, presets, and the flags of a mode with defaults and limits."""

import textwrap

from simclr_tf.flags import preset_files

from simclr_tf import config
from simclr_tf.config import MODES

WIDTH = 100
_COLUMN = 41  # where the words about a flag begin
_ABOUT = (
    "simclr_tf: SimCLR for TensorFlow 2: pretrain an image encoder without labels, measure it, "
    "export it."
)
_USAGE = "usage: python -m simclr_tf MODE [--preset=NAME] [--flag=value ...]"


def help_text(mode: str, full: bool = False) -> str:
    """What `--help` prints.

    Args:
        mode: name of a mode, or "" for the overview.
        full: list every flag, of every mode if none is named; else those that most people need.
    """
    if not mode and not full:
        return overview()
    shown = [mode] if mode else list(MODES)
    parts = [_ABOUT, _USAGE.replace("MODE", mode or "MODE")]
    parts += [f"{mode}: {MODES[mode].summary}"] if mode else [modes_text()]
    parts += [presets_text([MODES[name].preset_mode for name in shown])]
    parts += [flags_text(name, full) for name in shown]
    if not full:
        more = len(MODES[mode].settings) - len(basic_settings(mode))
        if more:
            parts.append(f"{more} more flags: python -m simclr_tf {mode} --helpfull")
    return "\n\n".join(part for part in parts if part)


def overview() -> str:
    """One screen: what this is, the modes, where to go next."""
    start = "\n".join(
        [
            "start with:",
            "  python -m simclr_tf pretrain --model_dir=runs/first        handwritten digits",
            "  python -m simclr_tf pretrain --image_dir=PHOTOS --model_dir=runs/photos",
            "  python -m simclr_tf linear_eval --checkpoint=runs/first",
        ]
    )
    further = "\n".join(
        [
            "more:",
            "  MODE --help        the flags of a mode that most people need, and its presets",
            "  MODE --helpfull    every flag of a mode; without MODE: of every mode",
            "  --quiet            print nothing but warnings and errors",
            "  --version          versions of simclr_tf and TensorFlow",
        ]
    )
    return "\n\n".join([_ABOUT, _USAGE, modes_text(), start, further])


def modes_text() -> str:
    """One line per mode."""
    width = max(map(len, MODES)) + 2
    lines = [wrap(f"  {name:<{width}}", mode.summary) for name, mode in MODES.items()]
    return "\n".join(["modes:", *lines])


def presets_text(modes) -> str:
    """One line per preset of the modes."""
    rows = [(name, *preset_files.preset_summary(name)) for name in preset_files.preset_names()]
    rows = [row for row in rows if row[1] in modes]
    if not rows:
        return ""
    width = max(len(name) for name, _, _ in rows) + 2
    several = len({made_for for _, made_for, _ in rows}) > 1
    lines = [
        wrap(f"  {name:<{width}}", f"[{made_for}] {words}" if several else words)
        for name, made_for, words in rows
    ]
    return "\n".join(["presets (flags on the command line win):", *lines])


def basic_settings(mode: str) -> list:
    """Names of the settings of a mode that most people need.

    The architecture is none of them where it is read from a checkpoint.
    """
    module = MODES[mode]
    known = config.fields_of(module.config)
    of_checkpoint = {"model"} if "checkpoint" in module.settings else set()
    return [
        name
        for name in module.settings
        if name in module.required
        or (known[name][1].metadata["basic"] and known[name][0] not in of_checkpoint)
    ]


def flags_text(mode: str, full: bool = True) -> str:
    """Flags of a mode, grouped as in `simclr_tf.config`."""
    module = MODES[mode]
    lines = [f"flags of {mode} (name=default):"]
    heading = None
    known = config.fields_of(module.config)
    for name in module.settings if full else basic_settings(mode):
        section, field = known[name]
        if section != heading:
            heading = section
            lines += ["", f"  {config.sections(module.config)[section].__doc__.splitlines()[0]}"]
        lines.append(flag_text(name, field, required=name in module.required))
    return "\n".join(lines)


def flag_text(name, field, required=False) -> str:
    """`--name=default`, what it does, and its limits."""
    default = field.default
    if isinstance(default, bool):
        shown = f"--[no]{name}={default}"
    else:
        shown = f"--{name}={default:.4g}" if isinstance(default, float) else f"--{name}={default}"
    words = field.metadata["help"]
    limits = config.describe_limits(field.metadata)
    words += f" Allowed: {limits}." if limits else ""
    words += " Required." if required else ""
    head = f"    {shown:<{_COLUMN - 5}} "
    if len(head) > _COLUMN:
        return f"    {shown}\n" + wrap(" " * _COLUMN, words)
    return wrap(head, words)


def wrap(head, words):
    """`head` and the words beside it, in lines of at most `WIDTH` columns."""
    return textwrap.fill(
        words,
        width=WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
