"""One distillation: a student learns from a teacher, step by step, and can be resumed."""

import dataclasses
import functools
from typing import Callable

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.data import subset
from simclr_tf.data.source import Source
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.distilled import Distilled
from simclr_tf.models.fine_tuned import freeze
from simclr_tf.optimizers.averaging import averaged_weights
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import no_autograph, tf
from simclr_tf.training import supervised_model, supervised_run
from simclr_tf.views.device import make_views

UNLABELLED = -1


@dataclasses.dataclass(frozen=True)
class Teaching:
    """What a distillation needs beside the student's starting weights.

    Attributes:
        config: resolved config.Distill.
        strategy: tf.distribute.Strategy.
        teacher: function, images float [b, s, s, c] in [0, 1] -> logits [b, num_classes].
        num_classes: of the teacher.
        train: Source of the training images.
        labelled: the Source of those whose labels are used; None if there are none.
        folder: RunFolder of the student's checkpoints and logs.
    """

    config: settings_of.Distill
    strategy: tf.distribute.Strategy
    teacher: Callable[[tf.Tensor], tf.Tensor]
    num_classes: int
    train: Source
    labelled: Source
    folder: RunFolder


def distill(teaching, encoder, head, observe):
    """Trains from `encoder` and `head`, or from the newest checkpoint of the folder.

    Args:
        teaching: Teaching.
        encoder, head: the student's, built; they are trained in place.
        observe: function of the trained Distilled, called with the weights that count (the
            averages, if there are some).
    Returns:
        (what `observe` returned, steps, images per second of this process or None if nothing was
        left to train).
    Raises:
        UserError: the folder cannot be used, training diverged or was stopped.
    """
    model, steps, rate = supervised_run.train_model(
        teaching.config,
        teaching.strategy,
        functools.partial(build_model, teaching, encoder, head),
        teaching.train,
        teaching.folder,
        prepare=_prepare(teaching),
    )
    with averaged_weights(model.optimizer, model.trainable_variables):
        found = observe(model)
    return found, steps, rate


def build_model(teaching, encoder, head, steps):
    """A built and compiled Distilled; call it in the scope of the strategy.

    Args:
        teaching: Teaching.
        encoder, head: the student's, built.
        steps: length.Steps.
    """
    config = teaching.config
    settings = config.distillation
    seed = config.run.seed
    freeze(encoder, head, settings.ft_proj_selector, after_block=-1)
    classifier = LinearClassifier(
        teaching.num_classes, zero_init=settings.zero_init_logits_layer, seed=seed
    )
    share = 1.0
    if teaching.labelled is not None:
        share = teaching.labelled.num_examples / teaching.train.num_examples
    model = Distilled(
        encoder,
        head,
        classifier,
        make_views(config.views, config.data.image_size, seed, num_views=1),
        teaching.teacher,
        temperature=settings.distill_temperature,
        label_weight=settings.distill_label_weight,
        label_share=share,
        selector=settings.ft_proj_selector,
        kernel_decay=supervised_model.kernel_decay(config.optimizer),
    )
    return supervised_model.compiled(model, config, steps)


def _prepare(teaching):
    """The map of batches that hides the labels of all images outside the labelled share."""
    settings = teaching.config.distillation
    if not settings.distill_label_weight:
        return lambda batches, source: batches
    known = np.zeros(teaching.train.num_examples, bool)
    labels = subset.all_labels(teaching.train)
    known[subset.labelled_ids(labels, settings.label_fraction, settings.label_seed)] = True
    return lambda batches, source: hidden_labels(batches, known)


@no_autograph
def hidden_labels(batches, known):
    """Batches whose "label" is below 0 for all images but some.

    Args:
        batches: tf.data.Dataset with "id" int64 [b] and "label" int32 [b].
        known: bool [n], by id, whether the label of an image is used.
    """
    with tf.device("CPU:0"):
        table = tf.constant(known)

    def hide(batch):
        label = batch["label"]
        used = tf.gather(table, batch["id"])
        return {**batch, "label": tf.where(used, label, tf.fill(tf.shape(label), UNLABELLED))}

    return batches.map(hide).prefetch(1)


def labels_alone(config, steps, num_labelled):
    """The config.Finetune that trains the student on the labels alone, for as many steps.

    Args:
        config: resolved config.Distill.
        steps: length.Steps of the distillation.
        num_labelled: number of labelled images.
    """
    known = settings_of.fields_of(settings_of.Finetune)
    values = {n: v for n, v in settings_of.flatten(config).items() if n in known}
    values.update(
        bn_decay_rule=False,
        train_steps=steps.total,
        warmup_epochs=steps.warmup * config.training.train_batch_size / num_labelled,
        checkpoint_steps=steps.checkpoint,
        log_steps=steps.log,
        data_service="",  # its workers prepare the batches of the distillation
    )
    return settings_of.build(settings_of.Finetune, values)
