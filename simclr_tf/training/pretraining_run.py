"""A pretraining from its newest checkpoint to its end: batches, steps, what is recorded."""

import logging
import time

from simclr_tf.distribution.stopping import stop_request
from simclr_tf.runs.checkpoints import Checkpoints
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.stack import tf
from simclr_tf.training import gradient_cache, loggers, watching
from simclr_tf.training.loop import Limits, StepRunner, train
from simclr_tf.training.profiling import profile_of
from simclr_tf.training.recording import bad_images_reported, last_line, repeat_lines
from simclr_tf.training.served import service_batches
from simclr_tf.training.spacing import Spacing
from simclr_tf.views import multi_crop

_LOG = logging.getLogger(__name__)


def train_model(
    config, group, model, source, steps, folder, may_restart=False, make_runner=StepRunner
):
    """Trains, or goes on with what the folder's newest checkpoint left to do.

    Args:
        config: config.Pretrain.
        group: distribution.workers.WorkerGroup.
        model: compiled SimCLR of `pretraining.build_model`, made in the group's strategy.
        source: data.source.Source of the training images.
        steps: length.Steps.
        folder: RunFolder, claimed.
        may_restart: raise ViewsTooStrong instead of a warning that says so.
        make_runner: StepRunner, or a function of its arguments that returns one.
    Returns:
        the content of results.json; None if the run was finished before.
    Raises:
        ViewsTooStrong: the first steps show that the views have too little in common.
        UserError: the checkpoint or an image cannot be used, training diverged or was stopped.
    """
    training = config.training
    seed = config.run.seed
    batch = config.training.global_batch_size
    checkpoints = Checkpoints(
        folder.join("checkpoints"), model, training.keep_checkpoint_max, group
    )
    start = group.on_every_worker(checkpoints.resume)
    group.check_equal(start, "a checkpoint of step")
    if start >= steps.total and _is_written(folder, steps):
        group.say(f"{folder.path} is finished: step {start} of {steps.total}, nothing left to do")
        return None
    bad_images = "quarantine.txt" if group.is_chief else f"quarantine.{group.index}.txt"
    source.quarantine.attach(folder.join(bad_images))
    if start:
        group.say(f"resuming at step {start} of {steps.total}")
    share = group.share(batch)
    batches = multi_crop.batches(source, config, training.num_views, share, start)
    if training.data_service:
        batches = service_batches(config, batches, share, start, source)
    cache = _gradient_cache(training, model, group)
    runner = make_runner(
        model, group.strategy, batches, training.jit_compile, cache, training.effective_rank_steps
    )
    profile = profile_of(training, folder, start, steps.total, records=group.is_chief)
    with loggers.opened(config, folder, start, chief=group.is_chief) as log:
        observers, progress = watching.observers(
            config, group, model, source, steps, start, folder, log, may_restart
        )
        if training.keep_best:
            observers.append(checkpoints.keep_best(folder.join("best"), training.keep_best))
            repeat_lines(folder, start - start % steps.checkpoint, observers[-1])
        faults = watching.fault_watch(model, checkpoints, folder, source, seed, batch)
        limits = Limits(
            training.steps_per_execution,
            stop_request(training.max_wall_minutes, group),
            Spacing(training.checkpoint_minutes, group),
            profile,
        )
        began = time.monotonic()
        with bad_images_reported(source.quarantine, source):
            logs = train(runner, steps, start, checkpoints, observers, faults, limits, progress)
        seconds = time.monotonic() - began
        images = (steps.total - start) * batch
        results = {
            "mode": "pretrain",
            "step": steps.total,
            "dataset": source.name,
            "num_train": source.num_examples,
            "num_eval": 0,
            "images_per_second": round(images / seconds, 2),
            "wall_seconds": round(seconds, 2),
            "skipped_steps": faults.tell_total(steps.total),
            **(logs or last_line(folder)),
        }
        if group.is_chief:
            write_json(folder.join("results.json"), results)
            log.results(results)
    return results


def _is_written(folder, steps):
    """Whether results.json is there; a kill may come between the last checkpoint and it."""
    path = folder.join("results.json")
    return tf.io.gfile.exists(path) and read_json(path).get("step") == steps.total


def _gradient_cache(training, model, group):
    """The two-pass step of --cached_batch_size, or None."""
    if not training.cached_batch_size:
        return None
    parts = training.cached_batch_size // training.train_batch_size
    rows = training.train_batch_size // group.replicas
    warning = gradient_cache.small_norm_warning(model, training)
    if warning and group.is_chief:
        _LOG.warning("%s", warning)
    z = model.head(tf.zeros([1, model.encoder.feature_dim]), training=False)
    return gradient_cache.GradientCache(
        model,
        group.strategy,
        micro_batches=parts,
        num_views=training.num_views,
        rows=rows,
        z_dim=z.shape[-1],
        jit_compile=training.jit_compile,
        separate_views=training.cached_separate_views,
    )
