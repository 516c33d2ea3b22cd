"""The registry of losses: from the setting `--loss` to the loss.

A loss registers itself in the file of its name: `--loss=margin` is in `margin.py`. So a new loss
needs that file and its name in `LOSSES` of simclr_tf/config/training.py, nothing else.
"""

import dataclasses
import importlib
from typing import Callable, Dict, Optional, Tuple, Type

from simclr_tf import config
from simclr_tf.losses.base import ContrastiveLoss
from simclr_tf.stack import keras

COMMON = ("temperature", "hidden_norm")  # settings that every loss takes


@dataclasses.dataclass(frozen=True)
class Entry:
    """A registered loss.

    Attributes:
        name: what `--loss` calls it.
        kind: its class.
        settings: settings of config.Loss beside the common ones that its constructor takes.
    """

    name: str
    kind: Type[ContrastiveLoss]
    settings: Tuple[str, ...] = ()


_REGISTERED: Dict[str, Entry] = {}


def register(
    name: str, *, settings: Tuple[str, ...] = ()
) -> Callable[[Type[ContrastiveLoss]], Type[ContrastiveLoss]]:
    """Decorates the class of a loss.

    Args:
        name: what `--loss` calls it; also in `LOSSES` of simclr_tf/config/training.py.
        settings: settings of config.Loss that its constructor takes under the same names, beside
            temperature, hidden_norm and block_size, which all losses take.
    Raises:
        ValueError: the name is not in `LOSSES`, or a setting does not exist.
    """
    if name not in config.training.LOSSES:
        raise ValueError(
            f"loss {name} is not in LOSSES of simclr_tf/config/training.py; add it there."
        )
    known = {field.name for field in dataclasses.fields(config.Loss)}
    missing = sorted(set(settings) - known)
    if missing:
        raise ValueError(
            f"loss {name} takes the setting {missing[0]}, which config.Loss has not; declare it "
            "there."
        )

    def add(kind):
        _REGISTERED[name] = Entry(name, kind, settings)
        return keras.saving.register_keras_serializable("simclr_tf")(kind)

    return add


def entry(name: str) -> Entry:
    """The registered loss of a name in `LOSSES`; imports its file."""
    if name not in _REGISTERED:
        importlib.import_module(f"simclr_tf.losses.{name}")
    return _REGISTERED[name]


def make_loss(loss: config.Loss, jit_compile: bool = False, seed: int = 0) -> ContrastiveLoss:
    """The loss of the settings.

    Args:
        loss: config.Loss.
        jit_compile: compile the kernels alone; for steps that are not compiled as a whole.
        seed: of the run, for losses that draw at random.
    Returns:
        base.ContrastiveLoss: z float [2b, p], labels int [b] or None -> float32 [];
        `needs_labels` says whether labels are required.
    Raises:
        SettingsError: a setting is outside its limits.
    """
    found = entry(loss.loss)
    values = {name: getattr(loss, name) for name in (*COMMON, *found.settings)}
    if found.kind.needs_step:
        values["seed"] = seed
    return found.kind(block_size=loss.loss_block_size, jit_compile=jit_compile, **values)


def chance_value(loss: config.Loss, images: int) -> Optional[float]:
    """The loss of the settings when all embeddings are equal, see `ContrastiveLoss.chance`.

    Args:
        loss: config.Loss.
        images: N, of the global batch. With more than two views the loss is a mean over pairs of
            views, each of which has this value.
    Returns:
        nats; None where that loss has no such value.
    """
    return make_loss(loss).chance(images)
