"""Accuracy with a handful of labels per class: logistic regression on standardised features."""

import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from simclr_tf import streams

SHOTS = (1, 2, 5, 10)


def draw_indices(labels, shots, draw, seed):
    """A seeded class-balanced draw of training examples.

    It depends on the labels and the seeds only, so every row of a table sees the same examples;
    draws are nested: the examples of fewer shots are among those of more.

    Args:
        labels: int [n], all >= 0.
        shots: int, examples per class.
        draw: int, number of the draw.
        seed: int >= 0.
    Returns:
        int [shots * classes], positions in `labels`, class by class.
    Raises:
        ValueError: a class has fewer than `shots` examples.
    """
    labels = np.asarray(labels)
    order = np.random.default_rng(streams.few_shot(seed, draw)).permutation(len(labels))
    picked = []
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        if len(of_class) < shots:
            raise ValueError(f"class {label} has {len(of_class)} examples, fewer than {shots}.")
        picked.append(of_class[:shots])
    return np.concatenate(picked)


def possible_shots(labels, shots=SHOTS):
    """Those of `shots` that the rarest class of `labels` (int [n]) can provide, as a tuple."""
    rarest = np.unique(labels, return_counts=True)[1].min()
    return tuple(k for k in shots if k <= rarest)


def few_shot(train, evaluation, shots=SHOTS, draws=10, seed=0, observe=None):
    """Mean top-1 over seeded draws of 1, 2, 5, 10 labels per class.

    Features are standardised with mean and deviation of all training features, which needs no
    label; the classifier is scikit-learn's LogisticRegression at its default C = 1. Numbers of
    labels that the rarest class cannot provide are left out.

    Args:
        train, evaluation: (features float [n, d], labels int [n]) pairs.
        shots: labels per class.
        draws: draws averaged.
        seed: int >= 0.
        observe: called without arguments after each draw, or None.
    Returns:
        {"few_shot": {str(k): mean top-1}, "few_shot_std": {str(k): deviation over draws},
        "few_shot_interval": {str(k): [low, high] of `draws_interval`}}.
    """
    train_h, train_y = train
    eval_h, eval_y = evaluation
    scaler = StandardScaler().fit(np.asarray(train_h, np.float64))
    train_h = scaler.transform(train_h)
    eval_h = scaler.transform(eval_h)
    result = {"few_shot": {}, "few_shot_std": {}, "few_shot_interval": {}}
    for k in possible_shots(train_y, shots):
        hits = []
        for draw in range(draws):
            picked = draw_indices(train_y, k, draw, seed)
            hits.append(_fit(train_h[picked], train_y[picked]).predict(eval_h) == eval_y)
            if observe is not None:
                observe()
        accuracies = np.mean(hits, axis=1)
        result["few_shot"][str(k)] = float(np.mean(accuracies))
        result["few_shot_std"][str(k)] = float(np.std(accuracies))
        result["few_shot_interval"][str(k)] = draws_interval(hits, seed)
    return result


def draws_interval(hits, seed=0, samples=1000):
    """Bootstrap interval (95 %, percentiles) of a mean accuracy over draws of labels.

    Draws and evaluation images are both resampled: each is a source of chance of its own. With
    one draw only the images are.

    Args:
        hits: bool [draws, n].
        seed: int.
        samples: resamplings.
    Returns:
        [low, high], floats in [0, 1].
    """
    hits = np.asarray(hits, np.float64)
    rng = np.random.default_rng(seed)
    draws, count = hits.shape
    means = []
    for _ in range(samples):
        images = np.bincount(rng.integers(0, count, count), minlength=count)
        means.append(np.mean((hits @ images)[rng.integers(0, draws, draws)]) / count)
    return [float(value) for value in np.percentile(means, [2.5, 97.5])]


def fit_classifier(features, labels, num_classes):
    """Logistic regression at scikit-learn's default C = 1.

    Args:
        features: float [n, d], standardised.
        labels: int [n], at least two classes.
    Returns:
        function float [m, d] -> scores float [m, num_classes]; classes without an example get
        -inf.
    """
    classifier = _fit(features, labels)

    def scores(rows):
        found = np.full((len(rows), num_classes), -np.inf)
        logits = classifier.decision_function(rows)
        binary = logits.ndim == 1
        found[:, classifier.classes_] = np.stack([-logits, logits], 1) if binary else logits
        return found

    return scores


class _InRowSpace:
    """A classifier fitted on few rows of many features, expressed in the space of those rows.

    The weights of a penalised linear classifier are a combination of its training rows, so with
    fewer rows than features the problem has as many unknowns as rows, and the same solution.
    """

    def __init__(self, classifier, axes):
        self._classifier = classifier
        self._axes = axes
        self.classes_ = classifier.classes_

    def predict(self, rows):
        """As of scikit-learn's classifiers."""
        return self._classifier.predict(rows @ self._axes)

    def decision_function(self, rows):
        """As of scikit-learn's classifiers."""
        return self._classifier.decision_function(rows @ self._axes)


def _fit(features, labels):
    """A fitted classifier; problems this small are an order of magnitude slower on many threads."""
    features = np.asarray(features)
    with threadpool_limits(1 if features.size < 10**6 else None), warnings.catch_warnings():
        # one label per class is what is asked for here
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        if len(features) >= features.shape[1]:
            return LogisticRegression(max_iter=1000).fit(features, labels)
        axes, _ = np.linalg.qr(features.T)  # [d, rows]
        classifier = LogisticRegression(max_iter=5000).fit(features @ axes, labels)
        return _InRowSpace(classifier, axes)
