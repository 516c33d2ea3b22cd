"""Which examples are held out when a data set has no evaluation split. NumPy only."""

import numpy as np

from simclr_tf import streams


def held_out_count(num_examples, fraction):
    """Number of examples held out of `num_examples`: rounded, at least 1, and 1 is always kept."""
    if num_examples < 2:
        return 0
    return min(max(int(round(num_examples * fraction)), 1), num_examples - 1)


def held_out(labels, fraction, seed):
    """The seeded share: every class gives the same fraction of its examples.

    Args:
        labels: int [n]; equal numbers are one class (all -1: no labels, one common draw).
        fraction: share held out, between 0 and 1. A class of one example keeps it.
        seed: int.
    Returns:
        bool [n], True where held out: a function of the arguments only.
    """
    labels = np.asarray(labels)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        # RandomState: its stream is frozen by NumPy, so every version draws the same share.
        order = np.random.RandomState(streams.hold_out(seed, int(label))).permutation(len(members))
        chosen[members[order[: held_out_count(len(members), fraction)]]] = True
    return chosen
