"""`ShardSource`: the images of shards, streamed window by window.

In memory: about 40 bytes for each image, and up to four windows while one is emitted, one waits and
one is read and permuted. A reader of some of the positions reads and holds their images only (of
Parquet whole row groups are read one after the other).
"""

import concurrent.futures
import functools
import os

import numpy as np

from simclr_tf import names
from simclr_tf.data import order
from simclr_tf.data.shards import parquets, tars, tfrecords, units
from simclr_tf.data.source import Source
from simclr_tf.errors import first_line
from simclr_tf.stack import numpy_function, tf

_READERS = 8  # units that are read at the same time
_READ = {"tfrecord": tfrecords.read, "tar": tars.read, "parquet": parquets.read}


class ShardSource(Source):
    """Some records of shards.

    Args:
        facts: `Facts`.
        shards: tuple of entry.Shard of one format.
        records: int64 [n], ascending: which records, counted over all shards.
        labels: int32 [n], -1 for none.
        image_key: of a TFRecord, "" for the usual one.
    """

    needs_python = True

    def __init__(self, facts, shards, records, labels, image_key=""):
        super().__init__(facts)
        self.labels = np.asarray(labels, np.int32)
        self._shards = shards
        self._records = np.asarray(records, np.int64)
        self._image_key = image_key
        self._kind = next((shard.kind for shard in shards if shard.kind), "")
        self._begins = np.cumsum([0, *(shard.records for shard in shards)])
        whole = units.cut(shards)
        edges = np.concatenate([whole.first, self._begins[-1:]])
        ends = np.searchsorted(self._records, edges)
        counts = np.diff(ends)
        used = np.flatnonzero(counts)
        self._unit_shard = whole.shard[used]
        self._first_id = ends[:-1][used]
        self._counts = counts[used]
        share = len(self._records) / max(int(self._begins[-1]), 1)
        self._windows = units.Windows(self._counts, float(whole.bytes.sum()) * share)
        with tf.device("CPU:0"):
            self._labels = tf.constant(self.labels)

    @property
    def shard_paths(self):
        """Paths of the shards, list of str."""
        return [shard.path for shard in self._shards]

    def part(self, ids, facts):
        """A ShardSource of some of the examples (ids int64 [m], ascending); facts: theirs."""
        return ShardSource(
            facts, self._shards, self._records[ids], self.labels[ids], self._image_key
        )

    def references(self, seed, start=0):
        share = order.share_from(start)

        def read(window):
            plan = self._windows.plan(seed, window)
            positions = plan["first"] + tf.range(tf.size(plan["places"], tf.int64))
            mine = (positions >= share.start) & share.holds(positions)
            places = tf.boolean_mask(plan["places"], mine)
            arguments = [plan["units"], places]
            images, ids = numpy_function(self._read_window, arguments, [tf.string, tf.int64])
            ids = tf.ensure_shape(ids, [None])
            return {
                "image": tf.ensure_shape(images, [None]),
                "label": tf.gather(self._labels, ids),
                "id": ids,
                "epoch": tf.fill(tf.shape(ids), tf.cast(plan["epoch"], tf.int32)),
            }

        first = self._windows.locate(seed, share.start)
        windows = tf.data.Dataset.range(first, tf.int64.max).map(read).prefetch(1)
        return windows.flat_map(tf.data.Dataset.from_tensor_slices)

    def references_in_order(self):
        def read(unit):
            images, ids = numpy_function(self._read_unit, [unit], [tf.string, tf.int64])
            ids = tf.ensure_shape(ids, [None])
            return {
                "image": tf.ensure_shape(images, [None]),
                "label": tf.gather(self._labels, ids),
                "id": ids,
                "epoch": tf.zeros_like(ids, tf.int32),
            }

        found = tf.data.Dataset.range(len(self._counts))
        found = found.map(read, num_parallel_calls=2, deterministic=True)
        return found.flat_map(tf.data.Dataset.from_tensor_slices)

    def resolve(self, reference):
        if self._kind == "tfrecord":
            reference = tfrecords.image_of(reference, self._image_key)
        return self._in_range(reference)

    def fetch(self, example_id):
        def read(example_id):
            return self._read_ids(np.asarray([example_id], np.int64))[0]

        image = numpy_function(read, [example_id], tf.string)
        return tf.ensure_shape(image, []), tf.gather(self._labels, example_id)

    def encoded(self, reference):
        if self._kind != "tfrecord":
            return reference, None
        key = self._image_key or tfrecords.IMAGE
        try:
            return tfrecords.image_of(reference, self._image_key).numpy(), None
        except tf.errors.OpError as error:
            return None, f"its record has no {key} that can be read: {first_line(error)}"

    def report(self, example_id, reference):
        if not reference:  # what could not be read: the file knows why
            self.quarantine.add(self.name_of(example_id), self._why_unreadable(int(example_id)))
            return np.int64(0)
        return super().report(example_id, reference)

    def _why_unreadable(self, example_id):
        shard, row = self._place_of(example_id)
        if self._kind == "tar":
            return "it has no bytes"
        module = tfrecords if self._kind == "tfrecord" else parquets
        return module.why_unreadable(shard, row)

    def name_of(self, example_id):
        shard, row = self._place_of(int(example_id))
        inside = tars.name_of(shard, row) if self._kind == "tar" else ""
        return names.shown(f"{shard.path} record {row}" + (f" ({inside})" if inside else ""))

    def names(self, start, stop):
        """FILE/RECORD of the examples from `start` to before `stop`, list of str."""
        places = [self._place_of(example_id) for example_id in range(start, stop)]
        return [names.as_text(f"{os.path.basename(shard.path)}/{row}") for shard, row in places]

    def _place_of(self, example_id):
        """(entry.Shard, row) of an example."""
        record = self._records[example_id]
        shard = int(np.searchsorted(self._begins, record, side="right") - 1)
        return self._shards[shard], int(record - self._begins[shard])

    def _read_window(self, unit_numbers, places):
        """(images bytes [n], ids int64 [n]) of the records at some places of units."""
        firsts = self._first_id[unit_numbers]
        counts = self._counts[unit_numbers]
        ends = np.cumsum(counts)
        unit = np.searchsorted(ends, places, side="right")
        ids = firsts[unit] + places - (ends - counts)[unit]
        return self._read_ids(ids), ids.astype(np.int64)

    def _read_unit(self, unit):
        first = self._first_id[unit]
        ids = np.arange(first, first + self._counts[unit])
        return self._read_ids(ids), ids

    def _read_ids(self, ids):
        """object [n] of bytes: records, read unit by unit in the order of the file."""
        found = np.empty(len(ids), object)
        unit = np.searchsorted(self._first_id, ids, side="right") - 1
        ordered = np.lexsort((ids, unit))
        edges = np.flatnonzero(np.diff(unit[ordered], prepend=-1, append=-1))
        parts = [ordered[a:b] for a, b in zip(edges[:-1], edges[1:])]

        def read(part):
            number = int(self._unit_shard[unit[part[0]]])
            shard = self._shards[number]
            rows = self._records[ids[part]] - self._begins[number]
            distinct, inverse = np.unique(rows, return_inverse=True)
            images = _READ[shard.kind](shard, distinct)
            for place, one in zip(part, inverse):
                found[place] = images[one]

        if len(parts) == 1:
            read(parts[0])
        elif parts:
            list(_pool().map(read, parts))
        return found


@functools.lru_cache(maxsize=1)
def _pool():
    return concurrent.futures.ThreadPoolExecutor(_READERS, thread_name_prefix="shards")
