"""Pairs of images whose features nearly coincide."""

import csv
import io

import numpy as np

from simclr_tf import names
from simclr_tf.files import write_atomically
from simclr_tf.stack import tf

MOST_PAIRS = 10_000  # listed; the others are counted
_BLOCK = 1024
_BANK_BLOCK = 4096


def near_duplicates(h, threshold, most=MOST_PAIRS, progress=None):
    """The most similar pairs of rows, by cosine; exact, blockwise, every pair once.

    The device holds 4 * 4096 * (1024 + d) bytes and a few times `most` pairs, whatever the
    number of rows; the time grows with its square. Rows of zeros are similar to none.

    Args:
        h: float [n, d], may be memory-mapped.
        threshold: least cosine, above 0.
        most: int, pairs returned at most.
        progress: function of the number of rows done, or None.
    Returns:
        (cosine float32 [k], first int64 [k], second int64 [k], number of pairs in all): most
        similar first, then by position; first < second.
    """
    found = _no_pairs()
    total = 0
    for start in range(0, len(h), _BLOCK):
        rows = _unit(h[start : start + _BLOCK])
        for bank_start in range(start, len(h), _BANK_BLOCK):
            bank = _unit(h[bank_start : bank_start + _BANK_BLOCK])
            pairs = _pairs_above(rows, bank, start, bank_start, threshold)
            new = [column.numpy() for column in pairs]
            total += len(new[0])
            found = tuple(np.concatenate(columns) for columns in zip(found, new))
            if len(found[0]) > 2 * most:
                found = _best(found, most)
        if progress is not None:
            progress(min(start + _BLOCK, len(h)))
    return (*_best(found, most), total)


def _no_pairs():
    return np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)


def _unit(rows):
    return tf.math.l2_normalize(tf.constant(np.asarray(rows, np.float32)), axis=1)


@tf.function(reduce_retracing=True, autograph=False)
def _pairs(rows, bank, start, bank_start, threshold):
    cosine = tf.minimum(tf.matmul(rows, bank, transpose_b=True), 1.0)
    first = start + tf.range(tf.shape(rows, tf.int64)[0])
    second = bank_start + tf.range(tf.shape(bank, tf.int64)[0])
    wanted = (cosine >= threshold) & (second > first[:, tf.newaxis])
    at = tf.where(wanted)
    return tf.gather_nd(cosine, at), tf.gather(first, at[:, 0]), tf.gather(second, at[:, 1])


def _pairs_above(rows, bank, start, bank_start, threshold):
    places = tf.constant(start, tf.int64), tf.constant(bank_start, tf.int64)
    return _pairs(rows, bank, *places, tf.constant(threshold, tf.float32))


def _best(pairs, most):
    order = np.lexsort((pairs[2], pairs[1], -pairs[0]))[:most]
    return tuple(column[order] for column in pairs)


def write_duplicates(path, pairs, paths):
    """Writes a tab-separated list: cosine, path, path.

    Args:
        path: of the file.
        pairs: (cosine, first, second) of `near_duplicates`.
        paths: sequence of str by row.
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["cosine", "path", "near_duplicate"])
    for cosine, first, second in zip(*pairs):
        writer.writerow([f"{cosine:.6f}", names.cell(paths[first]), names.cell(paths[second])])
    write_atomically(path, text.getvalue())
