"""Contrastive losses in float64 NumPy, written from their formulas; no code of simclr_tf."""

import numpy as np


def views(kind, n, d, seed=0):
    """float64 [2n, d], first views, then second views, of one kind of batch."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n, d))
    point = rng.normal(size=(1, d))
    z = {
        "random": lambda: (a, b),
        "correlated": lambda: (a, a + 0.5 * b),
        "aligned": lambda: (a, a + 0.02 * b),
        "antipodal": lambda: (a, -a),
        "collapsed": lambda: (point + 0.01 * a, point + 0.01 * b),
    }[kind]()
    return np.concatenate(z).astype(np.float32).astype(np.float64)


def unit(z):
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-6)


def through_norm(gradient, z):
    """The gradient with respect to z from the one with respect to unit(z)."""
    u = unit(z)
    along = np.sum(gradient * u, 1, keepdims=True) * u
    return (gradient - along) / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-6)


def from_similarities(loss_and_weights, z, temperature, hidden_norm):
    """Loss and gradient of a function of s = z z^T / temperature that returns (loss, d loss/ds)."""
    rows = unit(z) if hidden_norm else z
    loss, weights = loss_and_weights(rows @ rows.T / temperature)
    gradient = (weights + weights.T) @ rows / temperature
    return loss, through_norm(gradient, z) if hidden_norm else gradient


def _log_sum(s):
    scale = np.max(s, 1, keepdims=True)
    with np.errstate(divide="ignore"):
        return (scale + np.log(np.sum(np.exp(s - scale), 1, keepdims=True)))[:, 0]


def nt_xent(z, temperature, hidden_norm=True, decoupled=False):
    """Equation 1 of the paper; `decoupled` drops the positive from the denominator."""
    rows = len(z)
    own = np.arange(rows)
    other = (own + rows // 2) % rows

    def loss_and_weights(s):
        negatives = s.copy()
        negatives[own, own] = negatives[own, other] = -1e300
        log_negatives = _log_sum(negatives)
        x = log_negatives - s[own, other]
        loss = x if decoupled else np.logaddexp(0, x)  # log(1 + e^x): exact when tiny
        normaliser = log_negatives if decoupled else s[own, other] + loss
        weights = np.exp(negatives - normaliser[:, None])
        weights[own, other] = -1.0 if decoupled else -np.exp(-np.logaddexp(0, -x))
        return np.mean(loss), weights / rows

    return from_similarities(loss_and_weights, z, temperature, hidden_norm)


def supervised(z, labels, temperature):
    """Mean over anchors of log sum exp over all others - mean over positives.

    labels: int [n], -1 for an image without one.
    """
    rows = len(z)
    image = np.arange(rows) % (rows // 2)
    label = np.tile(labels, 2)
    same = (image[:, None] == image) | ((label[:, None] == label) & (label[:, None] >= 0))
    others = ~np.eye(rows, dtype=bool)
    positive = same & others
    share = positive / positive.sum(1, keepdims=True)

    def loss_and_weights(s):
        masked = np.where(others, s, -1e300)
        normaliser = _log_sum(masked)
        loss = np.mean(normaliser - np.sum(share * s, 1))
        return loss, (np.exp(masked - normaliser[:, None]) - share) / rows

    return from_similarities(loss_and_weights, z, temperature, True)


def pairwise(z, kind, setting, semi_hard):
    """NT-Logistic (`setting`: temperature) or margin triplet (`setting`: margin), both directions.

    Returns the loss and its gradient by central differences, good to about 1e-8.
    """

    def anchor(s, t):
        if semi_hard:
            low = t - setting if kind == "margin" else -np.inf
            s = s[(s < t) & (s > low)]
            s = s[np.argmax(s) :][:1] if len(s) else s
        negatives = np.maximum(s - t + setting, 0) if kind == "margin" else np.logaddexp(0, s)
        of_negatives = np.mean(negatives) if len(negatives) else 0.0
        return of_negatives + (0.0 if kind == "margin" else np.logaddexp(0, -t))

    def loss(z):
        a, b = np.split(unit(z), 2)
        s = a @ b.T / (1.0 if kind == "margin" else setting)
        each = [anchor(np.delete(row, i), row[i]) for m in (s, s.T) for i, row in enumerate(m)]
        return np.mean(each)

    gradient = np.zeros_like(z)
    step = 1e-6
    for place in np.ndindex(*z.shape):
        for sign in (1, -1):
            moved = z.copy()
            moved[place] += sign * step
            gradient[place] += sign * loss(moved) / (2 * step)
    return loss(z), gradient
