"""Counter-based random numbers: a pure function of (seed, epoch, example id, view, draw).

So the same numbers come out whatever the batch size, the order or the number of replicas.
"""

from typing import List, Sequence

from simclr_tf import streams
from simclr_tf.counter_random import normals, threefry, to_unit
from simclr_tf.stack import tf

__all__ = ["keys", "normals", "several_uniforms", "threefry", "uniforms"]

_DRAW_BITS = (
    10  # streams.MOST_DRAWS; the other 16 bits of the second counter word: high bits of the id
)
_VIEW_BITS = 6


def uniforms(
    seed: int, epoch: tf.Tensor, ids: tf.Tensor, view: tf.Tensor, first: int, count: int
) -> tf.Tensor:
    """Draws `first` to `first + count` of each row.

    Args:
        seed: int, the run's seed.
        epoch: int32 [n].
        ids: int64 [n], example ids below 2**48.
        view: int32 [n], below 64.
        first: int, number of the first draw; `streams.VIEW` gives the numbers out.
        count: int.
    Returns:
        float32 [n, count] in [0, 1), multiples of 2**-24.
    """
    skipped = first % 2  # one block gives two draws
    end = first + max(count, 1)
    pairs = tf.range(first // 2, (end + 1) // 2, dtype=tf.int32)
    drawn = to_unit(_blocks(seed, epoch, ids, view, pairs))
    return drawn if drawn.shape[1] == count else drawn[:, skipped : skipped + count]


def several_uniforms(
    seed: int,
    epoch: tf.Tensor,
    ids: tf.Tensor,
    view: tf.Tensor,
    ranges: Sequence[streams.Draws],
) -> List[tf.Tensor]:
    """`uniforms` of several ranges of draws.

    They share one cipher: each has 200 operations, which are traced and compiled.

    Args:
        seed, epoch, ids, view: as of `uniforms`.
        ranges: each with an even first draw and an even count.
    Returns:
        float32 [n, count] for each range.
    """
    pairs = [number // 2 for one in ranges for number in range(one.first, one.end, 2)]
    drawn = to_unit(_blocks(seed, epoch, ids, view, tf.constant(pairs, tf.int32)))
    return tf.split(drawn, [one.count for one in ranges], axis=1)


def keys(seed: int, epoch: tf.Tensor, ids: tf.Tensor, view: tf.Tensor, first: int) -> tf.Tensor:
    """Keys of a stream of its own for each row, from the draws `first` (even) and `first + 1`.

    Returns:
        uint32 [n, 2], for `normals`.
    """
    return _blocks(seed, epoch, ids, view, tf.constant([first // 2]))[:, 0]


def _blocks(seed, epoch, ids, view, numbers):
    """uint32 [n, m, 2]: the blocks with the numbers int32 [m] of each row."""
    high = tf.cast(tf.bitwise.right_shift(ids, tf.constant(32, tf.int64)), tf.int32)
    place = high * 2 ** (_DRAW_BITS + _VIEW_BITS) + view * 2**_DRAW_BITS
    second = tf.cast(place[:, None] + numbers[None, :], tf.uint32)  # [n, m]
    first = tf.bitwise.bitwise_and(ids, tf.constant(2**32 - 1, tf.int64))
    first = tf.broadcast_to(tf.cast(first, tf.uint32)[:, None], tf.shape(second))
    key = (tf.constant(seed, tf.uint32), tf.cast(epoch, tf.uint32)[:, None])
    return tf.stack(threefry(key, (first, second)), axis=-1)
