"""Features of every image of a data set, each image exactly once, on any number of replicas."""

import collections
import functools

import numpy as np

from simclr_tf.errors import DataError
from simclr_tf.stack import tf

Features = collections.namedtuple("Features", ["h", "labels", "ids"])


def extract_features(encoder, batches, global_batch_size, strategy=None, jit_compile=False):
    """Runs an encoder in inference mode over a finite dataset.

    Every batch is filled up to one static size and cut into equal shares, one per replica; rows
    that only fill are dropped afterwards. So there is one compiled shape, and the last partial
    batch and data sets smaller than a batch lose and repeat nothing.

    Args:
        encoder: callable, (images float [b, s, s, 3] in [0, 1], training=False) -> float [b, ...]
            or a dict of those.
        batches: finite dataset of {"images": float32 [m, s, s, 3], "label": int [m], "id": int
            [m]} with 1 <= m <= global_batch_size, in source order.
        global_batch_size: int, most rows of a batch.
        strategy: tf.distribute.Strategy, default the current one. With several workers each
            reads the whole dataset and computes its replicas' shares.
        jit_compile: compile the forward pass with XLA.
    Returns:
        Features(h float32 [n, ...] or a dict of those, labels int32 [n], ids int64 [n]), rows in
        the order of `batches`.
    """
    return Extractor(encoder, global_batch_size, strategy, jit_compile)(batches)


class Extractor:
    """`extract_features` for several datasets, or the same one again: compiled once.

    Args:
        encoder, global_batch_size, strategy, jit_compile: as of `extract_features`.
    """

    def __init__(self, encoder, global_batch_size, strategy=None, jit_compile=False):
        self.strategy = strategy = strategy or tf.distribute.get_strategy()
        self.global_batch_size = global_batch_size
        self.share = -(-global_batch_size // strategy.num_replicas_in_sync)
        # TensorFlow counts traces by the code of a function, over all extractors, and soon warns of
        # too many; a partial is counted by itself
        forward = functools.partial(_forward, encoder)
        forward = tf.function(forward, jit_compile=jit_compile, autograph=False)
        self._run = tf.function(functools.partial(_gathered, forward, strategy), autograph=False)

    def __call__(self, batches):
        """The Features of a dataset; arguments and result as of `extract_features`."""
        parts = []
        labels = []
        ids = []
        for batch, out in self.each(batches):
            parts.append(out)
            labels.append(batch["label"].numpy())
            ids.append(batch["id"].numpy())
        h = tf.nest.map_structure(lambda *rows: np.concatenate(rows), *parts)
        return Features(h, np.concatenate(labels).astype(np.int32), np.concatenate(ids))

    def each(self, batches):
        """Yields (batch, its features: float32 [m, ...] or a dict of those), one at a time."""
        for batch in batches:
            images = batch["images"].numpy()
            out = self._run(split_rows(images, self.share, self.strategy))
            count = len(images)
            found = tf.nest.map_structure(lambda rows, n=count: _host(rows, n), out)
            _check_finite(found, batch["id"])
            yield batch, found


def _forward(encoder, images):
    return encoder(images, training=False)


def _gathered(forward, strategy, images):
    return gather_rows(strategy.run(forward, (images,)), strategy)


def _check_finite(found, ids):
    """Refuses features that are NaN or infinite: tables and pictures of them look like any other.

    Raises:
        DataError: some are.
    """
    for rows in tf.nest.flatten(found):
        wrong = np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1))
        if len(wrong):
            raise DataError(
                f"the features of {len(wrong)} of {len(rows)} images are NaN or infinite, the "
                f"first of them of image {int(ids[int(wrong[0])])}; use --precision=float32, or an "
                "earlier checkpoint."
            )


def split_rows(values, share, strategy):
    """Cuts an array into `share` rows per replica; missing rows repeat the first one.

    Args:
        values: array [m, ...] with 1 <= m <= share * replicas.
        share: int, rows per replica.
        strategy: tf.distribute.Strategy.
    Returns:
        per-replica tensor [share, ...].
    """
    values = np.asarray(values)
    missing = share * strategy.num_replicas_in_sync - len(values)
    if missing:
        values = np.concatenate([values, np.repeat(values[:1], missing, axis=0)])

    def share_of(context):
        start = context.replica_id_in_sync_group * share
        return tf.constant(values[start : start + share])

    return strategy.experimental_distribute_values_from_function(share_of)


def gather_rows(per_replica, strategy):
    """Joins per-replica tensors [share, ...], or dicts of them, to [share * replicas, ...]."""
    if strategy.num_replicas_in_sync == 1:
        return per_replica
    return tf.nest.map_structure(lambda rows: strategy.gather(rows, axis=0), per_replica)


def _host(rows, count):
    return rows[:count].numpy().astype(np.float32)
