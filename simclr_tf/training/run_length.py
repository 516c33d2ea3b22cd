"""How long a pretraining is: what was asked, what fits, and by how much it was extended."""

import dataclasses
import logging

from simclr_tf import config as settings_of
from simclr_tf.runs import extension
from simclr_tf.training import length
from simclr_tf.training.health import schedule_warning

_LOG = logging.getLogger(__name__)


def fitted(config, given, num_train, folder):
    """A config whose warm-up fits into the run, and whose checkpoints come as often as asked.

    Args:
        config: config.Pretrain.
        given: names of the settings that the user gave.
        num_train: training images.
        folder: RunFolder; what it stores of an earlier start is kept.
    """
    training = length.as_asked(config.training, given)
    config = dataclasses.replace(config, training=training)
    default = settings_of.Optimizer().warmup_epochs
    if "warmup_epochs" in given or config.optimizer.warmup_epochs != default:
        return config
    optimizer = length.fitting_warmup(training, config.optimizer, num_train)
    stored = folder.stored_settings()
    if optimizer is config.optimizer or stored.get("warmup_epochs") == default:
        return config  # a run of an earlier version goes on with the warm-up that it began with
    _LOG.info(
        "warm-up over %g epochs, a tenth of the run, instead of %g; set it with --warmup_epochs",
        optimizer.warmup_epochs,
        default,
    )
    return dataclasses.replace(config, optimizer=optimizer)


def resolve(config, num_train, folder):
    """The length in steps, extensions included.

    Args:
        config: config.Pretrain; num_train: training images; folder: RunFolder.
    Returns:
        length.Steps, and what `record` writes.
    Raises:
        SettingsError: see `length.resolve_steps` and `extension.extended`.
    """
    steps = length.resolve_steps(config.training, config.optimizer, num_train)
    warning = schedule_warning(steps.warmup, steps.total)
    if warning:
        _LOG.warning("%s", warning)
    return extension.extended(folder, config.training.extend_epochs, steps)


def record(folder, extensions):
    """Writes down that a run is extended; see `resolve`."""
    extension.record(folder, extensions)
