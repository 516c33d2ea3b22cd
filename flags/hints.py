"""Sentences about names that do not exist."""

import difflib

OFFICIAL = {
    "train_mode": "this code calls it --mode",
    "train_summary_steps": "this code calls it --log_steps",
    "eval_name": "this code writes results.json in the run folder",
    "master": "this code calls it --tpu_name",
}
"""Flags of the official SimCLR code that go by another name here."""


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
