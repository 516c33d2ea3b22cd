"""Pieces shared by the blockwise kernels: sizes, blocks, loops, masks.

The kernels follow three rules. Blocks are read with `tf.slice`: under XLA `x[i * b:(i + 1) * b]`
has a bounded dynamic shape and silently costs the whole array. Loops are `tf.while_loop`s: in
unrolled loops common-subexpression elimination merges the tiles of the forward and the backward
pass, and memory is quadratic again. Masks are comparisons of small ranges, never constants.
"""

from simclr_tf.stack import tf

MASKED = -1e30  # a finite "never": -inf - -inf is NaN, and 1e9 overflows in float16


def size(x, axis=0):
    """The length of an axis: a Python int where it is known, else an int32 tensor."""
    static = x.shape[axis]
    return tf.shape(x)[axis] if static is None else static


def ceil_div(count, block):
    """The number of blocks of `block` that cover `count`; either may be a tensor."""
    return (count + block - 1) // block


def balanced_block(count, block):
    """`block`, or less if as many smaller blocks cover `count` with less padding."""
    if not isinstance(count, int):
        return block
    return max(1, ceil_div(count, max(1, ceil_div(count, block))))


def take(blocks, i):
    """Block `i` (int32 tensor) of blocks [count, ...], whose other axes are static."""
    shape = blocks.shape[1:].as_list()
    return tf.reshape(tf.slice(blocks, tf.stack([i] + [0] * len(shape)), [1] + shape), shape)


def in_blocks(x, block):
    """x [m, ...] as [ceil(m / block), block, ...]; padded with 0, integers with -1."""
    count = ceil_div(size(x), block)
    padding = [[0, count * block - size(x)]] + [[0, 0]] * (x.shape.rank - 1)
    x = tf.pad(x, padding, constant_values=-1 if x.dtype.is_integer else 0)
    rest = x.shape[1:].as_list()
    blocks = tf.reshape(x, tf.stack([count, block] + rest))
    blocks.set_shape([count if isinstance(count, int) else None, block] + rest)
    return blocks


def repeat(start, stop, body, state):
    """state = body(i, *state) for i from start to stop - 1, without keeping the iterations.

    Args:
        start, stop: int or int32 tensor.
        body: takes the int32 tensor i and the state, returns the new state as a list.
        state: list of tensors or TensorArrays.
    """
    _, *state = tf.while_loop(
        lambda i, *_: i < stop,
        lambda i, *state: [i + 1, *body(i, *state)],
        [tf.convert_to_tensor(start, tf.int32), *state],
        parallel_iterations=1,  # more would hold several tiles at a time
    )
    return state


def log_add(a, b):
    """The sum of two sums of exponentials, each stacked as [log scale, scaled sum] on axis 0."""
    m = tf.maximum(a[0], b[0])
    return tf.stack([m, a[1] * tf.exp(a[0] - m) + b[1] * tf.exp(b[0] - m)])
