"""`--mode=linear_eval`: how well a linear classifier does on the frozen encoder's features."""

import dataclasses
import os
import time

from simclr_tf import config as settings_of
from simclr_tf.data import sources
from simclr_tf.data.info import SourceInfo
from simclr_tf.errors import DataError
from simclr_tf.evaluation.baselines import Standardiser, pixel_features, untrained_encoder
from simclr_tf.evaluation.features import extract_features
from simclr_tf.evaluation.few_shot import few_shot
from simclr_tf.evaluation.frozen import proved_frozen
from simclr_tf.evaluation.linear import LinearClassifiers, LinearTrainer, train_classifiers
from simclr_tf.evaluation.metrics import classification_report
from simclr_tf.evaluation.results import results_markdown
from simclr_tf.optimizers import schedule
from simclr_tf.stack import tf
from simclr_tf.training import plan, restore
from simclr_tf.training.input import eval_batches, train_batches
from simclr_tf.training.run_folder import RunFolder, write_atomically, write_json
from simclr_tf.training.strategy import check_divisible, make_strategy
from simclr_tf.views.device import make_views

SCALE_BATCHES = 8  # of crops, for the scale of the baselines' features

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
    folder = RunFolder(config.run.model_dir)
    fields = settings_of.fields_of(type(config))
    free = {name for name, (_, field) in fields.items() if field.metadata["free"]}
    dataset = {"name": info.name, "fingerprint": info.fingerprint}
    folder.claim("linear_eval", settings_of.flatten(config), free, dataset)
    return _evaluate(_Evaluation(config, views, trained, info, strategy), folder)


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    """What the parts of an evaluation share."""

    config: settings_of.LinearEval
    views: settings_of.Views
    trained: restore.Trained
    info: SourceInfo
    strategy: tf.distribute.Strategy

    def source(self, which):
        """The training or evaluation images, by the seed of the pretraining's split."""
        return sources.open_source(self.config.data, which, self.config.run.seed)


def resolve(config, settings, given):
    """The resolved config and the views of classifier training: crop and flip only (PAPER §1.3)."""
    config = restore.inherit(config, given, settings)
    values = settings_of.flatten(config)
    shared = {"seed", "flip", "crop_area_min"} - set(given)
    values.update({name: settings[name] for name in shared})
    if not config.run.model_dir:
        run_dir = restore.locate(config.source.checkpoint)[1]
        values["model_dir"] = os.path.join(run_dir, "linear_eval")
    config = settings_of.build(type(config), values)
    names = {field.name for field in dataclasses.fields(settings_of.Views)}
    views = {**{name: settings[name] for name in names}, "color_jitter_strength": 0.0}
    views.update(use_blur=False, flip=values["flip"], crop_area_min=values["crop_area_min"])
    return config, settings_of.Views(**views)


def _check_labels(info):
    if not info.num_classes:
        raise DataError(
            f"{info.name} has no labels, which linear evaluation needs; use a data set with "
            "labels, or an --image_dir with one folder per class."
        )


def _total_steps(config, num_train):
    protocol = config.protocol
    return schedule.total_steps(num_train, protocol.train_epochs, protocol.train_batch_size)


def _peak(protocol):
    return schedule.peak_learning_rate(protocol.learning_rate, "linear", protocol.train_batch_size)


def _plan(config, trained, info, strategy):
    protocol = config.protocol
    rows = [
        ("encoder", f"{config.source.checkpoint}, step {trained.step}, frozen"),
        ("data set", f"{info.name}, {info.num_train:,} training, {info.num_eval:,} evaluation images"),  # fmt: skip
        ("classes", f"{info.num_classes}"),
        ("steps", f"{_total_steps(config, info.num_train):,} ({protocol.train_epochs} epochs)"),
        ("learning rate", f"peak {_peak(protocol):.6g}, SGD with Nesterov momentum, cosine"),
        ("batch", f"{protocol.train_batch_size} images"),
        ("augmentation", "random crop" + (" and flip" if protocol.flip else "")),
        ("baselines", "raw pixels, untrained encoder" if protocol.baselines else "none"),
        ("strategy", plan.strategy_line(strategy)),
        ("precision", config.run.precision),
        ("output", config.run.model_dir),
    ]
    return plan.format_plan("plan: linear_eval", rows)


def _evaluate(evaluation, folder):
    began = time.monotonic()
    trained, config = evaluation.trained, evaluation.config
    train_source, eval_source = evaluation.source("train"), evaluation.source("eval")
    functions = _feature_functions(evaluation)
    with proved_frozen(trained.encoder, evaluation.strategy) as encoder_sha256:
        train = _features(evaluation, functions, train_source)
        held_out = _features(evaluation, functions, eval_source)
        scales = _scales(evaluation, functions, train_source)
        extracted = time.monotonic()
        scaled = {name: _chain(function, scales[name]) for name, function in functions.items()}
        classifiers = _train(evaluation, scaled, train_source)
        seconds = time.monotonic() - extracted
    figures = {}
    for name in functions:
        scores = classifiers.scores(name, scales[name](held_out.h[name]))
        figures[name] = classification_report(scores, held_out.labels)
        figures[name].update(_few_shot(config, name, train, held_out))
    steps = _total_steps(config, train_source.num_examples)
    images = steps * config.protocol.train_batch_size
    results = {
        "mode": "linear_eval",
        "checkpoint": config.source.checkpoint,
        "step": trained.step,
        "dataset": train_source.name,
        "num_train": train_source.num_examples,
        "num_eval": eval_source.num_examples,
        "num_classes": train_source.num_classes,
        **figures.pop("simclr"),
        "few_shot_draws": config.protocol.few_shot_draws,
        "baselines": figures,
        "encoder_sha256": encoder_sha256,
        "images_per_second": round(images / seconds, 2),
        "wall_seconds": round(time.monotonic() - began, 2),
    }
    write_json(folder.join("results.json"), results)
    write_atomically(folder.join("results.md"), results_markdown(results))
    return results


def _feature_functions(evaluation):
    """{feature space: images -> features}, every encoder in inference mode."""
    config, encoder = evaluation.config, evaluation.trained.encoder
    functions = {"simclr": lambda images: encoder(images, training=False)}
    if config.protocol.baselines:
        with evaluation.strategy.scope():
            untrained = untrained_encoder(config.model, config.data.image_size, config.run.seed)
        functions["untrained"] = lambda images: untrained(images, training=False)
        functions["pixels"] = pixel_features
    return functions


def _scales(evaluation, functions, source):
    """{feature space: what is done to its features before the linear classifier of the protocol}.

    SimCLR's features stay as they are, as in the paper. Its learning rate suits features of a
    trained encoder; raw, the baselines would be needlessly weak, so theirs are standardised, with
    statistics of the images that the classifier is trained on: random crops.
    """
    baselines = {name: function for name, function in functions.items() if name != "simclr"}
    scales = {"simclr": lambda features: features}
    if baselines:
        crops = extract_features(
            _together(baselines), _cropped(evaluation, source), _batch(evaluation), evaluation.strategy
        )  # fmt: skip
        scales.update({name: Standardiser(h) for name, h in crops.h.items()})
    return scales


def _cropped(evaluation, source):
    """Some batches of randomly cropped training images, without strategy."""
    size, seed = evaluation.config.data.image_size, evaluation.config.run.seed
    view = make_views(evaluation.views, size, seed, num_views=1)
    for batch in _train_batches(evaluation, source).take(SCALE_BATCHES):
        yield {"images": view(batch), "label": batch["label"], "id": batch["id"]}


def _batch(evaluation):
    return evaluation.config.protocol.train_batch_size


def _chain(function, scale):
    return lambda images: scale(tf.cast(function(images), tf.float32))


def _train_batches(evaluation, source):
    config = evaluation.config
    size, batch = config.data.image_size, _batch(evaluation)
    return train_batches(source, evaluation.views, size, batch, config.run.seed, num_views=1)


def _train(evaluation, functions, source):
    config, strategy = evaluation.config, evaluation.strategy
    protocol, size = config.protocol, config.data.image_size
    dims = {name: int(f(tf.zeros([1, size, size, 3])).shape[-1]) for name, f in functions.items()}
    steps = _total_steps(config, source.num_examples)
    curve = schedule.WarmUpCosine(_peak(protocol), 0, steps)
    grid = ((1.0, protocol.weight_decay),)
    with strategy.scope():
        classifiers = LinearClassifiers(dims, source.num_classes, protocol.zero_init_logits_layer, grid, config.run.seed)  # fmt: skip
        view = make_views(evaluation.views, size, config.run.seed, num_views=1)
        trainer = LinearTrainer(classifiers, functions, view, curve, protocol.momentum)
    train_classifiers(
        trainer,
        _train_batches(evaluation, source),
        steps,
        strategy,
        observe=lambda step, losses: print(_progress(step, steps, losses), flush=True),
    )
    return classifiers


def _progress(step, steps, losses):
    parts = "  ".join(f"{name} {value:.4f}" for name, value in sorted(losses.items()))
    return f"linear classifier, step {step}/{steps}: loss {parts}"


def _features(evaluation, functions, source):
    """Features of every image once, without augmentation, of all spaces in one pass."""
    batch = evaluation.config.protocol.eval_batch_size
    batches = eval_batches(source, evaluation.config.data.image_size, batch)
    return extract_features(_together(functions), batches, batch, evaluation.strategy)


def _together(functions):
    return lambda images, training: {name: function(images) for name, function in functions.items()}


def _few_shot(config, name, train, held_out):
    return few_shot(
        (train.h[name], train.labels),
        (held_out.h[name], held_out.labels),
        draws=config.protocol.few_shot_draws,
        seed=config.run.seed,
    )
