"""The two forms of linear evaluation: the paper's (appendix B.6) and the fast one (L-BFGS)."""

import dataclasses
import itertools

from simclr_tf import config as settings_of
from simclr_tf import phases
from simclr_tf.data.source import Source
from simclr_tf.evaluation.baselines import (
    PrincipalAxes,
    Standardiser,
    handmade,
    pixel_features,
    untrained_encoder,
)
from simclr_tf.evaluation.features import Extractor, extract_features
from simclr_tf.evaluation.frozen import fastest
from simclr_tf.evaluation.linear import LinearClassifiers, LinearTrainer, train_classifiers
from simclr_tf.evaluation.logistic import PENALTIES, tune_logistic
from simclr_tf.optimizers import schedule
from simclr_tf.stack import keras, tf
from simclr_tf.views.batches import eval_batches, train_batches
from simclr_tf.views.device import make_views

SCALE_BATCHES = 8  # of crops, for the scale of the baselines' features


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the parts of a linear evaluation share.

    Attributes:
        config: resolved config.LinearEval.
        views: config.Views of the classifier's training images.
        encoder: built encoder; only ever called with training=False.
        strategy: tf.distribute.Strategy that holds it.
        train, held_out: data.source.Source with labels.
    """

    config: settings_of.LinearEval
    views: settings_of.Views
    encoder: keras.Model
    strategy: tf.distribute.Strategy
    train: Source
    held_out: Source


def total_steps(protocol, num_train):
    """Steps of the paper's form; protocol: config.LinearProtocol."""
    return schedule.total_steps(num_train, protocol.train_epochs, protocol.train_batch_size)


def peak_learning_rate(protocol):
    """Peak of the paper's form, learning_rate * batch / 256; protocol: config.LinearProtocol."""
    return schedule.peak_learning_rate(protocol.learning_rate, "linear", protocol.train_batch_size)


def grid_of(protocol):
    """[(learning rate, weight decay)] of all classifiers; the first is that of the settings.

    Args:
        protocol: config.LinearProtocol.
    Raises:
        SettingsError: a list of the grid is not one of numbers.
    """
    names = ("learning_rate", "weight_decay")
    lists = [settings_of.number_list(f"grid_{n}s", getattr(protocol, f"grid_{n}s")) for n in names]
    own = tuple(getattr(protocol, name) for name in names)
    if not any(lists):
        return [own]
    pairs = itertools.product(*(found or own[at : at + 1] for at, found in enumerate(lists)))
    return [own, *pairs]


def feature_functions(evaluation):
    """{feature space: images float [b, s, s, 3] -> float [b, d]}, encoders in inference mode."""
    config = evaluation.config
    encoder = fastest(evaluation.encoder, evaluation.strategy)
    functions = {"simclr": lambda images: encoder(images, training=False)}
    if config.protocol.baselines:
        with evaluation.strategy.scope():
            untrained = untrained_encoder(config.model, config.data.image_size, config.run.seed)
        functions["untrained"] = lambda images: untrained(images, training=False)
        functions["pixels"] = pixel_features
        functions.update(handmade_features(config))
    return functions


def handmade_features(config):
    """{feature space: function} of features that people thought of, for images of one's own.

    Only in the fast form, which computes features once, and only of RGB images.

    Args:
        config: resolved config.LinearEval.
    """
    if not config.data.is_folder or config.protocol.linear_form != "fast":
        return {}
    found = handmade(config.model.image_channels)
    if config.run.use_tpu:
        found.pop("hog", None)
    return found


def extractor(evaluation, functions):
    """The Extractor of `features`, traced once for all sources.

    Args:
        evaluation: Evaluation.
        functions: {feature space: function}.
    """
    batch = evaluation.config.protocol.eval_batch_size
    return Extractor(_in_one_pass(functions), batch, evaluation.strategy)


def features(evaluation, extract, source, name):
    """Features of every image once, without augmentation, of all spaces in one pass.

    Args:
        evaluation: Evaluation.
        extract: `extractor` of the feature spaces.
        source: Source.
        name: of the phase, for the user.
    Returns:
        Features with h {feature space: float32 [n, d]}.
    """
    batch = evaluation.config.protocol.eval_batch_size
    batches = eval_batches(source, evaluation.config.data.image_size, batch)
    batches = phases.counted(batches, name, source.num_examples)
    return extract(batches)


def _in_one_pass(functions):
    return lambda images, training: {name: function(images) for name, function in functions.items()}


def fast_form(evaluation, train, held_out):
    """L-BFGS on standardised features computed once; no augmentation.

    Args:
        evaluation: Evaluation.
        train, held_out: Features with h {feature space: [n, d]}.
    Returns:
        {feature space: (scores float [n, num_classes] of the held-out images, chosen penalty)}.
    """
    found = {}
    classes = evaluation.train.num_classes
    seed = evaluation.config.run.seed
    for name, h in train.h.items():
        scale = Standardiser(h)
        rows = scale(h)
        held_out_rows = scale(held_out.h[name])
        if name in ("pixels", "color", "hog"):
            axes = PrincipalAxes(rows)
            rows = axes(rows)
            held_out_rows = axes(held_out_rows)
        with phases.phase(f"linear classifier, {name}", len(PENALTIES), "penalties") as one:
            tuned = tune_logistic(rows, train.labels, classes, seed, observe=one.advance)
        found[name] = held_out_rows @ tuned.weights + tuned.bias, tuned.penalty
    return found


def paper_form(evaluation, functions, held_out):
    """Trains the classifiers of all spaces in one pass over the augmented images.

    Args:
        evaluation: Evaluation.
        functions: {feature space: function};
        held_out: Features with h {feature space: float32 [n, d]}.
    Returns:
        {feature space: [scores float [n, num_classes] of the held-out images for each classifier
        of `grid_of`]}.
    Raises:
        DivergedError: the loss of a first classifier is not finite.
    """
    scales = _scales(evaluation, functions)
    scaled = {name: _chain(function, scales[name]) for name, function in functions.items()}
    classifiers = _train(evaluation, scaled)
    features_of = {name: scales[name](held_out.h[name]) for name in functions}
    members = range(len(classifiers.grid))
    return {
        name: [classifiers.scores(name, h, member) for member in members]
        for name, h in features_of.items()
    }


def _scales(evaluation, functions):
    """{feature space: what is done to its features before the classifier of the paper's form}.

    SimCLR's features stay as they are, as in the paper. Its learning rate suits features of a
    trained encoder; raw, the baselines would be needlessly weak, so theirs are standardised, with
    statistics of the images that the classifier is trained on: random crops.
    """
    baselines = {name: function for name, function in functions.items() if name != "simclr"}
    scales = {"simclr": lambda features: features}
    if baselines:
        batch = evaluation.config.protocol.train_batch_size
        crops = _cropped(evaluation)
        found = extract_features(_in_one_pass(baselines), crops, batch, evaluation.strategy)
        scales.update({name: Standardiser(h) for name, h in found.h.items()})
    return scales


def _cropped(evaluation):
    """Some batches of randomly cropped training images."""
    view = _view(evaluation)
    for batch in _train_batches(evaluation).take(SCALE_BATCHES):
        yield {"images": view(batch), "label": batch["label"], "id": batch["id"]}


def _view(evaluation):
    config = evaluation.config
    return make_views(evaluation.views, config.data.image_size, config.run.seed, num_views=1)


def _train_batches(evaluation):
    config = evaluation.config
    views = evaluation.views
    size = config.data.image_size
    batch = config.protocol.train_batch_size
    return train_batches(evaluation.train, views, size, batch, config.run.seed, num_views=1)


def _chain(function, scale):
    return lambda images: scale(tf.cast(function(images), tf.float32))


def _train(evaluation, functions):
    """LinearClassifiers of all spaces, trained."""
    config = evaluation.config
    source = evaluation.train
    protocol = config.protocol
    size = config.data.image_size
    black = tf.zeros([1, size, size, config.model.image_channels])
    dims = {name: int(f(black).shape[-1]) for name, f in functions.items()}
    steps = total_steps(protocol, source.num_examples)
    curve = schedule.WarmUpCosine(peak_learning_rate(protocol), 0, steps)
    grid = [(rate / protocol.learning_rate, decay) for rate, decay in grid_of(protocol)]
    zero = protocol.zero_init_logits_layer
    with evaluation.strategy.scope():
        classifiers = LinearClassifiers(dims, source.num_classes, zero, grid, config.run.seed)
        trainer = LinearTrainer(
            classifiers, functions, _view(evaluation), curve, protocol.momentum
        )  # fmt: skip
    train_classifiers(
        trainer,
        _train_batches(evaluation),
        steps,
        evaluation.strategy,
        observe=lambda step, losses: print(_progress(step, steps, losses), flush=True),
    )
    return classifiers


def _progress(step, steps, losses):
    parts = "  ".join(f"{name} {value:.4f}" for name, value in sorted(losses.items()))
    return f"linear classifier, step {step}/{steps}: loss {parts}"
