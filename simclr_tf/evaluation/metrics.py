"""Figures of a classifier with their uncertainty; NumPy, float64."""

import math

import numpy as np


def top_k(scores, labels, k):
    """Share of examples whose label is among the k highest scores.

    Ties count in favour of the lower class index, as in `argsort`; k above the number of classes
    means all classes.

    Args:
        scores: float [n, num_classes].
        labels: int [n].
        k: int >= 1.
    Returns:
        float in [0, 1].
    """
    return float(np.mean(_hits(scores, labels, k)))


def _hits(scores, labels, k):
    """bool [n]: whether fewer than k classes come before the label; NaN scores never hit."""
    scores = np.asarray(scores, np.float64)
    labels = np.asarray(labels)
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1])[None, :] < labels[:, None]
    before = (scores > own) | ((scores == own) & earlier)
    return (before.sum(axis=1) < k) & np.isfinite(own[:, 0])


def confusion_matrix(predictions, labels, num_classes):
    """Counts, int [num_classes, num_classes]: row = true class, column = predicted class."""
    flat = np.asarray(labels, np.int64) * num_classes + np.asarray(predictions, np.int64)
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def mean_per_class(predictions, labels, num_classes):
    """Mean over the classes that occur in `labels` of the accuracy within the class."""
    counts = confusion_matrix(predictions, labels, num_classes)
    totals = counts.sum(axis=1)
    present = totals > 0
    return float(np.mean(np.diag(counts)[present] / totals[present]))


def mean_per_class_interval(predictions, labels, num_classes, samples=1000, seed=0):
    """Bootstrap interval (95 %, percentiles) of `mean_per_class`.

    Examples are drawn anew within each class, so the hits of a class are binomial.

    Args:
        predictions, labels: int [n].
        num_classes: int.
        samples: draws.
        seed: int.
    Returns:
        (low, high), floats in [0, 1].
    """
    counts = confusion_matrix(predictions, labels, num_classes)
    totals = counts.sum(axis=1)
    present = totals > 0
    totals = totals[present]
    hits = np.diag(counts)[present]
    drawn = np.random.default_rng(seed).binomial(totals, hits / totals, (samples, len(totals)))
    low, high = np.percentile((drawn / totals).mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def wilson_interval(accuracy, n, confidence_z=1.959963984540054):
    """Wilson score interval of a share (Wilson 1927); never leaves [0, 1].

    Args:
        accuracy: float in [0, 1], the measured share.
        n: int >= 1, examples it was measured on.
        confidence_z: quantile of the normal distribution; the default is 95 %, two-sided.
    Returns:
        (low, high), floats in [0, 1].
    """
    z2 = confidence_z**2
    centre = accuracy + z2 / (2 * n)
    half = confidence_z * math.sqrt(accuracy * (1 - accuracy) / n + z2 / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))


def classification_report(scores, labels):
    """The figures of one classifier on one evaluation set.

    Args:
        scores: float [n, num_classes].
        labels: int [n], n >= 1.
    Returns:
        {"top_1", "top_1_interval", "top_5", "top_5_interval", "mean_per_class",
        "mean_per_class_interval"}; top_5 is top-k with k = num_classes where there are fewer than
        5 classes; intervals are [low, high], Wilson's, of the mean per class by bootstrap.
    """
    scores = np.asarray(scores)
    labels = np.asarray(labels)
    n, num_classes = scores.shape
    report = {}
    for name, k in (("top_1", 1), ("top_5", min(5, num_classes))):
        report[name] = top_k(scores, labels, k)
        report[name + "_interval"] = list(wilson_interval(report[name], n))
    found = scores.argmax(axis=1), labels, num_classes
    report["mean_per_class"] = mean_per_class(*found)
    report["mean_per_class_interval"] = list(mean_per_class_interval(*found))
    return report
