"""Weighted k-nearest-neighbour classification by cosine similarity, exact and blockwise."""

import numpy as np

from simclr_tf.stack import tf

BLOCK = 1024
BANK_BLOCK = 4096


def nearest_neighbours(queries, bank, k, block=BLOCK, bank_block=BANK_BLOCK):
    """The k rows of a bank that are most similar to each query, by cosine; exact.

    Queries and bank stay in host memory, where they are not copied; the device holds one block of
    each, what a matrix product makes of it, and the similarities: `device_bytes`, 144 MB for
    d = 2048 and k = 200 at the default blocks, whatever the number of rows. The result takes 12
    bytes a neighbour. Rows of zeros have similarity 0. Ties go to the earlier row of the bank.

    Args:
        queries: float [m, d].
        bank: float [n, d].
        k: int, 1 <= k <= n.
        block, bank_block: int >= 1, rows of queries and of the bank per matrix product.
    Returns:
        (similarity float32 [m, k] in [-1, 1], index int64 [m, k]), most similar first.
    Raises:
        ValueError: k is not from 1 to n.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k={k}; allowed: 1 to {len(bank)}, the size of the bank.")
    scale = np.concatenate([_inverse_norms(rows) for rows in _blocks(bank, bank_block)])
    results = [_search(rows, bank, scale, k, bank_block) for rows in _blocks(queries, block)]
    return np.concatenate([s for s, _ in results]), np.concatenate([i for _, i in results])


def device_bytes(num_queries, num_bank, dims, k, block=BLOCK, bank_block=BANK_BLOCK):
    """What `nearest_neighbours` holds on the device at once: int, bytes.

    Three times the block of the bank: the rows, and up to two copies that libraries of matrix
    products pack them into. Measured on a CPU: 8 MiB above it (`python -m benchmarks.knn`).
    """
    rows = min(block, num_queries)
    columns = min(bank_block, num_bank)
    return 4 * (rows * dims + 3 * columns * dims + 2 * rows * (columns + k))


def _blocks(rows, size):
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _inverse_norms(rows):
    """1 / |row|, float32 [n], 1e6 for rows of zeros; einsum makes no copy of the rows."""
    rows = np.asarray(rows, np.float32)
    return 1.0 / np.sqrt(np.maximum(np.einsum("nd,nd->n", rows, rows), np.float32(1e-12)))


def _search(queries, bank, scale, k, bank_block):
    queries = _tensor(queries) * _inverse_norms(queries)[:, np.newaxis]
    best = tf.fill([len(queries), 0], 0.0), tf.zeros([len(queries), 0], tf.int64)
    for start in range(0, len(bank), bank_block):
        part = slice(start, start + bank_block)
        # not kept in a name, so that two blocks are never on the device at once
        best = _merge(queries, _tensor(bank[part]), scale[part], tf.constant(start), *best, k=k)
    return best[0].numpy(), best[1].numpy()


def _tensor(rows):
    return tf.convert_to_tensor(np.asarray(rows, np.float32))


@tf.function(reduce_retracing=True, autograph=False)
def _merge(queries, bank, scale, start, similarity, index, k):
    """The best k of the neighbours found so far (first, so they win ties) and of a new block."""
    new = tf.matmul(queries, bank, transpose_b=True) * scale  # [block, bank_block]
    block_similarity, block_index = tf.math.top_k(new, tf.minimum(k, tf.shape(bank)[0]))
    block_index = tf.cast(block_index, tf.int64) + tf.cast(start, tf.int64)
    similarity = tf.concat([similarity, block_similarity], axis=1)
    index = tf.concat([index, block_index], axis=1)
    similarity, chosen = tf.math.top_k(similarity, tf.minimum(k, tf.shape(similarity)[1]))
    return similarity, tf.gather(index, chosen, batch_dims=1)


def knn_scores(queries, bank, bank_labels, num_classes, k=200, temperature=0.1):
    """Class scores of each query: the sum of exp(similarity / temperature) of its k neighbours.

    Args:
        queries: float [m, d].
        bank: float [n, d].
        bank_labels: int [n].
        num_classes: int.
        k: int, at most n are used.
        temperature: float > 0.
    Returns:
        float64 [m, num_classes]; scores of a row are relative to its most similar neighbour.
    """
    similarity, index = nearest_neighbours(queries, bank, min(k, len(bank)))
    weights = np.exp((similarity.astype(np.float64) - similarity[:, :1]) / temperature)
    labels = np.asarray(bank_labels, np.int64)[index]
    flat = np.arange(len(labels))[:, None] * num_classes + labels
    sums = np.bincount(flat.ravel(), weights.ravel(), minlength=len(labels) * num_classes)
    return sums.reshape(len(labels), num_classes)
