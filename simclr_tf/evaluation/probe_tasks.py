"""The probes of `--mode=probe`: features of transformed views, and classifiers on them."""

import numpy as np

from simclr_tf import phases
from simclr_tf.evaluation import probe_views
from simclr_tf.evaluation.baselines import Standardiser, untrained_encoder
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.frozen import fastest
from simclr_tf.evaluation.logistic import PENALTIES, tune_logistic
from simclr_tf.evaluation.metrics import classification_report
from simclr_tf.evaluation.mlp import fit_mlp
from simclr_tf.evaluation.results import confusion_csv
from simclr_tf.evaluation.transformations import CLASSES
from simclr_tf.views.batches import eval_batches
from simclr_tf.views.device import make_views

TITLES = {"untrained": "h, untrained encoder", "h": "h"}


class Probing:
    """What the tasks share; the forward pass and the views are compiled once.

    Args:
        config: resolved config.Probe.
        trained: restore.Trained.
        strategy: tf.distribute.Strategy that holds it.
        train, held_out: Source.
    """

    def __init__(self, config, trained, strategy, train, held_out):
        self.config = config
        self.trained = trained
        self.train = train
        self.held_out = held_out
        with strategy.scope():
            self._untrained = untrained_encoder(
                config.model, config.data.image_size, config.run.seed
            )
        self._encoder = fastest(trained.encoder, strategy)
        self._extract = Extractor(self._spaces, config.probe.eval_batch_size, strategy)
        self._views = {}

    def _spaces(self, images, training):
        """{"untrained", "h", "z1", ...: features}."""
        trained = self.trained
        h = self._encoder(images, training=training)
        layers = trained.head.outputs(h, training=training)[1:] if trained.head is not None else []
        found = {"untrained": self._untrained(images, training=training), "h": h}
        return {**found, **{f"z{at}": z for at, z in enumerate(layers, start=1)}}

    def features(self, source, task):
        """Features of every image of a Source once, with the class of the task as label."""
        batches = phases.counted(
            self.batches(source, task), f"features, {task}", source.num_examples
        )
        return self._extract(batches)

    def batches(self, source, task):
        """The batches of `features`: {"images", "label", "id"}."""
        config = self.config
        if task == "label":
            return eval_batches(source, config.data.image_size, config.probe.eval_batch_size)
        views = probe_views.views_of(self.trained, task)
        if views not in self._views:
            size = config.data.image_size
            seed = config.run.seed
            self._views[views] = make_views(views, size, seed, num_views=1)
        return probe_views.transformed(config, (views, self._views[views]), source, task)


def measure(probing, task):
    """One probe per feature space.

    Args:
        probing: Probing.
        task: a key of `transformations.CLASSES`, or "label".
    Returns:
        {"chance": share of the commonest class of the evaluation images, "spaces": {name:
        classification report}}, and the confusion matrix of h as CSV.
    """
    config = probing.config
    rows = {}
    scores = {}
    classes = probing.train.class_names if task == "label" else CLASSES[task]
    train, held_out = (probing.features(one, task) for one in (probing.train, probing.held_out))
    for name in train.h:
        scale = Standardiser(train.h[name])
        pair = scale(train.h[name]), scale(held_out.h[name])
        with phases.phase(f"probe of {name}, {task}", unit=""):
            scores[name] = _scores(config, task, pair, train.labels, len(classes))
        rows[name] = classification_report(scores[name], held_out.labels)
    chance = float(np.bincount(held_out.labels).max() / len(held_out.labels))
    confusion = confusion_csv(scores["h"], held_out.labels, classes)
    return {"chance": chance, "spaces": rows}, confusion


def _scores(config, task, pair, labels, num_classes):
    """Scores of the evaluation features of a (training, evaluation) pair."""
    seed = config.run.seed
    if task == "label":
        tuned = tune_logistic(pair[0], labels, num_classes, seed, PENALTIES[::4], 100)
        return pair[1] @ tuned.weights + tuned.bias
    settings = config.probe
    width = settings.probe_hidden
    epochs = settings.probe_epochs
    return fit_mlp(pair[0], labels, num_classes, width, epochs, seed)(pair[1])
