"""The linear protocol of the transfer suite: L-BFGS on features computed once (paper appendix B.8)."""

import numpy as np

from simclr_tf import phases
from simclr_tf.data.label_sets import truth
from simclr_tf.evaluation.baselines import Standardiser, untrained_encoder
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.frozen import fastest
from simclr_tf.evaluation.logistic import PENALTIES, Choice, tune_logistic
from simclr_tf.evaluation.metrics import mean_per_class, top_k
from simclr_tf.evaluation.multi_label import report, tune_multi_label
from simclr_tf.evaluation.results import confusion_csv
from simclr_tf.evaluation.significance import example_weights, permutation_test
from simclr_tf.views.batches import eval_batches


def feature_functions(config, encoders, strategy):
    """{row: images -> h} of the given encoders and the untrained one."""
    with strategy.scope():
        untrained = untrained_encoder(config.model, config.data.image_size, config.run.seed)
    frozen = {name: fastest(encoder, strategy) for name, encoder in encoders.items()}
    return {"untrained": untrained, **frozen}


def measure(config, data, encoders, strategy):
    """Linear classifiers of several encoders on one data set, and whether they differ.

    Args:
        config: config.Transfer.
        data: transfer_data.TransferData.
        encoders: {row: images -> h}.
        strategy: tf.distribute.Strategy.
    Returns:
        {"rows": {row: figures with "value", "interval" and "penalty"}, "p_values": {other row:
        permutation test of simclr against it}}, none of these without the row "simclr"; and
        {row: confusion matrix as CSV}.
    """

    def all_features(images, training):
        return {name: encoder(images, training=training) for name, encoder in encoders.items()}

    size = config.data.image_size
    batch = config.transfer.eval_batch_size
    extract = Extractor(all_features, batch, strategy)
    train, test = (
        extract(phases.counted(eval_batches(one, size, batch), name, one.num_examples))
        for name, one in (("training features", data.train), ("test features", data.test))
    )
    right = truth(data.test, test.labels)
    rows = {}
    hits = {}
    confusions = {}
    for name in encoders:
        scale = Standardiser(train.h[name])
        pair = scale(train.h[name]), scale(test.h[name])
        scores, penalty = _classify(config, data, pair, truth(data.train, train.labels), name)
        with phases.phase(f"intervals, {name}", unit=""):
            rows[name] = {**figures(data.about, scores, right), "penalty": penalty}
        hits[name] = hits_of(scores, right)
        confusions[name] = confusion_csv(scores, right, data.test.class_names)
    others = [name for name in encoders if name != "simclr"] if "simclr" in encoders else []
    with phases.phase("permutation tests", unit=""):
        p_values = {
            name: p_value(config, data, test.labels, hits["simclr"], hits[name]) for name in others
        }
    return {"rows": rows, "p_values": p_values}, confusions


def p_value(config, data, labels, hits, other_hits):
    """Permutation test of two models on one data set.

    Args:
        config: config.Transfer.
        data: TransferData.
        labels: int [n] of the test images.
        hits, other_hits: float [n], accuracy of each model on each test image.
    Returns:
        float in (0, 1].
    """
    metric = "mean_per_class" if data.about.metric == "mean_per_class" else "top_1"
    differences = example_weights(labels, metric) * (hits - other_hits)
    return permutation_test(differences, config.transfer.permutations, config.run.seed)


def _classify(config, data, pair, labels, name):
    """(scores of the test images [n, c], penalty) of one feature space, called `name`."""
    seed = config.run.seed
    most = config.transfer.max_iterations
    if labels.ndim == 2:
        with phases.phase(f"linear classifiers, {name}", labels.shape[1], "classes") as one:
            scores_of, penalty = tune_multi_label(
                pair[0], labels, data.split, max_iterations=most, observe=one.advance
            )
        return scores_of(pair[1]), penalty
    kept, out = data.split
    choice = Choice(kept, out, _chosen_by(data))
    classes = data.train.num_classes
    with phases.phase(f"linear classifier, {name}", len(PENALTIES), "penalties") as one:
        tuned = tune_logistic(
            pair[0],
            labels,
            classes,
            seed,
            max_iterations=most,
            choice=choice,
            observe=one.advance,
        )
    return pair[1] @ tuned.weights + tuned.bias, tuned.penalty


def _chosen_by(data):
    """What the held-out share is judged by: scores, labels -> float."""
    if data.about.metric == "mean_per_class":
        classes = data.train.num_classes
        return lambda scores, labels: mean_per_class(scores.argmax(axis=1), labels, classes)
    return lambda scores, labels: top_k(scores, labels, 1)


def figures(about, scores, right):
    """The figures of one classifier, with "value" and "interval" of the data set's metric.

    Args:
        about: TransferSet.
        scores: float [n, c].
        right: int [n] or bool [n, c].
    """
    found = report(scores, right)
    value = {"value": found[about.metric], "interval": found[about.metric + "_interval"]}
    return {**value, **found, "num_eval": len(right)}


def hits_of(scores, right):
    """What the permutation test exchanges: accuracy on each test image, float [n].

    Args:
        scores: float [n, c].
        right: int [n], or bool [n, c]: the share of rightly judged labels.
    """
    if right.ndim == 2:
        return np.mean((scores > 0) == right, axis=1)
    return (scores.argmax(axis=1) == right).astype(np.float64)
