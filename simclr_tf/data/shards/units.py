"""The order in which shards are read: units in seeded order, windows of a few of them.

A unit is a run of neighbouring records of one shard, or a row group. A window is a few units, read
together and permuted. Which images a window holds, and in what order, is a function of (seed,
epoch) and of the sizes in the index: every reader finds the same without asking another.
"""

import dataclasses

import numpy as np

from simclr_tf import streams
from simclr_tf.data import order
from simclr_tf.stack import tf

UNIT_BYTES = 2**23
WINDOW_BYTES = 2**29


@dataclasses.dataclass(frozen=True)
class Units:
    """The records of shards, cut into units.

    Attributes:
        shard: int64 [u], the shard of each unit.
        first: int64 [u], the first record of each unit, counted over all shards; ascending.
        bytes: int64 [u].
    """

    shard: np.ndarray
    first: np.ndarray
    bytes: np.ndarray


def cut(shards, unit_bytes=UNIT_BYTES):
    """Cuts shards into `Units`.

    Args:
        shards: tuple of entry.Shard.
        unit_bytes: of a unit, which has at least one record; a row group is never cut.
    """
    parts = []
    begin = 0
    for number, shard in enumerate(shards):
        ends = np.cumsum(shard.lengths)
        if shard.kind == "parquet":
            starts = shard.groups[shard.groups < shard.records]
        else:  # a unit begins where the bytes before it reach the next multiple
            places = np.concatenate([[0], ends[:-1]]) // unit_bytes
            starts = np.flatnonzero(np.diff(places, prepend=-1)) if shard.records else shard.groups
        total = np.concatenate([[0], ends])
        sizes = np.diff(total[np.concatenate([starts, [shard.records]])])
        parts.append((np.full(len(starts), number), begin + starts, sizes))
        begin += shard.records
    columns = (np.concatenate(column).astype(np.int64) for column in zip(*parts))
    return Units(*columns)


class Windows:
    """Windows over the units of some of the records.

    Args:
        counts: int64 [u], records of each unit, all above 0.
        size: bytes of them.
        window_bytes: of a window, which has at least one unit.
    """

    def __init__(self, counts, size, window_bytes=WINDOW_BYTES):
        self._counts = np.asarray(counts, np.int64)
        self.num_examples = int(self._counts.sum())
        self._units = len(self._counts)
        per_unit = max(size / max(self._units, 1), 1)
        self.units_per_window = int(np.clip(window_bytes // per_unit, 1, max(self._units, 1)))
        self.per_epoch = -(-self._units // self.units_per_window)
        with tf.device("CPU:0"):
            self._counts_tensor = tf.constant(self._counts)

    def unit_order(self, seed, epoch):
        """int64 [u], the order of the units in an epoch."""
        units = tf.range(self._units, dtype=tf.int64)
        return order.permuted(units, self._units, seed, epoch, streams.ORDER_OF_SHARDS)

    def plan(self, seed, window):
        """What a window holds; runs in tf.data.

        Args:
            seed: int; window: int64 [], counted over all epochs.
        Returns:
            {"units": int64 [<= units_per_window], "places": int64 [n], what of the records of these
            units comes at each position; "first": int64 [], position of the first of them in the
            stream; "epoch": int64 []}.
        """
        epoch = window // self.per_epoch
        place = window % self.per_epoch
        ordered = self.unit_order(seed, epoch)
        begin = place * self.units_per_window
        units = ordered[begin : begin + self.units_per_window]
        before = tf.reduce_sum(tf.gather(self._counts_tensor, ordered[:begin]))
        count = tf.reduce_sum(tf.gather(self._counts_tensor, units))
        places = order.permuted(tf.range(count), count, seed, epoch, streams.order_of_window(place))
        return {
            "units": units,
            "places": places,
            "first": epoch * self.num_examples + before,
            "epoch": epoch,
        }

    def locate(self, seed, position):
        """The number of the window that holds a position of the stream."""
        epoch, rest = divmod(position, self.num_examples)
        counts = self._counts[self.unit_order(seed, epoch).numpy()]
        sums = np.add.reduceat(counts, np.arange(0, self._units, self.units_per_window))
        place = int(np.searchsorted(np.cumsum(sums), rest, side="right"))
        return epoch * self.per_epoch + place
