"""Is one model better than another on the same images? The paper's permutation test."""

import numpy as np


def example_weights(labels, metric):
    """What one example counts in a metric: float [n], so that the metric is their sum over hits.

    Args:
        labels: int [n].
        metric: "top_1" or "mean_per_class".
    """
    labels = np.asarray(labels)
    if metric == "top_1":
        return np.full(len(labels), 1.0 / len(labels))
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1.0 / (len(counts) * counts[inverse.reshape(-1)])


def permutation_test(differences, samples=100_000, seed=0):
    """Two-sided p-value of a sum of differences when each may change its sign (paper appendix B.8).

    Exchanging the two models' predictions of an example changes the sign of its difference, so a
    sample is a sum of +-d. Equal sizes are drawn together: a sum of k signs is 2 Binomial(k, 1/2)
    - k.

    Args:
        differences: float [n], what each example adds to metric(A) - metric(B).
        samples: int, permutations drawn.
        seed: int.
    Returns:
        float in (0, 1]: (1 + number of samples at least as far from 0) / (1 + samples).
    """
    sizes = np.abs(np.asarray(differences, np.float64))
    observed = abs(np.sum(differences))
    sizes, counts = np.unique(sizes[sizes > 0], return_counts=True)
    rng = np.random.default_rng(seed)
    sums = np.zeros(samples)
    for size, count in zip(sizes, counts):
        sums += size * (2.0 * rng.binomial(count, 0.5, samples) - count)
    extreme = np.sum(np.abs(sums) >= observed * (1 - 1e-9))
    return float((1 + extreme) / (1 + samples))
