"""The order of examples: one seeded permutation per epoch, as a stateless function."""

from simclr_tf.stack import tf

# 4 rounds (the default of tf.random.experimental.index_shuffle) mix badly: 29 fixed points in a
# permutation of 360, correlated epochs. 16 cannot be told from chance by the same measures.
_ROUNDS = 16


def permuted(index, num_examples, seed, epoch, salt=0):
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
