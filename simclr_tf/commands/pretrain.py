"""`--mode=pretrain`: from images without labels to a checkpointed encoder."""

import dataclasses
import logging
import time

from simclr_tf import config as settings_of
from simclr_tf import phases
from simclr_tf.commands import plan, tune
from simclr_tf.data import sources
from simclr_tf.distribution import data_service, strategy
from simclr_tf.errors import SettingsError
from simclr_tf.runs.lock import releases
from simclr_tf.runs.lock import scope as releasing
from simclr_tf.runs.run_folder import RunFolder, require_folder
from simclr_tf.training import (
    auto,
    loggers,
    pretraining,
    pretraining_run,
    profiling,
    run_length,
    tuning,
)
from simclr_tf.training.health import ViewsTooStrong
from simclr_tf.views import blur, channels, forms, multi_crop

_LOG = logging.getLogger(__name__)
_FIGURES = (
    ("loss", "loss"),
    ("contrastive_accuracy", "contrastive accuracy"),
    ("probe_top_1", "probe top-1"),
    ("knn_top_1", "k-NN top-1"),
    ("images_per_second", "images per second"),
)


@releases
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
    require_folder(config.run, example="runs/first")
    loggers.check(config.training.loggers)
    before = RunFolder(config.run.model_dir).stored_settings()
    if before and config.auto.auto:  # what was chosen then holds, without a look or a measurement
        config = settings_of.adopt_stored(config, given, before)
    elif before:
        config = settings_of.keep_stored(config, given, before)
    if config.tuning.tune and not (config.auto.auto or before):
        raise SettingsError("tune=True needs --preset=auto, which chooses the rest; give it, or use --mode=tune.")  # fmt: skip
    if config.tuning.tune and before and not before.get("tune"):
        raise SettingsError(
            f"{config.run.model_dir} holds a run that was not tuned first; leave out --tune to go on "
            "with it, or give another --model_dir."
        )
    multi_crop.check(config, config.training.cached_batch_size)
    group = strategy.make_group(config.run, config.workers, _agreed(config))
    if config.run.dry_run:
        return _run(config, given, group)
    with group.lasting():
        return _run(config, given, group)


def _agreed(config):
    """The settings that must be the same on all workers: all but places and who is who."""
    return {
        name: getattr(getattr(config, section), name)
        for name, (section, field) in settings_of.fields_of(type(config)).items()
        if section != "workers" and field.metadata["path"] is None and name != "data_service"
    }


def _run(config, given, group):
    config = dataclasses.replace(config, data=sources.with_settled_range(config.data))
    folder = RunFolder(config.run.model_dir)
    chooses = config.auto.auto and not folder.stored_settings()
    if not chooses:
        _check_devices(config, group)
    info = sources.describe(config.data)
    config = channels.adopt(config, given, info)
    pretraining.check_labels(config, info)
    training = config.training
    source = None
    rows = ()
    if not config.run.dry_run:
        group.on_every_worker(
            lambda: (
                data_service.check(training.data_service, training.service_key)
                if training.data_service
                else None
            )
        )
    if chooses and "train_steps" in given:
        profiling.check(training, training.train_steps)
    if chooses:
        tuned, fixed, spent, rows = _tuned(config, given, info, group, folder)
        source = sources.open_source(config.data, "train", config.run.seed)
        chosen = auto.choose(tuned, fixed, source, group, spent)
        config = chosen.config
        source = chosen.source
        rows += chosen.rows
        _check_devices(config, group)
    per_replica = config.training.train_batch_size // group.replicas
    config = run_length.fitted(config, given, info.num_train, folder)
    steps, extensions = run_length.resolve(config, info.num_train, folder)
    if not config.auto.auto or given & {"train_steps", "train_epochs"}:
        profiling.check(config.training, steps.total)
    if not config.run.dry_run:
        if source is None:
            source = group.on_every_worker(lambda: pretraining.open_images(config))
        _claim(config, info, group, folder)
        group.on_every_worker(
            lambda: run_length.record(folder, extensions) if group.is_chief else None
        )
    with group.strategy.scope(), phases.phase("building the model", unit=""):
        model = pretraining.build_model(config, info.num_classes, steps)
    if source is None:
        sample = sources.look(config.data)
    else:  # images that cannot be used end all workers, not one of them
        sample = group.on_every_worker(lambda: sources.look(config.data, source.original))
    group.say(_plan(config, info, steps, group, per_replica, model, sample, rows))
    if config.run.dry_run:
        return None
    may_restart = config.auto.auto and not folder.restarted() and bool(auto.weaker(config, given))
    try:
        results = pretraining_run.train_model(
            config, group, model, source, steps, folder, may_restart
        )
    except ViewsTooStrong as error:
        del model
        return _run(_with_weaker_views(config, given, folder, error), given, group)
    group.say(_done(folder, results, steps, has_labels=bool(info.num_classes)))
    return results


def _tuned(config, given, info, group, folder):
    """Tunes first, if that is asked for.

    Returns:
        (the config with what won, the names that are given or won, seconds that it took, rows for
        the plan).
    """
    if not config.tuning.tune:
        return config, given, 0.0, ()
    began = time.monotonic()
    minutes = tuning.SHARE_OF_BUDGET * auto.machine_of(config).minutes
    place = folder.join("tune") if folder.path else ""
    tuner = tune.Tuner(config, given, info, group, place, minutes)
    group.say(tuner.plan_text())
    if config.run.dry_run:
        return config, given, 60 * minutes, (("tune", "first, as planned above"),)
    with releasing():
        found = tuner.run()
    changes = found["changes"]
    config = settings_of.build(type(config), {**settings_of.flatten(config), **changes})
    row = ("tune", f"{found['words']}: the best of {found['trials']} short trainings, {place}")
    spent = max(found["seconds"], time.monotonic() - began)  # trials may be done before
    return config, given | frozenset(changes), spent, (row,)


def _check_devices(config, group):
    strategy.check_divisible(config.training.train_batch_size, group.replicas)
    if group.count == 1 or not config.run.dry_run:  # the plan may be for other machines
        strategy.check_compilable(config.training.jit_compile, group.strategy, group.replicas)


def _with_weaker_views(config, given, folder, error):
    """The config of the one restart of preset=auto; the folder then holds a run of these settings."""
    changes = auto.weaker(config, given)
    words = " ".join(f"--{name}={value}" for name, value in changes.items())
    _LOG.warning("%s; starting again with weaker views, this once: %s", error, words)
    config = settings_of.build(type(config), {**settings_of.flatten(config), **changes})
    folder.restart(settings_of.flatten(config), str(error))
    return config


def _done(folder, results, steps, has_labels):
    """The last lines of a pretraining; results: None if nothing was left to do."""
    made = f"nothing left to do, all {steps.total:,} steps are done"
    if results is not None:
        made = f"{steps.total:,} step{'s' * (steps.total != 1)}"
        made += "".join(
            f", {words} {results[name]:.4g}"
            for name, words in _FIGURES
            if results.get(name) is not None
        )
    first = "linear_eval" if has_labels else "embed"
    output = "" if has_labels else f" --output={folder.join('embeddings')}"
    return plan.format_done(
        made,
        folder.path,
        ("measure" if has_labels else "look at it", f"{first} --checkpoint={folder.path}{output}"),
        ("export", f"export --checkpoint={folder.path}"),
    )


def _claim(config, info, group, folder):
    """The chief claims the run folder; the other workers check that it is their run."""
    claimed = dict(
        mode="pretrain",
        settings=settings_of.flatten(config),
        free=settings_of.free_settings(type(config)),
        dataset=info.identity,
    )
    group.on_every_worker(lambda: folder.claim(**claimed) if group.is_chief else None)
    group.on_every_worker(lambda: None if group.is_chief else folder.check_same(**claimed))


def _objective(config):
    if config.loss.objective == "official":
        return f"official: 2 x {config.loss.loss} + probe + weight decay"
    return f"paper: {config.loss.loss} + probe"


def _plan(config, info, steps, group, per_replica, model, sample, chosen=()):
    training = config.training
    size = config.data.image_size
    micro = f", cut into micro-batches of {training.train_batch_size}" if training.cached_batch_size else ""  # fmt: skip
    labels = plan.classes_in_words(info) if info.num_classes else "none"
    labels += ", online probe on" if model.probe is not None else ", not used"
    bands = f"{info.channels} channels, " if info.channels != channels.RGB else ""
    side = multi_crop.local_size(config)
    count = config.multi_crop.local_views
    local = f", {count} of {side} x {side} pixels" if count else ""
    rows = [
        ("data set", f"{info.name}, {info.num_train:,} training images"),
        ("labels", labels),
        *plan.image_rows(info, sample),
        *chosen,
        ("input", f"{size} x {size} pixels, {bands}{training.num_views} views{local}"),
        *_without_effect(config.views, size),
        ("steps", f"{steps.total:,} ({steps.per_epoch:,} per epoch), warm-up {steps.warmup:,}"),
        ("learning rate", f"peak {steps.peak_learning_rate:.6g}, {config.optimizer.optimizer}"),
        ("batch", f"{training.global_batch_size} images{micro}, {per_replica} per replica"),
        ("objective", _objective(config)),
        ("temperature", f"{config.loss.temperature:g}"),
        ("strategy", strategy.describe(group.strategy, group.count, group.replicas)),
        ("precision", config.run.precision),
        ("encoder", f"{plan.count_parameters(model.encoder)} trainable parameters"),
        ("head", f"{plan.count_parameters(model.head)} trainable parameters"),
        ("output", config.run.model_dir or "none (dry run)"),
        ("checkpoints", _checkpoints(training, model)),
    ]
    return plan.format_plan("plan: pretrain", rows)


def _without_effect(views, size):
    if "blur" in forms.stages(views) and not blur.radius_of(size):
        return [("blur", f"changes nothing at {size} pixels: it is a tenth of the side wide")]
    return []


def _checkpoints(training, model):
    size = plan.checkpoint_bytes(model, model.optimizer)
    kept = training.keep_checkpoint_max + bool(training.keep_best)
    return f"{plan.size_text(size)} each, up to {plan.size_text(size * kept)} in {kept}"
