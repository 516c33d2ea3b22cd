"""A training with labels from its newest checkpoint to its end."""

import time

from simclr_tf.data import order
from simclr_tf.data.label_sets import with_targets
from simclr_tf.distribution import data_service
from simclr_tf.distribution.stopping import StopRequest
from simclr_tf.runs.checkpoints import Checkpoints
from simclr_tf.training import length, loggers, watching
from simclr_tf.training.loop import Limits, StepRunner, train
from simclr_tf.training.profiling import profile_of
from simclr_tf.training.served import service_batches
from simclr_tf.training.spacing import Spacing
from simclr_tf.views.batches import train_batches


def train_model(config, strategy, make_model, source, folder, prepare=with_targets):
    """Trains, or goes on with what the folder's newest checkpoint left to do.

    Args:
        config: resolved config.Finetune or config.Distill.
        strategy: tf.distribute.Strategy.
        make_model: function of length.Steps -> compiled FineTuned or Distilled, called in the
            strategy's scope.
        source: data.source.Source of the training images.
        folder: RunFolder.
        prepare: function (tf.data.Dataset of batches, source) -> the batches of `model.train_step`.
    Returns:
        (the trained model, length.Steps, images per second of this process or None if nothing was
        left to train).
    Raises:
        UserError: the folder cannot be used, training diverged or was stopped.
    """
    training = config.training
    if training.data_service:
        data_service.check(training.data_service, training.service_key)
    steps = length.resolve_steps(training, config.optimizer, source.num_examples, whole=False)
    with strategy.scope():
        model = make_model(steps)
    began = time.monotonic()
    checkpoints = Checkpoints(folder.join("checkpoints"), model, training.keep_checkpoint_max)
    start = checkpoints.resume()
    if start:
        print(f"resuming at step {start} of {steps.total}", flush=True)
    _train(config, strategy, model, source, folder, steps, prepare, start, checkpoints)
    images = (steps.total - start) * training.train_batch_size
    rate = round(images / (time.monotonic() - began), 2) if images > 0 else None
    return model, steps, rate


def _train(config, strategy, model, source, folder, steps, prepare, start, checkpoints):
    training = config.training
    seed = config.run.seed
    batch = training.train_batch_size
    batches = train_batches(
        source, config.views, config.data.image_size, batch, seed, start, num_views=1
    )
    if training.data_service:
        share = order.share_of(batch)
        batches = service_batches(config, batches, share, start, source)
    batches = prepare(batches, source)
    runner = StepRunner(model, strategy, batches, training.jit_compile or config.run.use_tpu)
    profile = profile_of(training, folder, start, steps.total) if start < steps.total else None
    faults = watching.fault_watch(model, checkpoints, folder, source, seed, batch)
    limits = Limits(
        training.steps_per_execution,
        StopRequest(training.max_wall_minutes),
        Spacing(training.checkpoint_minutes),
        profile,
    )
    with loggers.opened(config, folder, start, chief=start < steps.total) as log:
        observers, progress = watching.supervised_observers(steps, start, batch, folder, log)
        logs = train(runner, steps, start, checkpoints, observers, faults, limits, progress)
        log.results({"mode": "training", "step": steps.total, **logs})
    faults.tell_total(steps.total)
