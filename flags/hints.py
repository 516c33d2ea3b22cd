"""Sentences about names that do not exist."""

import difflib
import shlex

OFFICIAL_MODES = ("train", "eval", "train_then_eval")
"""Values of `--mode` of the official run.py."""
RENAMED = {"train_summary_steps": "log_steps", "master": "tpu_name"}
OFFICIAL = {
    "train_summary_steps": "this code calls it --log_steps",
    "eval_name": "this code writes results.json in the run folder",
    "master": "this code calls it --tpu_name",
}
"""Flags of the official SimCLR code that go by another name here."""


def official_command(argv: list, settings_of_modes: dict) -> str:
    """What to write instead of a command of the official run.py; "" if it is none.

    Args:
        argv: the arguments after the program's name.
        settings_of_modes: {mode: names of its settings}.
    """
    flags = _flags_of(argv)
    if "train_mode" not in flags and flags.get("mode") not in OFFICIAL_MODES:
        return ""
    mode = "pretrain"
    if flags.get("train_mode") == "finetune" or flags.get("mode") == "eval":
        mode = "linear_eval" if flags.get("fine_tune_after_block", "4") == "4" else "finetune"
    if mode == "pretrain":
        flags.setdefault("num_proj_layers", "3")  # the official default; ours is the paper's
    kept = {}
    left_out = []
    for name, value in flags.items():
        name = RENAMED.get(name, name)
        if name in settings_of_modes[mode]:
            kept[name] = value
        elif name not in ("mode", "train_mode"):
            left_out.append(f"--{name}")
    words = " ".join(shlex.quote(f"--{name}={value}") for name, value in kept.items())
    without = (
        f" (without {', '.join(left_out)}, which this mode settles itself)" if left_out else ""
    )
    return f"this is a command of the official run.py; write python -m simclr_tf {mode} {words}{without}."


def _flags_of(argv):
    """{name: value} of arguments such as --name=value, --name value, --name and --noname."""
    found = {}
    name = None
    for word in argv:
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            found[name] = value if equals else "True"
        elif name is not None:
            found[name] = word
            name = None
    return found


def nearest(name, names, prefix=""):
    """Words to put behind an unknown name: ", did you mean a or b", or "" if nothing is near.

    Args:
        name: what was given.
        names: what exists.
        prefix: put before each suggestion, such as "--".
    """
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f", did you mean {' or '.join(prefix + item for item in close)}" if close else ""


def unknown_flag(name, mode, settings_of_modes):
    """The sentence for a flag that the mode does not have.

    Args:
        name: the flag as given, without dashes.
        mode: name of the mode.
        settings_of_modes: {mode: names of its settings}.
    """
    bare = name[2:] if name.startswith("no") else name
    owners = [
        f"--mode={other}"
        for other, settings in settings_of_modes.items()
        if name in settings or bare in settings
    ]
    if owners:
        return (
            f"--{name} is a flag of {' and '.join(owners)}, not of --mode={mode}: leave it out or "
            "change the mode."
        )
    if name in OFFICIAL:
        return f"--{name} is not a flag of --mode={mode}: {OFFICIAL[name]}."
    near = nearest(name, ["mode", "preset", *settings_of_modes[mode]], prefix="--")
    return (
        f"--{name} is not a flag of --mode={mode}{near}; python -m simclr_tf --mode={mode} --help "
        "lists them all."
    )
