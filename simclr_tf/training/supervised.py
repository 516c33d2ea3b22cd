"""One supervised training: builds the model, trains and resumes it, scores the held-out images."""

import dataclasses
import functools
import time

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.data.label_sets import truth, with_targets
from simclr_tf.data.source import Source
from simclr_tf.distribution import data_service
from simclr_tf.distribution.stopping import StopRequest
from simclr_tf.evaluation.features import extract_features
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.fine_tuned import FineTuned, freeze
from simclr_tf.optimizers.averaging import averaged_weights
from simclr_tf.optimizers.groups import undecayed_variables
from simclr_tf.optimizers.table import make_optimizer
from simclr_tf.runs.checkpoints import Checkpoints
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf
from simclr_tf.training import length
from simclr_tf.training.faults import FaultWatch
from simclr_tf.training.gradient_cache import batch_norms
from simclr_tf.training.loop import Limits, StepRunner, train
from simclr_tf.training.progress import Progress
from simclr_tf.training.recording import recorder
from simclr_tf.training.replay import examples_of_step
from simclr_tf.views.batches import eval_batches, train_batches
from simclr_tf.views.device import make_views


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
        job: Job; encoder, head: built models, which are trained in place.
    Returns:
        Outcome.
    Raises:
        UserError: the folder cannot be used, training diverged or was preempted.
    """
    config = job.config
    count = job.labelled.num_examples
    if config.training.data_service:
        data_service.check(config.training.data_service)
    steps = length.resolve_steps(config.training, config.optimizer, count, whole=False)
    with job.strategy.scope():
        classes = job.labelled.num_classes
        several = job.labelled.targets is not None
        model = build_model(config, encoder, head, classes, steps, several)
    keep = config.training.keep_checkpoint_max
    checkpoints = Checkpoints(job.folder.join("checkpoints"), model, keep)
    start = checkpoints.resume()
    if start:
        print(f"resuming at step {start} of {steps.total}", flush=True)
    began = time.monotonic()
    with data_service.watched(config.training.data_service):
        _train(job, model, steps, start, checkpoints)
    images = (steps.total - start) * config.training.train_batch_size
    rate = round(images / (time.monotonic() - began), 2) if images > 0 else None
    with averaged_weights(model.optimizer, model.trainable_variables):
        found = score(model, job)
    return Outcome(found.h, truth(job.held_out, found.labels), steps.total, rate)


def build_model(config, encoder, head, num_classes, steps, label_sets=False):
    """A built and compiled FineTuned; call it in the scope of the strategy.

    Args:
        config: config.Finetune; encoder, head: built; num_classes: int; steps: length.Steps.
        label_sets: whether images have several labels.
    """
    settings = config.finetuning
    seed = config.run.seed
    size = config.data.image_size
    freeze(encoder, head, settings.ft_proj_selector, settings.fine_tune_after_block)
    if settings.bn_decay_rule:
        for norm in batch_norms(encoder, head):
            norm.momentum = max(1.0 - 10.0 / steps.per_epoch, 0.9)
    classifier = LinearClassifier(num_classes, zero_init=settings.zero_init_logits_layer, seed=seed)
    view = make_views(config.views, size, seed, num_views=1)
    lars = config.optimizer.optimizer == "lars"
    decay = config.optimizer.weight_decay if lars else 0.0
    model = FineTuned(
        encoder,
        head,
        classifier,
        view,
        selector=settings.ft_proj_selector,
        kernel_decay=decay,
        label_sets=label_sets,
    )
    model(tf.zeros([1, size, size, config.model.image_channels]), training=False)
    excluded = undecayed_variables(encoder, head, classifier)
    if lars:  # as in the official code: the classifier is not adapted, its decay is in the loss
        excluded.append(classifier.dense.kernel)
    curve = length.learning_rate(steps)
    model.compile(optimizer=make_optimizer(config.optimizer, curve, excluded))
    model.optimizer.build(model.trainable_variables)
    model.skips_non_finite = config.training.on_nan == "skip"
    return model


def _train(job, model, steps, start, checkpoints):
    config = job.config
    source = job.labelled
    training = config.training
    seed = config.run.seed
    size = config.data.image_size
    batch = training.train_batch_size
    batches = train_batches(source, config.views, size, batch, seed, start, num_views=1)
    if training.data_service:
        batches = data_service.prepared_by(training.data_service, batches, start, source)
    batches = with_targets(batches, source)
    runner = StepRunner(model, job.strategy, batches, training.jit_compile or config.run.use_tpu)
    progress = _Progress(start, steps.total, batch)
    observers = [progress.show, recorder(job.folder, start, length.learning_rate(steps))]
    examples_of = functools.partial(examples_of_step, source, seed, batch)
    faults = FaultWatch(model, checkpoints, job.folder, examples_of)
    limits = Limits(training.steps_per_execution, StopRequest(training.max_wall_minutes))
    train(runner, steps, start, checkpoints, observers, faults, limits)
    faults.tell_total(steps.total)


def score(model, job):
    """Features whose `h` are the model's logits of every held-out image, each exactly once."""
    settings = job.config.finetuning
    batch = settings.eval_batch_size
    batches = eval_batches(job.held_out, job.config.data.image_size, batch)
    return extract_features(model, batches, batch, job.strategy)


class _Progress(Progress):
    """One line per look: loss and training accuracy."""

    def line(self, step, logs):
        rate = self.rate(step)
        name = "top_1" if "top_1" in logs else "label_accuracy"
        words = name.replace("top_1", "top-1").replace("_", " ")
        return (
            f"step {step}/{self.total}  {rate:.2f} step/s  {rate * self.batch:.0f} images/s  "
            f"loss {logs['loss']:.4f}  training {words} {logs[name]:.3f}"
        )
