"""`--mode=pretrain`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.Pretrain
SUMMARY = "Learn an encoder from images without labels (SimCLR)."
SETTINGS = tuple(config.fields_of(CONFIG))
REQUIRED = ("model_dir",)


def default_preset(values):
    """The preset of a command that names none: its data decide.

    Args:
        values: {setting name: value} of the command line.
    Returns:
        (preset name, reason in words), or None where the settings' own defaults (the paper's
        ImageNet recipe) hold.
    """
    if "image_dir" in values:
        return "folder", "settings for your own images on one machine"
    if values.get("dataset", "digits") == "digits":
        return "digits", "scikit-learn's handwritten digits, no download"
    return None
