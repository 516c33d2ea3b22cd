"""The table of modes: one module each, in the order of a usual project."""

from flags import (
    data_service,
    embed,
    export,
    finetune,
    import_weights,
    knn,
    linear_eval,
    pretrain,
    probe,
    report,
    selftest,
    transfer,
    views,
)
from flags.hints import nearest
from simclr_tf.errors import SettingsError

MODES = {
    "pretrain": pretrain,
    "finetune": finetune,
    "linear_eval": linear_eval,
    "knn": knn,
    "probe": probe,
    "transfer": transfer,
    "embed": embed,
    "export": export,
    "import_weights": import_weights,
    "views": views,
    "report": report,
    "selftest": selftest,
    "data_service": data_service,
}


def find_mode(name):
    """The module of the mode `name`.

    Raises:
        SettingsError: no mode is named, or there is none of this name.
    """
    if not name:
        raise SettingsError(
            f"--mode is missing: give one of {', '.join(MODES)}, such as --mode=pretrain, or see "
            "python -m simclr_tf --help."
        )
    if name not in MODES:
        raise SettingsError(
            f"--mode={name} does not exist{nearest(name, MODES)}; the modes are {', '.join(MODES)}."
        )
    return MODES[name]


def presets_mode(name):
    """The mode whose presets the mode `name` takes: its own, or that of its PRESETS_OF."""
    return getattr(MODES[name], "PRESETS_OF", name)
