"""The length of a training in steps, and its learning rate."""

import dataclasses

from simclr_tf.errors import SettingsError
from simclr_tf.optimizers import schedule


@dataclasses.dataclass(frozen=True)
class Steps:
    """Lengths in steps and the learning rate they lead to.

    `total` includes the lengths of the `rounds` by which a finished run was extended.
    """

    total: int
    warmup: int
    per_epoch: int
    checkpoint: int
    log: int
    peak_learning_rate: float
    rounds: tuple = ()


def fitting_warmup(training, optimizer, num_train):
    """The optimizer settings with a warm-up of at most a tenth of the run.

    Args:
        training: config.Training.
        optimizer: config.Optimizer.
        num_train: training images.
    Returns:
        config.Optimizer; the same one if its warm-up fits.
    """
    epochs = training.train_epochs
    if training.train_steps:
        epochs = training.train_steps * training.global_batch_size / num_train
    if optimizer.warmup_epochs <= epochs / 10:
        return optimizer
    return dataclasses.replace(optimizer, warmup_epochs=round(epochs / 10, 4))


def as_asked(training, given):
    """The settings of a training that saves at each checkpoint that the user asked for.

    Args:
        training: config.Length.
        given: names of the settings that the user gave.
    Returns:
        the same kind of section, with checkpoint_minutes 0 if the user chose when to save.
    """
    chosen = (
        training.checkpoint_steps
        or "checkpoint_epochs" in given
        or training.checkpoint_epochs != type(training)().checkpoint_epochs
        or getattr(training, "keep_best", "")
    )
    if not chosen or "checkpoint_minutes" in given:
        return training
    return dataclasses.replace(training, checkpoint_minutes=0.0)


def learning_rate(steps):
    """The schedule of a run: warm-up and half a cosine, and the same again for each extension.

    Args:
        steps: Steps.
    Returns:
        Keras learning-rate schedule, a function of the steps done.
    """
    peak = steps.peak_learning_rate
    first = schedule.WarmUpCosine(peak, steps.warmup, steps.total - sum(steps.rounds))
    if not steps.rounds:
        return first
    more = [schedule.WarmUpCosine(peak, min(steps.warmup, n // 10), n) for n in steps.rounds]
    return schedule.InRounds([first, *more])


def resolve_steps(training, optimizer, num_train, whole=True):
    """Turns epochs into steps, as the official code.

    Args:
        training: config.Training.
        optimizer: config.Optimizer.
        num_train: training images.
        whole: refuse a batch that holds an image twice; with labels that does no harm.
    Returns:
        Steps.
    Raises:
        SettingsError: the batch is larger than the data set, or the warm-up is not shorter than
            the run.
    """
    batch = training.global_batch_size
    if whole and batch > num_train:
        raise SettingsError(
            f"a batch of {batch} images is larger than the {num_train} training images; "
            f"use --train_batch_size of at most {num_train}."
        )
    total = training.train_steps or schedule.total_steps(num_train, training.train_epochs, batch)
    warmup = schedule.warmup_steps(num_train, optimizer.warmup_epochs, batch)
    if warmup >= total:
        raise SettingsError(
            f"the warm-up of {optimizer.warmup_epochs:g} epochs ({warmup} steps) is not shorter "
            f"than the run ({total} steps); lower --warmup_epochs or train longer."
        )
    per_epoch = max(1, num_train // batch)
    return Steps(
        total=total,
        warmup=warmup,
        per_epoch=per_epoch,
        checkpoint=training.checkpoint_steps or training.checkpoint_epochs * per_epoch,
        log=training.log_steps or min(100, per_epoch),
        peak_learning_rate=schedule.peak_learning_rate(
            optimizer.learning_rate, optimizer.learning_rate_scaling, batch
        ),
    )
