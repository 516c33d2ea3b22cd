"""Counter-based random numbers: a pure function of (seed, epoch, example id, view, draw).

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11)
in uint32 arithmetic, so that the same bits come out on the host, under XLA and on every device,
whatever the batch size, the order or the number of replicas.
"""

import math

from simclr_tf.stack import tf

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_DRAW_BITS = (
    10  # streams.MOST_DRAWS; the other 16 bits of the second counter word: high bits of the id
)
_VIEW_BITS = 6


def threefry(key, counter):
    """Encrypts a counter with a key.

    Args:
        key: pair of uint32 tensors that broadcast with the counter.
        counter: pair of uint32 tensors of one shape.
    Returns:
        pair of uint32 tensors, uniform bits.
    """
    xor = tf.bitwise.bitwise_xor
    word = lambda value: tf.constant(value, tf.uint32)
    keys = (key[0], key[1], xor(xor(key[0], key[1]), word(_PARITY)))
    x0 = counter[0] + keys[0]
    x1 = counter[1] + keys[1]
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x0 = x0 + x1
            left = tf.bitwise.left_shift(x1, word(rotation))
            right = tf.bitwise.right_shift(x1, word(32 - rotation))
            x1 = xor(tf.bitwise.bitwise_or(left, right), x0)
        x0 = x0 + keys[(i + 1) % 3]
        x1 = x1 + keys[(i + 2) % 3] + word(i + 1)
    return x0, x1


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
    drawn = _to_unit(_blocks(seed, epoch, ids, view, pairs))
    return drawn if drawn.shape[1] == count else drawn[:, skipped : skipped + count]


def keys(seed: int, epoch: tf.Tensor, ids: tf.Tensor, view: tf.Tensor, first: int) -> tf.Tensor:
    """Keys of a stream of its own for each row, from the draws `first` (even) and `first + 1`.

    Returns:
        uint32 [n, 2], for `normals`.
    """
    return _blocks(seed, epoch, ids, view, tf.constant([first // 2]))[:, 0]


def normals(keys: tf.Tensor, count: int) -> tf.Tensor:
    """Standard normal numbers (Box-Muller): float32 [n, count] for keys uint32 [n, 2]."""
    asked = count
    count += count % 2
    place = tf.range(count // 2)[None, :] + tf.zeros_like(keys[:, :1], tf.int32)
    counter = (tf.cast(place, tf.uint32), tf.zeros_like(place, tf.uint32))
    bits = threefry((keys[:, :1], keys[:, 1:]), counter)
    u = tf.reshape(_to_unit(tf.stack(bits, axis=-1)), [-1, count // 2, 2])
    length = tf.sqrt(-2.0 * tf.math.log(1.0 - u[..., :1]))
    angle = 2.0 * math.pi * u[..., 1:]
    pair = tf.concat([length * tf.cos(angle), length * tf.sin(angle)], axis=-1)
    return tf.reshape(pair, [-1, count])[:, :asked]


def _blocks(seed, epoch, ids, view, numbers):
    """uint32 [n, m, 2]: the blocks with the numbers int32 [m] of each row."""
    high = tf.cast(tf.bitwise.right_shift(ids, tf.constant(32, tf.int64)), tf.int32)
    place = high * 2 ** (_DRAW_BITS + _VIEW_BITS) + view * 2**_DRAW_BITS
    second = tf.cast(place[:, None] + numbers[None, :], tf.uint32)  # [n, m]
    first = tf.bitwise.bitwise_and(ids, tf.constant(2**32 - 1, tf.int64))
    first = tf.broadcast_to(tf.cast(first, tf.uint32)[:, None], tf.shape(second))
    key = (tf.constant(seed, tf.uint32), tf.cast(epoch, tf.uint32)[:, None])
    return tf.stack(threefry(key, (first, second)), axis=-1)


def _to_unit(bits):
    """uint32 [n, m, 2] -> float32 [n, 2m] in [0, 1)."""
    bits = tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32))
    bits = tf.reshape(bits, [-1, 2 * bits.shape[1]])
    return tf.cast(tf.cast(bits, tf.int32), tf.float32) * 2.0**-24
