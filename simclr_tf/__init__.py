"""SimCLR for TensorFlow 2 and Keras: pretrain an image encoder without labels, measure it, ship it.

    import simclr_tf
    encoder = simclr_tf.ResNet(depth=18, stem="small")
    loss = simclr_tf.NTXent(temperature=0.5)

The names below are imported when they are first used, so that `python -m simclr_tf --help` starts
without TensorFlow. The rooms `data`, `views`, `models`, `losses`, `optimizers`, `training`,
`evaluation` and `report` each say in their docstring what comes in, what goes out and what they
may import; none of them reads command-line flags.
"""

import importlib
import pathlib

from simclr_tf.version import __version__ as __version__

_HOMES = {
    "DataError": "simclr_tf.errors",
    "DivergedError": "simclr_tf.errors",
    "Export": "simclr_tf.config",
    "LARS": "simclr_tf.optimizers.lars",
    "LinearEval": "simclr_tf.config",
    "NTXent": "simclr_tf.losses.nt_xent",
    "PreemptedError": "simclr_tf.errors",
    "Pretrain": "simclr_tf.config",
    "ProjectionHead": "simclr_tf.models.head",
    "ResNet": "simclr_tf.models.resnet",
    "SettingsError": "simclr_tf.errors",
    "SimCLR": "simclr_tf.models.simclr",
    "UserError": "simclr_tf.errors",
    "WarmUpCosine": "simclr_tf.optimizers.schedule",
    "views_of_step": "simclr_tf.training.replay",
}

__all__ = sorted(_HOMES)

# A wheel holds flags and export inside this package; in a clone they are its neighbours.
_HERE = pathlib.Path(__file__).resolve().parent
if not (_HERE / "flags").is_dir():
    __path__.append(str(_HERE.parent))


def __getattr__(name):
    """Imports a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'simclr_tf' has no attribute {name!r}; it has {__all__}.")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    """The public names, for completion."""
    return sorted([*globals(), *__all__])
