"""`--mode=linear_eval`: how well a linear classifier does on the frozen encoder's features."""

import dataclasses
import time

from simclr_tf import config as settings_of
from simclr_tf import phases
from simclr_tf.commands import evaluation_run, plan
from simclr_tf.distribution.strategy import check_divisible
from simclr_tf.evaluation import linear_protocol
from simclr_tf.evaluation.baselines import COLOR_LEVELS, HOG_FEATURES, PIXEL_SIDE
from simclr_tf.evaluation.few_shot import few_shot, possible_shots
from simclr_tf.evaluation.frozen import proved_frozen, weights_hash
from simclr_tf.evaluation.metrics import classification_report
from simclr_tf.evaluation.results import results_markdown
from simclr_tf.training.starting import CROP


@evaluation_run.releases
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
    strategy = evaluation_run.make_strategy(config, given, config.trained.checkpoint)
    check_divisible(config.protocol.train_batch_size, strategy.num_replicas_in_sync)
    with strategy.scope():
        trained = evaluation_run.load(config, given)
        encoder = trained.select(config.trained.ft_proj_selector)
    config, views = resolve(config, trained, given)
    info = evaluation_run.describe(config, "linear_eval")
    print(_plan(config, trained, info, strategy), flush=True)
    if config.run.dry_run:
        return None
    folder, pair = evaluation_run.start("linear_eval", config, info)
    done = evaluation_run.finished(folder, weights_hash(encoder, strategy), ["confusion.csv"])
    if done is not None:
        return done
    evaluation = linear_protocol.Evaluation(config, views, encoder, strategy, *pair)
    with evaluation_run.bad_images_reported(pair[0].quarantine, *pair):
        results, main = _evaluate(evaluation, trained.step)
    markdown = results_markdown(results)
    evaluation_run.write_results(folder, results, markdown, evaluation_run.tables_of(*main, pair))
    return results


def resolve(config, trained, given):
    """Fills in what was not given from the pretraining.

    Args:
        config: config.LinearEval.
        trained: restore.Trained.
        given: names that the user gave.
    Returns:
        (config.LinearEval, config.Views of the training images of the classifier: crop and flip
        only, arXiv:2002.05709, appendix B.6).
    """
    also = ("flip", "crop_area_min")
    config = evaluation_run.resolve(config, given, trained, "linear_eval", also)
    if config.protocol.linear_form == "auto":
        # an evaluation that began with another form goes on with it
        stored = evaluation_run.RunFolder(config.run.model_dir).stored_settings()
        form = stored.get("linear_form", "fast" if config.data.is_folder else "both")
        protocol = dataclasses.replace(config.protocol, linear_form=form)
        config = dataclasses.replace(config, protocol=protocol)
    protocol = config.protocol
    views = {name: trained.settings[name] for name in CROP}
    views.update(flip=protocol.flip, crop_area_min=protocol.crop_area_min)
    return config, settings_of.Views(color_jitter_strength=0.0, use_blur=False, **views)


def _plan(config, trained, info, strategy):
    protocol = config.protocol
    steps = linear_protocol.total_steps(protocol, info.num_train)
    rows = [
        ("encoder", f"{config.trained.checkpoint}, step {trained.step}, frozen"),
        *evaluation_run.data_rows(info, config.data),
        ("classes", f"{info.num_classes}"),
        ("form", protocol.linear_form),
    ]
    if protocol.linear_form != "fast":
        peak = linear_protocol.peak_learning_rate(protocol)
        rows += [
            ("steps", f"{steps:,} ({protocol.train_epochs} epochs)"),
            ("learning rate", f"peak {peak:.6g}, SGD with Nesterov momentum, cosine"),
            ("classifiers", f"{len(linear_protocol.grid_of(protocol))} in the same pass"),
            ("batch", f"{protocol.train_batch_size} images"),
            ("augmentation", "random crop" + (" and flip" if protocol.flip else "")),
        ]
    rows += [
        ("baselines", _baselines(config)),
        ("features", f"{_gigabytes(config, trained, info):.3g} GB of main memory"),
        evaluation_run.strategy_row(strategy),
        ("precision", config.run.precision),
        ("output", config.run.model_dir),
    ]
    return plan.format_plan("plan: linear_eval", rows)


def _baselines(config):
    if not config.protocol.baselines:
        return "none"
    titles = {"color": "colour histogram", "hog": "HOG"}
    found = [titles[name] for name in linear_protocol.handmade_features(config)]
    return ", ".join(["raw pixels", *found, "untrained encoder"])


def _gigabytes(config, trained, info):
    """Size of the features of all images and feature spaces, which are kept in main memory."""
    dims = trained.encoder.feature_dim
    if config.protocol.baselines:
        side = min(config.data.image_size, PIXEL_SIDE)
        dims += trained.encoder.feature_dim + config.model.image_channels * side**2
        handmade = linear_protocol.handmade_features(config)
        dims += COLOR_LEVELS**3 * ("color" in handmade) + HOG_FEATURES * ("hog" in handmade)
    return 4e-9 * dims * (info.num_train + info.num_eval)


def _evaluate(evaluation, step):
    """All figures, with the proof that the encoder stayed as it was."""
    began = time.monotonic()
    config = evaluation.config
    train_source = evaluation.train
    eval_source = evaluation.held_out
    functions = linear_protocol.feature_functions(evaluation)
    with proved_frozen(evaluation.encoder, evaluation.strategy) as encoder_sha256:
        extract = linear_protocol.extractor(evaluation, functions)
        train = linear_protocol.features(evaluation, extract, train_source, "training features")
        held_out = linear_protocol.features(evaluation, extract, eval_source, "evaluation features")
        figures = {name: _few_shot(config, name, train, held_out) for name in functions}
        images_per_second, scores = _linear_figures(evaluation, functions, train, held_out, figures)
    results = {
        "mode": "linear_eval",
        "checkpoint": config.trained.checkpoint,
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
    return results, (scores, held_out.labels, held_out.ids)


def _grid(pairs, members, labels):
    """The figures of each classifier of the grid; nothing is chosen by the evaluation images."""
    return [
        {"learning_rate": rate, "weight_decay": decay, **classification_report(scores, labels)}
        for (rate, decay), scores in zip(pairs, members)
    ]


def _few_shot(config, name, train, held_out):
    draws = config.protocol.few_shot_draws
    fits = draws * len(possible_shots(train.labels))
    with phases.phase(f"few labels, {name}", fits, "classifiers") as one:
        return few_shot(
            (train.h[name], train.labels),
            (held_out.h[name], held_out.labels),
            draws=draws,
            seed=config.run.seed,
            observe=one.advance,
        )


def _linear_figures(evaluation, functions, train, held_out, figures):
    """Adds the figures with all labels to `figures`.

    Returns:
        (training images per second or None, scores [n, num_classes] of the encoder).
    """
    form = evaluation.config.protocol.linear_form
    images_per_second = None
    if form != "paper":
        found = linear_protocol.fast_form(evaluation, train, held_out)
        for name, (scores, penalty) in found.items():
            report = classification_report(scores, held_out.labels)
            figures[name].update({**report, "fast": {**report, "penalty": penalty}})
        main = found["simclr"][0]
    if form != "fast":
        began = time.monotonic()
        scores = linear_protocol.paper_form(evaluation, functions, held_out)
        protocol = evaluation.config.protocol
        count = evaluation.train.num_examples
        images = linear_protocol.total_steps(protocol, count) * protocol.train_batch_size
        images_per_second = round(images / (time.monotonic() - began), 2)
        for name, members in scores.items():
            figures[name].update(classification_report(members[0], held_out.labels))
        main = scores["simclr"][0]
        if len(scores["simclr"]) > 1:
            pairs = linear_protocol.grid_of(protocol)
            figures["simclr"]["grid"] = _grid(pairs, scores["simclr"], held_out.labels)
    return images_per_second, main
