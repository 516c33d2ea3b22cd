"""The order of examples: one seeded permutation per epoch, as a stateless function."""

import dataclasses

from simclr_tf import streams
from simclr_tf.stack import tf

# 4 rounds (the default of tf.random.experimental.index_shuffle) mix badly: 29 fixed points in a
# permutation of 360, correlated epochs. 16 cannot be told from chance by the same measures.
_ROUNDS = 16


def permuted(index, num_examples, seed, epoch, salt=streams.ORDER_OF_EXAMPLES):
    """The example at a place of a seeded permutation of 0 .. num_examples - 1.

    Args:
        index: int64 [] or [n], places, each in 0 .. num_examples - 1.
        num_examples: int or int64 [].
        seed, salt: ints (or integer scalars) that choose the permutation, with `epoch`.
        epoch: integer [] or [n].
    Returns:
        int64, the shape of `index`. Distinct places of one epoch give distinct examples.
    """
    index = tf.cast(index, tf.int64)
    parts = [tf.cast(part, tf.int64) + tf.zeros_like(index) for part in (seed, epoch, salt)]
    last = tf.cast(num_examples, tf.int64) - 1 + tf.zeros_like(index)
    return tf.raw_ops.RandomIndexShuffle(
        index=index, seed=tf.stack(parts, axis=-1), max_index=last, rounds=_ROUNDS
    )


def shuffled_ids(positions, num_examples, seed):
    """Example ids and epochs at global positions of the shuffled stream.

    Args:
        positions: int64 [] or [n], each at least 0.
        num_examples: int.
        seed: int.
    Returns:
        (ids int64, epochs int32) in the shape of `positions`; the positions of one epoch,
        epoch * num_examples and up, hold every id once.
    """
    positions = tf.cast(positions, tf.int64)
    epochs = positions // num_examples
    ids = permuted(positions % num_examples, num_examples, seed, epochs)
    return ids, tf.cast(epochs, tf.int32)


@dataclasses.dataclass(frozen=True)
class Share:
    """The rows of every global batch that one worker reads: a block of neighbouring positions.

    Worker w of W reads rows w * batch / W and up; each of its replicas takes one piece of them,
    in order. So the workers together read every position once, and replica r of all sees the same
    rows whether the replicas live in one process or in several.

    Attributes:
        batch: images of the global batch, a multiple of workers * replicas.
        worker, workers: index of the worker, and how many there are.
        replicas: of this worker.
        start: global position at which the first batch begins.
        stride: only every so many-th batch is read, from that of `start` on.
    """

    batch: int
    worker: int = 0
    workers: int = 1
    replicas: int = 1
    start: int = 0
    stride: int = 1

    @property
    def is_whole(self):
        """Whether every position from `start` on is read."""
        return self.workers == 1 and self.stride == 1

    @property
    def rows(self):
        """Images of a global batch that this worker reads."""
        return self.batch // self.workers

    @property
    def piece(self):
        """Images of a global batch that one replica takes."""
        return self.rows // self.replicas

    def positions(self, number):
        """Global positions of the images that this worker reads.

        Args:
            number: int64 [] or [n], counted from 0 over all images that the worker reads.
        Returns:
            int64, the shape of `number`.
        """
        number = tf.cast(number, tf.int64)
        first = self.start + self.worker * self.rows
        return first + number // self.rows * self.batch * self.stride + number % self.rows

    def holds(self, position):
        """bool, the shape of `position` (int64, at least `start`): whether it is read here."""
        return (position - self.start) % (self.batch * self.stride) // self.rows == self.worker

    def at(self, step):
        """The same from global batch number `step` on."""
        return dataclasses.replace(self, start=step * self.batch)


def share_of(batch):
    """A Share: `batch` itself, or all of it where it is an int."""
    return batch if isinstance(batch, Share) else Share(batch)


def share_from(start):
    """A Share: `start` itself, or every position from there where it is an int."""
    return start if isinstance(start, Share) else Share(1, start=start)
