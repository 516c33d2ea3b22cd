"""The linear protocol of the transfer suite: L-BFGS on features computed once (PAPER.md 3.3)."""

import numpy as np

from simclr_tf.evaluation import multi_label, results
from simclr_tf.evaluation.baselines import Standardiser, untrained_encoder
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.logistic import Choice, tune_logistic
from simclr_tf.evaluation.metrics import classification_report, mean_per_class, top_k
from simclr_tf.evaluation.significance import example_weights, permutation_test
from simclr_tf.training.input import eval_batches


def feature_functions(config, encoders, strategy):
    """{row: encoder} of the given encoders and the untrained one."""
    with strategy.scope():
        untrained = untrained_encoder(config.model, config.data.image_size, config.run.seed)
    return {"untrained": untrained, **encoders}


def measure(config, data, encoders, strategy):
    """Linear classifiers of several encoders on one data set, and whether they differ.

    Args:
        config: config.Transfer; data: transfer_data.TransferData.
        encoders: {row: images -> h}; strategy: tf.distribute.Strategy.
    Returns:
        {"rows": {row: figures with "value", "interval" and "penalty"}, "p_values": {other row:
        permutation test of simclr against it}}, none of these without the row "simclr"; and
        {row: `confusion`}.
    """

    def together(images, training):
        return {name: encoder(images, training=training) for name, encoder in encoders.items()}

    size, batch = config.data.image_size, config.transfer.eval_batch_size
    extract = Extractor(together, batch, strategy)
    train, test = (extract(eval_batches(one, size, batch)) for one in (data.train, data.test))
    rows, hits, confusions = {}, {}, {}
    for name in encoders:
        scale = Standardiser(train.h[name])
        pair = scale(train.h[name]), scale(test.h[name])
        scores, penalty = _classify(config, data, pair, train.labels)
        rows[name] = {**figures(data, scores, test.labels), "penalty": penalty}
        hits[name] = _hits(data, scores, test.labels)
        confusions[name] = confusion(data, scores, test.labels)
    others = [name for name in encoders if name != "simclr"] if "simclr" in encoders else []
    p_values = {
        name: p_value(config, data, test.labels, hits["simclr"], hits[name]) for name in others
    }
    return {"rows": rows, "p_values": p_values}, confusions


def p_value(config, data, labels, hits, other_hits):
    """Permutation test of two models on one data set.

    Args:
        config: config.Transfer; data: TransferData; labels: int [n] of the test images.
        hits, other_hits: float [n], accuracy of each model on each test image.
    Returns:
        float in (0, 1].
    """
    metric = "mean_per_class" if data.about.metric == "mean_per_class" else "top_1"
    differences = example_weights(labels, metric) * (hits - other_hits)
    return permutation_test(differences, config.transfer.permutations, config.run.seed)


def _classify(config, data, pair, labels):
    """(scores of the test images [n, c], penalty) of one feature space."""
    seed, most = config.run.seed, config.transfer.max_iterations
    if data.targets is not None:
        scores_of, penalty = multi_label.tune_multi_label(
            pair[0], data.targets["train"], data.split, max_iterations=most
        )
        return scores_of(pair[1]), penalty
    kept, out = data.split
    choice = Choice(kept, out, _chosen_by(data))
    tuned = tune_logistic(
        pair[0], labels, len(data.class_names), seed, max_iterations=most, choice=choice
    )
    return pair[1] @ tuned.weights + tuned.bias, tuned.penalty


def _chosen_by(data):
    """What the held-out share is judged by: scores, labels -> float."""
    if data.about.metric == "mean_per_class":
        classes = len(data.class_names)
        return lambda scores, labels: mean_per_class(scores.argmax(axis=1), labels, classes)
    return lambda scores, labels: top_k(scores, labels, 1)


def figures(data, scores, labels):
    """The figures of one classifier, with "value" and "interval" of the data set's metric.

    Args:
        data: TransferData; scores: float [n, num_classes]; labels: int [n] of the test images.
    """
    metric = data.about.metric
    if metric == "map_11":
        targets = data.targets["test"]
        figure = multi_label.mean_average_precision
        value = figure(scores, targets)
        interval = multi_label.bootstrap_interval(
            lambda picked: figure(scores[picked], targets[picked]), len(targets)
        )
        return {"value": value, "interval": interval, "num_eval": len(targets)}
    report = classification_report(scores, labels)
    figure = {"value": report[metric], "interval": report[metric + "_interval"]}
    return {**figure, **report, "num_eval": len(labels)}


def confusion(data, scores, labels):
    """The confusion matrix of one classifier as CSV; arguments as of `figures`."""
    if data.targets is not None:
        return results.label_sets_csv(scores, data.targets["test"], data.class_names)
    return results.confusion_csv(scores, labels, data.class_names)


def _hits(data, scores, labels):
    """What the permutation test exchanges: accuracy of each test image, float [n]."""
    if data.targets is not None:
        return np.mean((scores > 0) == data.targets["test"], axis=1)
    return (scores.argmax(axis=1) == labels).astype(np.float64)
