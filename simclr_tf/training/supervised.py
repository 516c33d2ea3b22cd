"""One supervised training: trains and resumes a model, scores the held-out images."""

import dataclasses

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.data.label_sets import truth
from simclr_tf.data.source import Source
from simclr_tf.evaluation.features import extract_features
from simclr_tf.optimizers.averaging import averaged_weights
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf
from simclr_tf.training import length, profiling, supervised_model, supervised_run
from simclr_tf.views.batches import eval_batches


@dataclasses.dataclass(frozen=True)
class Job:
    """What a supervised training needs beside the starting weights.

    Attributes:
        config: resolved config.Finetune.
        strategy: tf.distribute.Strategy.
        labelled: data.source.Source of the labelled training images.
        held_out: Source of the evaluation images.
        folder: RunFolder of its checkpoints and logs.
    """

    config: settings_of.Finetune
    strategy: tf.distribute.Strategy
    labelled: Source
    held_out: Source
    folder: RunFolder

    def elsewhere(self, folder):
        """The same in another folder."""
        return dataclasses.replace(self, folder=folder)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Attributes: scores float32 [n, num_classes] and labels int32 [n] of the held-out images, or
    bool [n, num_classes] where they have several; step; images_per_second of this process, or
    None if nothing was left to train."""

    scores: np.ndarray
    labels: np.ndarray
    step: int
    images_per_second: float


def fine_tune(job, encoder, head):
    """Trains from `encoder` and `head`, or from the newest checkpoint of the folder.

    Args:
        job: Job.
        encoder, head: built models, which are trained in place.
    Returns:
        Outcome.
    Raises:
        UserError: the folder cannot be used, training diverged or was preempted.
    """
    config = job.config
    source = job.labelled

    def make_model(steps):
        return supervised_model.build_model(
            config, encoder, head, source.num_classes, steps, source.targets is not None
        )

    model, steps, rate = supervised_run.train_model(
        config, job.strategy, make_model, source, job.folder
    )
    with averaged_weights(model.optimizer, model.trainable_variables):
        found = score(model, job)
    return Outcome(found.h, truth(job.held_out, found.labels), steps.total, rate)


def score(model, job):
    """Features whose `h` are the model's logits of every held-out image, each exactly once."""
    settings = job.config.finetuning
    batch = settings.eval_batch_size
    batches = eval_batches(job.held_out, job.config.data.image_size, batch)
    return extract_features(model, batches, batch, job.strategy)


def check_profile(config, num_train):
    """Refuses a profile of steps that a training on some images does not have.

    Args:
        config: of a mode with the sections training and optimizer.
        num_train: images that are trained on.
    Raises:
        SettingsError: as of `profiling.check`.
    """
    steps = length.resolve_steps(config.training, config.optimizer, num_train, whole=False)
    profiling.check(config.training, steps.total)
