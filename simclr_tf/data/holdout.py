"""Which examples are held out when a data set has no evaluation split. NumPy only."""

import numpy as np

from simclr_tf import streams

AUTOMATIC = -1.0  # the value of `eval_fraction` that lets the labels decide
SHARE = 0.2  # held out automatically where there are labels to measure with


def share_of(eval_fraction, has_labels):
    """The share that is held out, from 0 to below 1.

    Without labels nothing can be measured on held-out images, so every image trains.

    Args:
        eval_fraction: the setting; AUTOMATIC or the share itself.
        has_labels: whether the examples have classes.
    """
    if eval_fraction != AUTOMATIC:
        return eval_fraction
    return SHARE if has_labels else 0.0


def held_out_count(num_examples, fraction):
    """Number of examples held out of `num_examples`: rounded, at least 1, and 1 is always kept.

    0 for a fraction of 0.
    """
    if num_examples < 2 or fraction <= 0:
        return 0
    return min(max(int(round(num_examples * fraction)), 1), num_examples - 1)


def held_out(labels, fraction, seed):
    """The seeded share: every class gives the same fraction of its examples.

    Args:
        labels: int [n]; equal numbers are one class (all -1: no labels, one common draw).
        fraction: share held out, from 0 to below 1; or AUTOMATIC, see `share_of`. A class of one
            example keeps it.
        seed: int.
    Returns:
        bool [n], True where held out: a function of the arguments only.
    """
    labels = np.asarray(labels)
    fraction = share_of(fraction, bool(len(labels)) and bool((labels >= 0).any()))
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        # RandomState: its stream is frozen by NumPy, so every version draws the same share.
        order = np.random.RandomState(streams.hold_out(seed, int(label))).permutation(len(members))
        chosen[members[order[: held_out_count(len(members), fraction)]]] = True
    return chosen
