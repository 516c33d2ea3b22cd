"""What can be found in embeddings and labels: neighbours, confusions, odd images. NumPy only."""

import dataclasses

import numpy as np

TEMPERATURE = 0.1  # of the votes of neighbours, as of --mode=knn
VOTERS = 20
MOST_PAIRS = 8  # confused pairs, and near-duplicates
MOST_ERRORS = 18


def unit(rows):
    """float [n, d] -> float32 [n, d] of length 1; rows of zeros stay."""
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def neighbours(rows, k):
    """The k most similar other rows of each row.

    Args:
        rows: float32 [n, d] of length 1, n <= a few thousand.
        k: int, at most n - 1 are found.
    Returns:
        (index int64 [n, k], cosine float32 [n, k]), most similar first.
    """
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -np.inf)
    k = min(k, len(rows) - 1)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosine, order, axis=1)


def votes(index, cosine, labels, num_classes):
    """The share of each class in the votes of a row's neighbours, exp(cosine / 0.1) each.

    Args:
        index, cosine: of `neighbours`.
        labels: int [n], -1 for none, which do not vote.
        num_classes: int.
    Returns:
        float [n, num_classes]; rows sum to 1, or to 0 where no neighbour has a label.
    """
    weights = np.exp((np.float64(cosine) - cosine[:, :1]) / TEMPERATURE)
    voters = np.asarray(labels)[index]
    shares = np.zeros([len(index), num_classes])
    rows = np.repeat(np.arange(len(index)), index.shape[1]).reshape(index.shape)
    known = voters >= 0
    np.add.at(shares, (rows[known], voters[known]), weights[known])
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)


@dataclasses.dataclass(frozen=True)
class LikelyError:
    """An image whose neighbours disagree with its label.

    Attributes:
        row: of the image.
        label: what it is labelled as.
        other: the class of most of its neighbours' votes.
        share: of the votes for `other`.
    """

    row: int
    label: int
    other: int
    share: float


def likely_label_errors(shares, labels, most=MOST_ERRORS):
    """The images most of whose neighbours' votes go to one other class, surest first.

    Args:
        shares: float [n, num_classes] of `votes`.
        labels: int [n], -1 for none.
        most: int.
    Returns:
        list of LikelyError.
    """
    labels = np.asarray(labels)
    other = shares.argmax(axis=1)
    share = shares.max(axis=1)
    wrong = np.flatnonzero((labels >= 0) & (other != labels) & (share > 0.5))
    wrong = wrong[np.argsort(-share[wrong], kind="stable")][:most]
    return [LikelyError(int(i), int(labels[i]), int(other[i]), float(share[i])) for i in wrong]


def typical(rows, labels, num_classes, count):
    """The images nearest to and farthest from the mean of their class, by cosine.

    Args:
        rows: float32 [n, d] of length 1.
        labels: int [n].
        num_classes: int.
        count: int, images of each kind.
    Returns:
        {class: (most typical rows, least typical rows, the least typical first)}; classes with
        fewer than 2 images are left out, and no image is in both lists.
    """
    found = {}
    for label in range(num_classes):
        members = np.flatnonzero(np.asarray(labels) == label)
        if len(members) < 2:
            continue
        mean = rows[members].mean(axis=0)
        order = members[np.argsort(-(rows[members] @ mean), kind="stable")]
        each = min(count, len(members) // 2)
        found[label] = (order[:each], order[::-1][:each])
    return found


def confused_pairs(counts, most=MOST_PAIRS):
    """The pairs (true class, predicted class, images) that are confused most.

    Args:
        counts: int [c, c], row = true class.
        most: int.
    Returns:
        list of (int, int, int), most images first; pairs without images are left out.
    """
    wrong = np.array(counts)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [np.unravel_index(at, wrong.shape) for at in order]
    return [(int(a), int(b), int(wrong[a, b])) for a, b in pairs if wrong[a, b]]


def duplicate_pairs(index, cosine, least, most=MOST_PAIRS):
    """Pairs of rows whose cosine is at least `least`, most similar first.

    Args:
        index, cosine: of `neighbours`.
        least: float.
        most: int.
    Returns:
        list of (row, row, cosine), each pair once.
    """
    pairs = {}
    for row, (others, values) in enumerate(zip(index, cosine)):
        for other, value in zip(others, values):
            if value >= least:
                pairs[min(row, int(other)), max(row, int(other))] = float(value)
    ordered = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    return [(a, b, value) for (a, b), value in ordered[:most]]


def pair_similarities(first, second):
    """Cosines of two views of the same images and of different images.

    Args:
        first, second: float32 [n, d] of length 1, two views of n images.
    Returns:
        (positives [n], negatives [n * (n - 1)]).
    """
    cosine = first @ second.T
    return np.diag(cosine), cosine[~np.eye(len(cosine), dtype=bool)]


def histogram(values, bins=50):
    """(middles of the bins, share of the values in each) of cosines, from -1 to 1."""
    counts, edges = np.histogram(np.clip(values, -1, 1), bins, (-1, 1))
    return (edges[:-1] + edges[1:]) / 2, counts / max(1, len(values))
