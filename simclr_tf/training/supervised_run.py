"""A training with labels from its newest checkpoint to its end."""

from simclr_tf.data import order
from simclr_tf.data.label_sets import with_targets
from simclr_tf.distribution.stopping import StopRequest
from simclr_tf.runs.checkpoints import Checkpoints
from simclr_tf.training import watching
from simclr_tf.training.loop import Limits, StepRunner, train
from simclr_tf.training.served import service_batches
from simclr_tf.training.spacing import Spacing
from simclr_tf.views.batches import train_batches


def train_model(config, strategy, model, source, folder, steps, prepare=with_targets):
    """Trains, or goes on with what the folder's newest checkpoint left to do.

    Args:
        config: resolved config.Finetune or config.Distill.
        strategy: tf.distribute.Strategy that holds the model.
        model: compiled FineTuned of `supervised_model.build_model`.
        source: data.source.Source of the training images.
        folder: RunFolder.
        steps: length.Steps.
        prepare: function (tf.data.Dataset of batches, source) -> the batches of `model.train_step`.
    Returns:
        the step that it started from.
    Raises:
        UserError: the folder cannot be used, training diverged or was stopped.
    """
    training = config.training
    checkpoints = Checkpoints(folder.join("checkpoints"), model, training.keep_checkpoint_max)
    start = checkpoints.resume()
    if start:
        print(f"resuming at step {start} of {steps.total}", flush=True)
    _train(config, strategy, model, source, folder, steps, prepare, start, checkpoints)
    return start


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
    observers, progress = watching.supervised_observers(steps, start, batch, folder)
    faults = watching.fault_watch(model, checkpoints, folder, source, seed, batch)
    limits = Limits(
        training.steps_per_execution,
        StopRequest(training.max_wall_minutes),
        Spacing(training.checkpoint_minutes),
    )
    train(runner, steps, start, checkpoints, observers, faults, limits, progress)
    faults.tell_total(steps.total)
