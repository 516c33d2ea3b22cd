"""How good a frozen encoder is, judged without labels: figures that order short trainings."""

from typing import Callable, Dict

import numpy as np

from simclr_tf import streams
from simclr_tf.evaluation.baselines import Standardiser
from simclr_tf.evaluation.logistic import fit_logistic

TURNS = 4  # a turn by 0, 90, 180 or 270 degrees
_PENALTY = 10.0
_HELD_OUT = 0.3


def rank_me(h: np.ndarray) -> float:
    """RankMe (arXiv:2210.02885): the effective rank of embeddings.

    Args:
        h: float [n, d].
    Returns:
        from 1 to min(n, d): exp of the entropy of the singular values of centred rows.
    """
    values = np.linalg.svd(h - h.mean(axis=0), compute_uv=False)
    return _effective(values)


def lidar(h: np.ndarray, ridge: float = 1e-4) -> float:
    """LiDAR (arXiv:2312.04000): how many directions tell images apart better than their views.

    Args:
        h: float [n, q, d], q views of each of n images.
        ridge: share of the mean variance within images that is added to every direction.
    Returns:
        from 1 to d: exp of the entropy of the eigenvalues of W^-1/2 B W^-1/2, with B the covariance
        of the means of the images and W that of the views of an image.
    """
    h = np.asarray(h, np.float64)
    means = h.mean(axis=1)
    inner = (h - means[:, None]).reshape(-1, h.shape[-1])
    within = inner.T @ inner / max(1, len(inner) - len(h))
    within += ridge * np.trace(within) / len(within) * np.eye(len(within)) + 1e-12 * np.eye(len(within))  # fmt: skip
    values, axes = np.linalg.eigh(within)
    root = axes / np.sqrt(values) @ axes.T
    between = np.cov(means.T)
    return _effective(np.maximum(np.linalg.eigvalsh(root @ between @ root), 0.0))


def retrieval(h: np.ndarray) -> float:
    """How often the other view of an image is the nearest of all images' other views.

    Args:
        h: float [n, q, d]; the first view of an image looks among the second ones.
    Returns:
        top-1 by cosine of standardised features, from 0 to 1.
    """
    rows = Standardiser(h.reshape(-1, h.shape[-1]))(h[:, :2])
    rows = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    found = np.argmax(rows[:, 0] @ rows[:, 1].T, axis=1)
    return float(np.mean(found == np.arange(len(h))))


def rotation_probe(h: np.ndarray, seed: int = 0) -> float:
    """How well a linear classifier on h tells by how many quarter turns an image is turned.

    SelfAugment (arXiv:2009.07724) found that this orders augmentations as labels do.

    Args:
        h: float [4, n, d], embeddings of n images turned by 0, 90, 180 and 270 degrees.
        seed: of the split of the images into those that train and those that are asked.
    Returns:
        top-1 of the images that are asked, from 0 to 1.
    """
    count = h.shape[1]
    order = np.random.default_rng(streams.penalty_split(seed, count)).permutation(count)
    asked = max(1, int(_HELD_OUT * count))
    train, out = h[:, order[asked:]], h[:, order[:asked]]
    scale = Standardiser(train.reshape(-1, h.shape[-1]))

    def rows(part):
        labels = np.repeat(np.arange(TURNS), part.shape[1])
        return scale(part.reshape(-1, part.shape[-1])), labels

    features, labels = rows(train)
    weights, bias = fit_logistic(features, labels, TURNS, _PENALTY, max_iterations=100)
    features, labels = rows(out)
    return float(np.mean(np.argmax(features @ weights + bias, axis=1) == labels))


def measure(
    embed: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    views: Dict[str, np.ndarray],
    seed: int = 0,
) -> Dict[str, float]:
    """Every figure of an encoder.

    Args:
        embed: function float32 [m, s, s, c] in [0, 1] -> h float [m, d].
        images: float32 [n, s, s, c] in [0, 1].
        views: {name: float32 [k, q, s, s, c]}, q random views of each of k images.
        seed: int >= 0.
    Returns:
        {"rotation", "rank_me", and of each entry of `views` "lidar_NAME", "retrieval_NAME"}.
    """
    plain = embed(images)
    turned = [plain] + [embed(np.ascontiguousarray(np.rot90(images, k, (1, 2)))) for k in range(1, TURNS)]  # fmt: skip
    found = {"rotation": rotation_probe(np.stack(turned), seed), "rank_me": rank_me(plain)}
    for name, batch in views.items():
        h = embed(batch.reshape(-1, *batch.shape[2:])).reshape(*batch.shape[:2], -1)
        found[f"lidar_{name}"] = lidar(h)
        found[f"retrieval_{name}"] = retrieval(h)
    return found


def _effective(values):
    """exp of the entropy of values >= 0 as shares of their sum."""
    shares = values / max(values.sum(), 1e-12) + 1e-12
    return float(np.exp(-np.sum(shares * np.log(shares))))
