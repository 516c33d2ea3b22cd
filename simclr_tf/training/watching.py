"""What watches a training: the progress line, the record, health, faults, k-NN."""

import functools

from simclr_tf import config as settings_of
from simclr_tf.losses.table import chance_value
from simclr_tf.training import length
from simclr_tf.training.faults import FaultWatch
from simclr_tf.training.health import HealthWatch, weaken_words
from simclr_tf.training.input_wait import InputAdvice, remedies
from simclr_tf.training.online_knn import online_knn
from simclr_tf.training.pictures import Pictures
from simclr_tf.training.progress import Progress
from simclr_tf.training.recording import recorder
from simclr_tf.training.replay import examples_of_step

_TRAINING_FIGURES = {  # of a training with labels or a teacher: the first that is there is shown
    "top_1": "training top-1",
    "label_accuracy": "training label accuracy",
    "agreement": "agreement with the teacher",
}


def observers(config, group, model, source, steps, start, folder, loggers, may_restart=False):
    """Observers of `loop.train`: all workers measure k-NN, the chief shows and records.

    Args:
        config: config.Pretrain.
        group: WorkerGroup.
        model: SimCLR in training.
        source: training Source.
        steps: length.Steps.
        start: first step.
        folder: RunFolder.
        loggers: loggers.Loggers.
        may_restart: views that are too strong end the training, see HealthWatch.
    Returns:
        list of callables (step, {name: float}), and the Progress of the chief, else None.
    """
    progress = None
    found = online_knn(config, model.encoder, source, group.strategy, steps)
    if group.is_chief:
        batch = config.training.global_batch_size
        chance = chance_value(config.loss, batch)
        progress = Progress(
            start, steps.total, batch, chance=chance, steps_per_epoch=steps.per_epoch
        )
        weaken = weaken_words(settings_of.flatten(config))
        health = HealthWatch(chance, steps.warmup, batch, start, may_restart, weaken)
        record = recorder(folder, start, length.learning_rate(steps), progress, loggers)
        advice = InputAdvice(remedies(config))
        waiting = lambda step, logs: advice.look(step, progress.waiting)  # noqa: E731
        found += [progress.show, record, health.look, waiting]
        if loggers.shows_pictures and group.count == 1:
            found.append(Pictures(config, model, source, group.strategy, steps.total, loggers))
    return found, progress


def fault_watch(model, checkpoints, folder, source, seed, global_batch_size):
    """The FaultWatch of a training; arguments as of FaultWatch and `replay.examples_of_step`."""
    examples_of = functools.partial(examples_of_step, source, seed, global_batch_size)
    return FaultWatch(model, checkpoints, folder, examples_of)


def supervised_observers(steps, start, batch, folder, loggers):
    """Observers of `loop.train` for a training with labels.

    Args:
        steps: length.Steps.
        start: first step.
        batch: images per step.
        folder: RunFolder.
        loggers: loggers.Loggers.
    Returns:
        list of callables (step, {name: float}), and the Progress among them.
    """
    progress = _SupervisedProgress(start, steps.total, batch, steps_per_epoch=steps.per_epoch)
    record = recorder(folder, start, length.learning_rate(steps), progress, loggers)
    return [progress.show, record], progress


class _SupervisedProgress(Progress):
    """One line per look: loss and training accuracy, or how often the teacher says the same."""

    def line(self, step, logs):
        rate = self.rate(step)
        name = next(name for name in _TRAINING_FIGURES if name in logs)
        return (
            f"{self.place(step)}  {rate:.2f} step/s  {rate * self.batch:.0f} images/s  "
            f"ETA {self.time_left(step)}{self.waiting_in_words()}  loss {logs['loss']:.4f}  "
            f"{_TRAINING_FIGURES[name]} {logs[name]:.3f}"
        )
