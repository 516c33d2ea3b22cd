"""Several labels per image: average precision as in PASCAL VOC 2007, one-vs-rest classifiers."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from simclr_tf.evaluation.logistic import PENALTIES
from simclr_tf.evaluation.metrics import classification_report


def average_precision_11(scores, positives):
    """11-point interpolated average precision (PASCAL VOC 2007).

    The mean over recalls 0, 0.1, ..., 1 of the highest precision at that recall or above; ties
    keep the order of the examples.

    Args:
        scores: float [n].
        positives: bool [n], at least one.
    Returns:
        float in [0, 1].
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.cumsum(np.asarray(positives, bool)[order])
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / hits[-1]
    best_after = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 11) - 1e-12)
    return float(np.mean(best_after[places]))


def mean_average_precision(scores, targets):
    """Mean of `average_precision_11` over the classes that occur.

    Args:
        scores: float [n, c].
        targets: bool [n, c].
    """
    classes = np.flatnonzero(np.asarray(targets).any(axis=0))
    return float(np.mean([average_precision_11(scores[:, c], targets[:, c]) for c in classes]))


def bootstrap_interval(figure, count, seed=0, samples=200):
    """Percentile interval (95 %) of figure(positions int [count]) over resampled examples."""
    rng = np.random.default_rng(seed)
    values = [figure(rng.integers(0, count, count)) for _ in range(samples)]
    return [float(value) for value in np.percentile(values, [2.5, 97.5])]


def report(scores, truth):
    """The figures of one classifier on one evaluation set, with one label per image or several.

    Args:
        scores: float [n, c].
        truth: int [n] or bool [n, c], n >= 1.
    Returns:
        `metrics.classification_report`, or of several labels {"map_11": mean average precision,
        "map_11_interval": [low, high] by bootstrap over images}.
    """
    if np.ndim(truth) == 1:
        return classification_report(scores, truth)

    def figure(rows):
        return mean_average_precision(scores[rows], truth[rows])

    everything = figure(np.arange(len(truth)))
    return {"map_11": everything, "map_11_interval": bootstrap_interval(figure, len(truth))}


def tune_multi_label(
    features, targets, split, penalties=PENALTIES, max_iterations=1000, observe=None
):
    """One logistic regression per class; the penalty with the best mean average precision.

    Each class starts its search at the strongest penalty, each solution starts the next one.

    Args:
        features: float [n, d], standardised.
        targets: bool [n, c].
        split: (kept, held out) positions.
        penalties: in descending order.
        max_iterations: cap of L-BFGS.
        observe: called without arguments after each class, or None.
    Returns:
        (function float [m, d] -> scores float [m, c], penalty): fitted on all examples.
    """
    kept, out = split
    scores = np.zeros((len(penalties), len(out), targets.shape[1]))
    for c in range(targets.shape[1]):
        classifier = LogisticRegression(warm_start=True, max_iter=max_iterations)
        for at, penalty in enumerate(penalties):
            if _differ(targets[kept, c]):
                classifier.set_params(C=1.0 / penalty).fit(features[kept], targets[kept, c])
                scores[at, :, c] = classifier.decision_function(features[out])
        if observe is not None:
            observe()
    figures = [mean_average_precision(found, targets[out]) for found in scores]
    penalty = float(penalties[int(np.argmax(figures))])
    return fit_multi_label(features, targets, penalty, max_iterations), penalty


def fit_multi_label(features, targets, penalty=1.0, max_iterations=1000):
    """One logistic regression per class.

    Args:
        features: float [n, d], standardised.
        targets: bool [n, c].
        penalty: on the weights.
        max_iterations: cap of L-BFGS.
    Returns:
        function float [m, d] -> scores float [m, c]; a class that no example or every one has
        gets -inf or inf.
    """
    fitted = [_fit(features, column, penalty, max_iterations) for column in targets.T]
    return lambda rows: np.stack([one(rows) for one in fitted], axis=1)


def _fit(features, positives, penalty, max_iterations):
    if not _differ(positives):
        return lambda rows: np.full(len(rows), -np.inf if not positives[0] else np.inf)
    classifier = LogisticRegression(C=1.0 / penalty, max_iter=max_iterations)
    return classifier.fit(features, positives).decision_function


def _differ(positives):
    """Whether a class has examples with and without it."""
    return bool(positives.any() and not positives.all())
