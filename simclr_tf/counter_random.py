"""Random bits, uniforms and normals from a counter and a key.

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11)
in uint32 arithmetic, so that the same bits come out on the host, under XLA and on every device.
`tf.random.stateless_*` does not promise that: a function compiled by XLA draws other numbers.
"""

import math
from typing import Tuple

from simclr_tf.stack import tf

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry(
    key: Tuple[tf.Tensor, tf.Tensor], counter: Tuple[tf.Tensor, tf.Tensor]
) -> Tuple[tf.Tensor, tf.Tensor]:
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


def to_unit(bits: tf.Tensor) -> tf.Tensor:
    """uint32 [n, m, 2] -> float32 [n, 2m] in [0, 1), multiples of 2**-24."""
    bits = tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32))
    bits = tf.reshape(bits, [-1, 2 * bits.shape[1]])
    return tf.cast(tf.cast(bits, tf.int32), tf.float32) * 2.0**-24


def rows_of_keys(seed: int, step: tf.Tensor, rows: tf.Tensor, stream: int) -> tf.Tensor:
    """A key of each row of numbers that a training step draws.

    Args:
        seed: int, the run's seed.
        step: int [], of the optimizer.
        rows: int32 [n], which row.
        stream: int, of simclr_tf/streams.py.
    Returns:
        uint32 [n, 2], for `uniform_rows` and `normals`.
    """
    key = (tf.constant(seed, tf.uint32), tf.cast(step, tf.uint32))
    first = tf.cast(rows, tf.uint32)
    second = tf.zeros_like(first) + tf.constant(stream, tf.uint32)
    return tf.stack(threefry(key, (first, second)), axis=-1)


def uniform_rows(keys: tf.Tensor, count: int) -> tf.Tensor:
    """Uniform numbers: float32 [n, count] in [0, 1) for keys uint32 [n, 2]."""
    place = tf.range((count + 1) // 2)[None, :] + tf.zeros_like(keys[:, :1], tf.int32)
    counter = (tf.cast(place, tf.uint32), tf.zeros_like(place, tf.uint32))
    return to_unit(tf.stack(threefry((keys[:, :1], keys[:, 1:]), counter), axis=-1))[:, :count]


def normals(keys: tf.Tensor, count: int) -> tf.Tensor:
    """Standard normal numbers (Box-Muller): float32 [n, count] for keys uint32 [n, 2]."""
    u = tf.reshape(uniform_rows(keys, count + count % 2), [-1, (count + 1) // 2, 2])
    length = tf.sqrt(-2.0 * tf.math.log(1.0 - u[..., :1]))
    angle = 2.0 * math.pi * u[..., 1:]
    pair = tf.concat([length * tf.cos(angle), length * tf.sin(angle)], axis=-1)
    return tf.reshape(pair, [-1, count + count % 2])[:, :count]
