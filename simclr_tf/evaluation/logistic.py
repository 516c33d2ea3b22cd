"""Multinomial logistic regression by L-BFGS on features computed once: the fast linear evaluation.

Objective: sum of the cross entropies + penalty / 2 |W|^2, the bias free, as scikit-learn's with
C = 1 / penalty. The penalty is chosen from the paper's 45 values (arXiv:2002.05709, appendix B.8;
whether its loss is a sum or a mean is not stated) on a held-out part of the training set.
"""

import collections

import numpy as np

from simclr_tf import streams
from simclr_tf.stack import tf

PENALTIES = np.logspace(5, -6, 45)  # strongest first: each solution starts the search of the next
HELD_OUT = 0.2
BLOCK = 65536
HOST_LIMIT = 1e9  # multiplications per step: below, a call to the device costs more than the step
PATIENCE = 8  # weaker penalties in a row without a better figure end the search

Choice = collections.namedtuple("Choice", ["kept", "held_out", "figure"])
"""How a penalty is chosen: positions to fit on, positions to judge on, and what judges:
(scores float [m, num_classes], labels int [m]) -> float, higher is better."""

Tuned = collections.namedtuple("Tuned", ["weights", "bias", "penalty", "held_out_top_1"])


def fit_logistic(features, labels, num_classes, penalty, start=None, max_iterations=1000):
    """Minimises the objective from `start`.

    Rows go through the device in blocks, so device memory is bounded: 4 * 65536 * (d + 2 c) bytes
    (float32 products, sums in float64).

    Args:
        features: float [n, d], best standardised.
        labels: int [n].
        num_classes: int c.
        penalty: float >= 0.
        start: (weights [d, c], bias [c]) or None for zeros.
        max_iterations: cap of L-BFGS.
    Returns:
        (weights float64 [d, c], bias float64 [c]).
    """
    features = np.asarray(features, np.float32)
    labels = np.asarray(labels, np.int32)
    dim = features.shape[1]

    def unpack(flat):
        return flat[: dim * num_classes].reshape(dim, num_classes), flat[dim * num_classes :]

    sums = _sums_on_host if features.size * num_classes < HOST_LIMIT else _sums_on_device
    sums = sums(features, labels, num_classes)

    def objective(flat):
        weights, _ = unpack(flat)
        total = sums(flat)
        total[0] += 0.5 * penalty * np.sum(weights**2)
        total[1 : 1 + weights.size] += penalty * weights.ravel()
        total /= len(features)
        return total[0], total[1:]

    # here, since most runs that could fit classifiers do not, and SciPy takes a while to import
    from scipy import optimize
    from threadpoolctl import threadpool_limits

    weights, bias = start or (np.zeros((dim, num_classes)), np.zeros(num_classes))
    options = {"maxiter": max_iterations, "maxcor": 10, "gtol": 1e-6, "ftol": 1e-9}
    start = np.append(weights.ravel(), bias)
    # products this small are slower on many threads
    with threadpool_limits(1 if features.size * num_classes < 1e8 else None):
        found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    return unpack(found.x)


def _sums_on_host(features, labels, num_classes):
    """Function of flat weights and bias: summed cross entropy and its gradient, by NumPy."""
    rows = np.arange(len(features))

    def sums(flat):
        stacked = flat.reshape(-1, num_classes).astype(np.float32)
        logits = features @ stacked[:-1] + stacked[-1]
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits)
        normalisers = probabilities.sum(axis=1, keepdims=True)
        losses = np.log(normalisers[:, 0]) - logits[rows, labels]
        probabilities /= normalisers
        probabilities[rows, labels] -= 1.0
        gradient = features.T @ probabilities
        parts = [losses.sum(dtype=np.float64)[None], gradient.ravel()]
        return np.concatenate([*parts, probabilities.sum(axis=0)]).astype(np.float64)

    return sums


def _sums_on_device(features, labels, num_classes):
    """The same by TensorFlow, in blocks of rows, for sizes that pay for it."""
    del num_classes
    blocks = _blocks(features, labels)

    def sums(flat):
        rounded = tf.constant(flat, tf.float32)
        return sum(_loss_and_gradient(*block, rounded).numpy() for block in blocks)

    return sums


def _blocks(features, labels):
    """(rows, labels) pairs; a single block stays on the device."""
    blocks = [
        (features[i : i + BLOCK], labels[i : i + BLOCK]) for i in range(0, len(features), BLOCK)
    ]
    return blocks if len(blocks) > 1 else [tuple(tf.constant(part) for part in blocks[0])]


@tf.function(reduce_retracing=True, autograph=False)
def _loss_and_gradient(rows, labels, flat):
    """Summed cross entropy and its gradient, weights [d, c] before bias: float64 [1 + d c + c].

    One tensor each way: handing over five takes longer than a small problem's products.
    """
    dim = tf.shape(rows)[1]
    num_classes = tf.size(flat) // (dim + 1)
    stacked = tf.reshape(flat, [dim + 1, num_classes])
    logits = tf.matmul(rows, stacked[:-1]) + stacked[-1]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    excess = tf.nn.softmax(logits) - tf.one_hot(labels, tf.shape(logits)[1])
    loss = tf.reduce_sum(tf.cast(losses, tf.float64))
    gradients = tf.matmul(rows, excess, transpose_a=True), tf.reduce_sum(excess, axis=0)
    flat_gradients = [tf.reshape(tf.cast(g, tf.float64), [-1]) for g in gradients]
    return tf.concat([[loss], *flat_gradients], 0)


def split_held_out(labels, share, seed):
    """Seeded class-balanced split.

    Args:
        labels: int [n].
        share: of each class to hold out; a class keeps at least one example.
        seed: int >= 0.
    Returns:
        (kept, held out): int arrays, ascending, disjoint, together 0 .. n - 1.
    """
    labels = np.asarray(labels)
    order = np.random.default_rng(streams.penalty_split(seed, len(labels))).permutation(len(labels))
    out = []
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        out.append(of_class[: min(len(of_class) - 1, int(round(share * len(of_class))))])
    out = np.sort(np.concatenate(out))
    return np.setdiff1d(np.arange(len(labels)), out), out


def tune_logistic(
    features,
    labels,
    num_classes,
    seed=0,
    penalties=PENALTIES,
    max_iterations=200,
    choice=None,
    observe=None,
):
    """Chooses the penalty on held-out examples, then fits on all examples.

    The grid is searched from the strongest penalty to the weakest, each fit starting from the one
    before; of equally good penalties the strongest is taken. The search ends early after PATIENCE
    weaker penalties in a row that were not better.

    Args:
        features: float [n, d], standardised.
        labels: int [n].
        num_classes: int c.
        seed: of the split.
        penalties: in descending order.
        max_iterations: of each fit of the
            grid; the final one may take five times as many.
        choice: Choice, default top-1 on a seeded class-balanced fifth.
        observe: called without arguments after each penalty, or None.
    Returns:
        Tuned(weights [d, c], bias [c], penalty float, held_out_top_1 {penalty: figure}).
    """
    features = np.asarray(features, np.float32)
    labels = np.asarray(labels)
    kept, out, judge = choice or Choice(*split_held_out(labels, HELD_OUT, seed), _top_1)
    start = None
    figures = {}
    best = None
    worse = 0
    kept_features = features[kept]
    held_out_features = features[out]
    for penalty in penalties:
        start = fit_logistic(
            kept_features, labels[kept], num_classes, penalty, start, max_iterations
        )
        scores = held_out_features @ start[0] + start[1]
        figures[float(penalty)] = judge(scores, labels[out]) if len(out) else 0.0
        if best is None or figures[float(penalty)] > figures[best[0]]:
            best = float(penalty), start
            worse = 0
        else:
            worse += 1
        if observe is not None:
            observe()
        if worse == PATIENCE:
            break
    final = fit_logistic(features, labels, num_classes, best[0], best[1], 5 * max_iterations)
    return Tuned(*final, best[0], figures)


def _top_1(scores, labels):
    return float(np.mean(np.argmax(scores, axis=1) == labels))
