"""Streaming a large tensorflow-datasets split: shards in seeded order, read window by window.

A window is a few whole shards: their encoded bytes are read together and permuted. The order is
a function of (seed, epoch), and a resumed run starts with the window it stopped in: windows
before it are not read. Memory: about three windows (one is emitted, one waits, one is read).
"""

import os

import numpy as np

from simclr_tf import streams
from simclr_tf.data import order
from simclr_tf.data.source import Source
from simclr_tf.errors import DataError
from simclr_tf.stack import tf

WINDOW_BYTES = 2**29


class WindowSource(Source):
    """A prepared split that stays on the disk.

    Args:
        facts: `Facts`.
        builder: the tensorflow-datasets builder, files in TFRecord format.
        split: the split expression.
        chosen: bool [examples of the split], which of them belong to this source.
        decoders: of tensorflow-datasets, which leave images encoded.
        rename: function from a decoded example to a dict with encoded "image" and "label".
        examples: function () -> tf.data.Dataset of these dicts, the whole split in order.
    Raises:
        DataError: the files are not TFRecords.
    """

    def __init__(self, facts, builder, split, chosen, *, decoders, rename, examples):
        super().__init__(facts)
        self._builder = builder
        self._split = split
        self._decoders = decoders
        self._rename = rename
        self._examples = examples
        file_format = builder.info.file_format
        if file_format is not None and file_format.value != "tfrecord":
            raise DataError(
                f"{facts.name} is prepared as {file_format.value} files and too large for memory; "
                "prepare it again with tensorflow-datasets as tfrecord."
            )
        found = builder.info.splits[split]
        self._plan_shards(found.file_instructions, chosen)
        size = found.num_bytes / max(len(self._kept), 1)
        self._shards_per_window = int(np.clip(WINDOW_BYTES // max(size, 1), 1, len(self._kept)))

    def part(self, ids, facts):
        """A WindowSource of some of the examples (ids int64 [m], ascending); facts: theirs."""
        mine = np.flatnonzero(self._chosen.numpy())
        chosen = np.zeros(len(self._chosen), bool)
        chosen[mine[ids]] = True
        return WindowSource(
            facts,
            self._builder,
            self._split,
            chosen,
            decoders=self._decoders,
            rename=self._rename,
            examples=self._examples,
        )

    def _plan_shards(self, instructions, chosen):
        """Per shard with kept examples: file, records to skip and take, first, number kept."""
        paths = []
        skips = []
        takes = []
        for one in instructions:
            path = str(one.filename)
            if not os.path.isabs(path) and "://" not in path:
                path = os.path.join(str(self._builder.data_dir), path)
            paths.append(path)
            skips.append(one.skip)
            takes.append(one.examples_in_shard if one.take == -1 else one.take)
        ends = np.cumsum(takes)
        kept = np.asarray([chosen[end - take : end].sum() for end, take in zip(ends, takes)])
        used = np.flatnonzero(kept)
        self._kept = kept[used].astype(np.int64)
        with tf.device("CPU:0"):
            self._paths = tf.constant(np.asarray(paths, object)[used])
            self._skips = tf.constant(np.asarray(skips)[used], tf.int64)
            self._takes = tf.constant(np.asarray(takes)[used], tf.int64)
            self._firsts = tf.constant((ends - takes)[used], tf.int64)
            self._last_ids = tf.constant(np.cumsum(self._kept) - 1)
            self._kept_tensor = tf.constant(self._kept)
            self._chosen = tf.constant(chosen)
            self._ids = tf.constant(np.cumsum(chosen) - 1, tf.int64)

    def _read_shard(self, shard):
        """int64 [] -> Dataset of the kept examples of one shard, with their ids."""
        first = tf.gather(self._firsts, shard)
        records = tf.data.TFRecordDataset(tf.gather(self._paths, shard), buffer_size=2**23)
        records = records.skip(tf.gather(self._skips, shard)).take(tf.gather(self._takes, shard))
        records = records.enumerate(first)
        records = records.filter(lambda place, _: tf.gather(self._chosen, place))

        def parse(place, record):
            features = self._builder.info.features
            example = features.deserialize_example(record, decoders=self._decoders)
            return {**self._rename(example), "id": tf.gather(self._ids, place)}

        return records.map(parse)

    def _shard_order(self, seed, epoch):
        """int64 [shards], the order of the shards in an epoch."""
        shards = len(self._kept)
        return order.permuted(
            tf.range(shards, dtype=tf.int64), shards, seed, epoch, streams.ORDER_OF_SHARDS
        )

    def _read_window(self, seed, window):
        """Global number of a window -> dict of [w] tensors, permuted."""
        per_epoch = -(-len(self._kept) // self._shards_per_window)
        epoch = window // per_epoch
        place = window % per_epoch
        begin = place * self._shards_per_window
        shards = self._shard_order(seed, epoch)[begin : begin + self._shards_per_window]
        dataset = tf.data.Dataset.from_tensor_slices(shards).flat_map(self._read_shard)
        kept = tf.reduce_sum(tf.gather(self._kept_tensor, shards))
        examples = dataset.batch(kept).get_single_element()
        places = order.permuted(tf.range(kept), kept, seed, epoch, streams.order_of_window(place))
        examples = {key: tf.gather(value, places) for key, value in examples.items()}
        return {**examples, "epoch": tf.fill([kept], tf.cast(epoch, tf.int32))}

    def _locate(self, seed, start):
        """(window that holds position `start`, position inside it)."""
        epoch, rest = divmod(start, self.num_examples)
        kept = self._kept[self._shard_order(seed, epoch).numpy()]
        begins = range(0, len(kept), self._shards_per_window)
        ends = np.cumsum([kept[i : i + self._shards_per_window].sum() for i in begins])
        place = int(np.searchsorted(ends, rest, side="right"))
        return epoch * len(ends) + place, rest - (int(ends[place - 1]) if place else 0)

    def references(self, seed, start=0):
        share = order.share_from(start)
        window, inside = self._locate(seed, share.start)
        windows = tf.data.Dataset.range(window, tf.int64.max)
        windows = windows.map(lambda number: self._read_window(seed, number)).prefetch(1)
        examples = windows.flat_map(tf.data.Dataset.from_tensor_slices).skip(inside)
        if share.is_whole:
            return examples
        # a window is permuted as a whole, so its bytes are read everywhere, but decoded once
        mine = examples.enumerate(share.start).filter(lambda position, _: share.holds(position))
        return mine.map(lambda _, example: example)

    def references_in_order(self):
        dataset = self._examples().enumerate()
        dataset = dataset.filter(lambda place, _: tf.gather(self._chosen, place))

        def finish(place, example):
            return {**example, "id": tf.gather(self._ids, place), "epoch": tf.constant(0)}

        return dataset.map(finish)

    def fetch(self, example_id):
        shard = tf.searchsorted(self._last_ids, [example_id])[0]
        first = tf.gather(self._last_ids, shard) - tf.gather(self._kept_tensor, shard) + 1
        example = self._read_shard(shard).skip(example_id - first).take(1).get_single_element()
        return example["image"], example["label"]
