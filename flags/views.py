"""`--mode=views`: what it is for, and which settings it offers."""

from flags import pretrain
from simclr_tf import config

CONFIG = config.ViewsSheet
SUMMARY = "Draw a sheet of images and their random views, one row per operator."
SETTINGS = ("seed", "dry_run") + tuple(
    name for name, (section, _) in config.fields_of(CONFIG).items() if section != "run"
)
REQUIRED = ()
PRESETS_OF = "pretrain"  # whose presets may be given: those of their flags that are offered here


def default_preset(values):
    """The preset that pretraining would choose for the same images."""
    return pretrain.default_preset(values)
