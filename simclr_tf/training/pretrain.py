"""`--mode=pretrain`: from images without labels to a checkpointed encoder."""

import functools
import time

from simclr_tf import config as settings_of
from simclr_tf.data import sources
from simclr_tf.errors import SettingsError
from simclr_tf.losses.many_views import OverPairs
from simclr_tf.losses.table import make_loss
from simclr_tf.models.simclr import SimCLR
from simclr_tf.optimizers.groups import undecayed_variables
from simclr_tf.optimizers.table import make_optimizer
from simclr_tf.stack import tf
from simclr_tf.training import (
    channels,
    data_service,
    extension,
    gradient_cache,
    multi_crop,
    plan,
)
from simclr_tf.training.agreed_stop import stop_request
from simclr_tf.training.checkpoints import Checkpoints
from simclr_tf.training.faults import FaultWatch
from simclr_tf.training.health import HealthWatch
from simclr_tf.training.loop import Limits, StepRunner, train
from simclr_tf.training.online_knn import online_knn
from simclr_tf.training.progress import Progress
from simclr_tf.training.recording import bad_images_told, last_line, recorder, repeat_lines
from simclr_tf.training.replay import examples_of_step
from simclr_tf.training.restore import build_parts
from simclr_tf.training.run_folder import RunFolder, read_json, write_json
from simclr_tf.training.strategy import check_compilable, check_divisible, make_crew


def run(config, given=frozenset()):
    """Pretrains; running it again with the same settings resumes.

    Args:
        config: config.Pretrain.
        given: names of the settings that the user gave.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, the data or the run folder cannot be used, or training diverged.
    """
    if not (config.run.model_dir or config.run.dry_run):
        raise SettingsError("model_dir is not given; say where the run goes, such as --model_dir=runs/first.")  # fmt: skip
    multi_crop.check(config, config.training.cached_batch_size)
    crew = make_crew(config.run, config.workers)
    if config.run.dry_run:
        return _run(config, given, crew)
    with crew.lasting():
        return _run(config, given, crew)


def _run(config, given, crew):
    per_replica = check_divisible(config.training.train_batch_size, crew.replicas)
    if crew.count == 1 or not config.run.dry_run:  # the plan may be for other machines
        check_compilable(config.training.jit_compile, crew.strategy, crew.replicas)
    info = sources.describe(config.data)
    config = channels.adopt(config, given, info)
    _check_labels(config, info)
    steps = plan.resolve_steps(config.training, config.optimizer, info.num_train)
    folder = RunFolder(config.run.model_dir)
    steps, extensions = extension.extended(folder, config.training.extend_epochs, steps)
    service = config.training.data_service
    if not config.run.dry_run:
        crew.together(lambda: data_service.check(service) if service else None)
        source = crew.together(lambda: sources.open_source(config.data, "train", config.run.seed))
        _claim(config, info, crew, folder)
        crew.together(lambda: extension.record(folder, extensions) if crew.is_chief else None)
    with crew.strategy.scope():
        model = build_model(config, info.num_classes, steps)
    crew.say(_plan(config, info, steps, crew, per_replica, model))
    if config.run.dry_run:
        return None
    with data_service.watched(service):
        return _train(config, crew, model, source, steps, folder)


def _claim(config, info, crew, folder):
    """The chief claims the run folder; the other workers check that it is their run."""
    dataset = {"name": info.name, "fingerprint": info.fingerprint, "num_train": info.num_train, "num_classes": info.num_classes}  # fmt: skip
    fields = settings_of.fields_of(type(config))
    free = {name for name, (_, field) in fields.items() if field.metadata["free"]}
    this_run = "pretrain", settings_of.flatten(config), free, dataset
    crew.together(lambda: folder.claim(*this_run) if crew.is_chief else None)
    crew.together(lambda: None if crew.is_chief else folder.check_same(*this_run))


def _check_labels(config, info):
    if info.num_classes:
        return
    if _loss(config).needs_labels:
        raise SettingsError(f"loss={config.loss.loss} needs labels and {info.name} has none; choose --loss=nt_xent.")  # fmt: skip
    if config.training.keep_best == "probe_top_1":
        raise SettingsError(f"keep_best=probe_top_1 needs labels and {info.name} has none; choose --keep_best=loss.")  # fmt: skip


def build_model(config, num_classes, steps):
    """A built and compiled SimCLR.

    Args:
        config: config.Pretrain.
        num_classes: classes of the online probe, 0 for none.
        steps: plan.Steps.
    Returns:
        SimCLR, ready for `train_step`.
    """
    encoder, head, probe = build_parts(config, num_classes)
    multi_crop.check_encoder(encoder, config)
    views = multi_crop.make_all_views(config, config.training.num_views)
    rank = bool(config.training.effective_rank_steps)
    model = SimCLR(encoder, head, _loss(config), views, probe, rank)
    excluded = undecayed_variables(encoder, head)
    excluded += list(probe.trainable_variables) if probe is not None else []
    model.compile(optimizer=make_optimizer(config.optimizer, plan.learning_rate(steps), excluded))
    model.optimizer.build(model.trainable_variables)
    model.skips_non_finite = config.training.on_nan == "skip"
    return model


def _loss(config):
    # under a whole compiled step the kernels are compiled with it, otherwise on their own
    whole = config.training.jit_compile or config.run.use_tpu
    loss = make_loss(config.loss, jit_compile=not whole)
    views, local = config.training.num_views, config.multi_crop.local_views
    return OverPairs(loss, views, local) if views > 2 or local else loss


def _plan(config, info, steps, crew, per_replica, model):
    training, size = config.training, config.data.image_size
    micro = f", cut into micro-batches of {training.train_batch_size}" if training.cached_batch_size else ""  # fmt: skip
    labels = f"{info.num_classes} classes, online probe on" if model.probe is not None else "not used"  # fmt: skip
    bands = f"{info.channels} channels, " if info.channels != channels.RGB else ""
    side, count = multi_crop.local_size(config), config.multi_crop.local_views
    local = f", {count} of {side} x {side} pixels" if count else ""
    rows = [
        ("data set", f"{info.name}, {info.num_train:,} training images"),
        ("labels", labels),
        ("input", f"{size} x {size} pixels, {bands}{training.num_views} views{local}"),
        ("steps", f"{steps.total:,} ({steps.per_epoch:,} per epoch), warm-up {steps.warmup:,}"),
        ("learning rate", f"peak {steps.peak_learning_rate:.6g}, {config.optimizer.optimizer}"),
        ("batch", f"{training.global_batch_size} images{micro}, {per_replica} per replica"),
        ("temperature", f"{config.loss.temperature:g}"),
        ("strategy", plan.strategy_line(crew.strategy, crew.count, crew.replicas)),
        ("precision", config.run.precision),
        ("encoder", f"{plan.count_parameters(model.encoder)} trainable parameters"),
        ("head", f"{plan.count_parameters(model.head)} trainable parameters"),
        ("output", config.run.model_dir or "none (dry run)"),
    ]
    return plan.format_plan("plan: pretrain", rows)


def _train(config, crew, model, source, steps, folder):
    training, seed, batch = config.training, config.run.seed, config.training.global_batch_size
    checkpoints = Checkpoints(folder.join("checkpoints"), model, training.keep_checkpoint_max, crew)  # fmt: skip
    start = crew.together(checkpoints.resume)
    crew.check_equal(start, "a checkpoint of step")
    if start >= steps.total and _is_written(folder, steps):
        crew.say(f"{folder.path} is finished: step {start} of {steps.total}, nothing left to do.")
        return None
    bad_images = "quarantine.txt" if crew.is_chief else f"quarantine.{crew.index}.txt"
    source.quarantine.attach(folder.join(bad_images))
    if start:
        crew.say(f"resuming at step {start} of {steps.total}")
    batches = multi_crop.batches(source, config, training.num_views, crew.share(batch), start)
    if training.data_service:
        batches = data_service.prepared_by(training.data_service, batches, start, source)
    cache = _gradient_cache(training, model, crew)
    runner = StepRunner(model, crew.strategy, batches, training.jit_compile, cache, training.effective_rank_steps)  # fmt: skip
    observers = online_knn(config, model.encoder, source, crew.strategy, steps)
    if crew.is_chief:
        observers += _observers(config, steps, start, folder)
    if training.keep_best:
        observers.append(checkpoints.keep_best(folder.join("best"), training.keep_best))
        repeat_lines(folder, start - start % steps.checkpoint, observers[-1])
    faults = FaultWatch(model, checkpoints, folder, functools.partial(examples_of_step, source, seed, batch))  # fmt: skip
    limits = Limits(training.steps_per_execution, stop_request(training.max_wall_minutes, crew))
    began = time.monotonic()
    with bad_images_told(source.quarantine):
        logs = train(runner, steps, start, checkpoints, observers, faults, limits)
    return _finish(config, crew, source, steps, folder, (start, began, faults, logs))


def _finish(config, crew, source, steps, folder, done):
    """Writes results.json; done: (first step, its time, FaultWatch, figures of the last line)."""
    start, began, faults, logs = done
    seconds = time.monotonic() - began
    images = (steps.total - start) * config.training.global_batch_size
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
    if crew.is_chief:
        write_json(folder.join("results.json"), results)
    return results


def _is_written(folder, steps):
    """Whether results.json is there; a kill may come between the last checkpoint and it."""
    path = folder.join("results.json")
    return tf.io.gfile.exists(path) and read_json(path).get("step") == steps.total


def _observers(config, steps, start, folder):
    """What the chief shows and writes at logged steps."""
    training = config.training
    progress = Progress(start, steps.total, training.global_batch_size)
    health = HealthWatch(config.loss.loss, progress.chance, steps.warmup)
    return [progress.show, recorder(folder, start, plan.learning_rate(steps)), health.look]


def _gradient_cache(training, model, crew):
    """The two-pass step of --cached_batch_size, or None."""
    if not training.cached_batch_size:
        return None
    parts = training.cached_batch_size // training.train_batch_size
    rows = training.train_batch_size // crew.replicas
    warning = gradient_cache.small_norm_warning(model, training)
    if warning:
        crew.say(warning)
    z = model.head(tf.zeros([1, model.encoder.feature_dim]), training=False)
    shape = (parts, training.num_views, rows, z.shape[-1])
    separate = training.cached_separate_views
    return gradient_cache.GradientCache(model, crew.strategy, shape, training.jit_compile, separate)
