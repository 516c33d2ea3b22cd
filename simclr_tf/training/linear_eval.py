"""`--mode=linear_eval`: how well a linear classifier does on the frozen encoder's features."""

import os
import time

from simclr_tf import config as settings_of
from simclr_tf.data import sources
from simclr_tf.errors import DataError
from simclr_tf.evaluation.few_shot import few_shot
from simclr_tf.evaluation.frozen import proved_frozen
from simclr_tf.evaluation.metrics import classification_report
from simclr_tf.evaluation.results import results_markdown
from simclr_tf.training import linear_protocol, plan, restore
from simclr_tf.training.run_folder import RunFolder, write_atomically, write_json
from simclr_tf.training.strategy import check_divisible, make_strategy

# how the pretraining cropped, beside flip and crop_area_min, which are settings of their own here
CROP = ("aug_impl", "crop_area_max", "crop_aspect_min", "crop_aspect_max", "resize")


def run(config, given=frozenset()):
    """Linear evaluation of a trained encoder beside raw pixels and the untrained encoder.

    Args:
        config: config.LinearEval.
        given: names of the settings that the user gave; data, model and crop settings that are
            not among them come from the pretraining.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, the data, the checkpoint or the output folder cannot be used.
        FrozenEncoderError: the encoder changed; nothing is written.
    """
    strategy = make_strategy(config.run)
    check_divisible(config.protocol.train_batch_size, strategy)
    values = {name: value for name, value in settings_of.flatten(config).items() if name in given}
    with strategy.scope():
        trained = restore.load_trained(config.source.checkpoint, values)
    config, views = resolve(config, trained.settings, given)
    info = sources.describe(config.data)
    _check_labels(info)
    print(_plan(config, trained, info, strategy), flush=True)
    if config.run.dry_run:
        return None
    pair = [sources.open_source(config.data, which, config.run.seed) for which in ("train", "eval")]
    folder = RunFolder(config.run.model_dir)
    fields = settings_of.fields_of(type(config))
    free = {name for name, (_, field) in fields.items() if field.metadata["free"]}
    dataset = {"name": info.name, "fingerprint": info.fingerprint}
    folder.claim("linear_eval", settings_of.flatten(config), free, dataset)
    evaluation = linear_protocol.Evaluation(config, views, trained.encoder, strategy, *pair)
    results = _evaluate(evaluation, trained.step)
    write_json(folder.join("results.json"), results)
    write_atomically(folder.join("results.md"), results_markdown(results))
    return results


def resolve(config, settings, given):
    """Fills in what was not given from the pretraining.

    Args:
        config: config.LinearEval; settings: Trained.settings; given: names that the user gave.
    Returns:
        (config.LinearEval, config.Views of the training images of the classifier: crop and flip
        only, PAPER.md §1.3).
    """
    config = restore.inherit(config, given, settings)
    values = settings_of.flatten(config)
    shared = {"seed", "flip", "crop_area_min"} - set(given)
    values.update({name: settings[name] for name in shared})
    if not config.run.model_dir:
        run_dir = restore.locate(config.source.checkpoint)[1]
        values["model_dir"] = os.path.join(run_dir, "linear_eval")
    config = settings_of.build(type(config), values)
    views = {name: settings[name] for name in CROP}
    views.update(flip=values["flip"], crop_area_min=values["crop_area_min"])
    return config, settings_of.Views(color_jitter_strength=0.0, use_blur=False, **views)


def _check_labels(info):
    if not info.num_classes:
        raise DataError(
            f"{info.name} has no labels, which linear evaluation needs; use a data set with "
            "labels, or an --image_dir with one folder per class."
        )


def _plan(config, trained, info, strategy):
    protocol = config.protocol
    steps = linear_protocol.total_steps(protocol, info.num_train)
    rows = [
        ("encoder", f"{config.source.checkpoint}, step {trained.step}, frozen"),
        ("data set", f"{info.name}, {info.num_train:,} training, {info.num_eval:,} evaluation images"),  # fmt: skip
        ("classes", f"{info.num_classes}"),
        ("form", protocol.linear_form),
    ]
    if protocol.linear_form != "fast":
        peak = linear_protocol.peak_learning_rate(protocol)
        rows += [
            ("steps", f"{steps:,} ({protocol.train_epochs} epochs)"),
            ("learning rate", f"peak {peak:.6g}, SGD with Nesterov momentum, cosine"),
            ("batch", f"{protocol.train_batch_size} images"),
            ("augmentation", "random crop" + (" and flip" if protocol.flip else "")),
        ]
    rows += [
        ("baselines", "raw pixels, untrained encoder" if protocol.baselines else "none"),
        ("strategy", plan.strategy_line(strategy)),
        ("precision", config.run.precision),
        ("output", config.run.model_dir),
    ]
    return plan.format_plan("plan: linear_eval", rows)


def _evaluate(evaluation, step):
    """All figures, with the proof that the encoder stayed as it was."""
    began = time.monotonic()
    config, train_source, eval_source = evaluation.config, evaluation.train, evaluation.held_out
    functions = linear_protocol.feature_functions(evaluation)
    with proved_frozen(evaluation.encoder, evaluation.strategy) as encoder_sha256:
        train = linear_protocol.features(evaluation, functions, train_source)
        held_out = linear_protocol.features(evaluation, functions, eval_source)
        figures = {name: _few_shot(config, name, train, held_out) for name in functions}
        images_per_second = _linear_figures(evaluation, functions, train, held_out, figures)
    return {
        "mode": "linear_eval",
        "checkpoint": config.source.checkpoint,
        "step": step,
        "dataset": train_source.name,
        "num_train": train_source.num_examples,
        "num_eval": eval_source.num_examples,
        "num_classes": train_source.num_classes,
        "linear_form": config.protocol.linear_form,
        **figures.pop("simclr"),
        "few_shot_draws": config.protocol.few_shot_draws,
        "baselines": figures,
        "encoder_sha256": encoder_sha256,
        "images_per_second": images_per_second,
        "wall_seconds": round(time.monotonic() - began, 2),
    }


def _few_shot(config, name, train, held_out):
    return few_shot(
        (train.h[name], train.labels),
        (held_out.h[name], held_out.labels),
        draws=config.protocol.few_shot_draws,
        seed=config.run.seed,
    )


def _linear_figures(evaluation, functions, train, held_out, figures):
    """Adds the figures with all labels to `figures`; returns training images per second or None."""
    form, images_per_second = evaluation.config.protocol.linear_form, None
    if form != "paper":
        found = linear_protocol.fast_form(evaluation, train, held_out)
        for name, (scores, penalty) in found.items():
            report = classification_report(scores, held_out.labels)
            figures[name].update({**report, "fast": {**report, "penalty": penalty}})
    if form != "fast":
        began = time.monotonic()
        scores = linear_protocol.paper_form(evaluation, functions, held_out)
        protocol, count = evaluation.config.protocol, evaluation.train.num_examples
        images = linear_protocol.total_steps(protocol, count) * protocol.train_batch_size
        images_per_second = round(images / (time.monotonic() - began), 2)
        for name, values in scores.items():
            figures[name].update(classification_report(values, held_out.labels))
    return images_per_second
