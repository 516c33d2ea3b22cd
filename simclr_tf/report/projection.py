"""A map of embeddings: points in the plane, near each other where the embeddings are."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

AXES = 50  # principal axes that the map is made of
FEWEST = 5  # images of a map


def project(h, seed):
    """PCA, then UMAP if `umap-learn` is installed, else t-SNE.

    Args:
        h: float [n, d], n >= FEWEST, a few thousand at most.
        seed: int.
    Returns:
        (float [n, 2] in [0, 1], how it was made, in words).
    """
    rows = np.asarray(h, np.float64)
    axes = min(AXES, rows.shape[1], len(rows) - 1)
    rows = PCA(axes, random_state=seed).fit_transform(rows)
    near = min(30, max(2, (len(rows) - 1) // 3))
    try:
        from umap import UMAP
    except ImportError:
        start = "pca" if axes >= 2 else "random"
        tsne = TSNE(2, perplexity=near, init=start, random_state=seed)
        with threadpool_limits(
            1
        ):  # on a busy machine its threads wait for each other most of the time
            points = tsne.fit_transform(rows)
        words = f"t-SNE, perplexity {near}"
    else:
        points = UMAP(n_neighbors=near // 2 + 1, n_jobs=1, random_state=seed).fit_transform(rows)
        words = "UMAP"
    low = points.min(axis=0)
    return (points - low) / np.maximum(points.max(axis=0) - low, 1e-12), f"{words}, on {axes} principal axes"  # fmt: skip
