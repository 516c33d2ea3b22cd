"""NT-Xent of one device in tiles of similarities, each computed once for its rows and columns.

Block a holds h first views and then their h second views, so that a row's self and positive lie
only in the diagonal tile (a, a), where row i and column k belong to one image if i = k modulo h;
every other tile holds negatives only. Work: half of the matrix products of a row-by-row form;
memory O(2n * p) plus a few tiles, also in the backward pass, which computes the tiles again.
"""

from simclr_tf.losses.kernels import anchors, norms, statistics, tiles
from simclr_tf.stack import tf


class Tiles:
    """The similarities of z float32 [2n, p] in square tiles of `2 * half` rows."""

    def __init__(self, z, softmax, half):
        self.softmax = softmax
        self.half = half
        first, second = tf.split(z, 2)
        self.n = tiles.size(first)
        self.p = z.shape[1]
        self.z = tf.concat([tiles.in_blocks(first, half), tiles.in_blocks(second, half)], 1)
        self.z_t = tf.transpose(self.z, [0, 2, 1])  # [blocks, p, 2h]; z_t[b] @ w beats w^T @ z[b]
        self.blocks = tiles.size(self.z)
        self.padded = not (isinstance(self.n, int) and self.n % half == 0)

    def similarities(self, a, b, diagonal):
        """Tile (a, b), a <= b: float32 [2h, 2h], MASKED where the column is no negative."""
        rows = tiles.take(self.z, a) * (1.0 / self.softmax.temperature)
        s = tf.matmul(rows, tiles.take(self.z_t, b))
        image = tf.range(2 * self.half) % self.half
        if self.padded:  # only the last block has padding; its rows are cut off at the end
            real = b * self.half + image < self.n
            s += tf.where(real, 0.0, tiles.MASKED)[None, :]
        return tf.where(image[:, None] == image, tiles.MASKED, s) if diagonal else s

    def sweep(self, diagonal, pair, add, row_shape, columns):
        """Sums over the tiles on and above the diagonal.

        Args:
            diagonal: a -> what tile (a, a) adds to the rows of block a, `row_shape`.
            pair: a, b -> what tile (a, b) adds to the rows of a and to the columns of b.
            add: the sum of two contributions.
            row_shape: static shape of the sum of a block of rows.
            columns: initial sums of the columns [blocks, ...].
        Returns:
            sums of the rows [blocks, *row_shape] and of the columns [blocks, ...].
        """

        def outer(a, rows, sums):
            def inner(b, row, sums):
                of_rows, of_columns = pair(a, b)
                return [add(row, of_rows), sums.write(b, add(sums.read(b), of_columns))]

            row, sums = tiles.repeat(a + 1, self.blocks, inner, [diagonal(a), sums])
            return [rows.write(a, row), sums]

        rows = tf.TensorArray(tf.float32, self.blocks, element_shape=row_shape)
        sums = tf.TensorArray(
            tf.float32, self.blocks, element_shape=columns.shape[1:], clear_after_read=False
        ).unstack(columns)
        rows, sums = tiles.repeat(0, self.blocks, outer, [rows, sums])
        return rows.stack(), sums.stack()

    def in_order(self, x):
        """x [blocks, 2h, ...] as [2n, ...]: first views, then second views."""
        rest = x.shape[2:].as_list()
        halves = [x[:, : self.half], x[:, self.half :]]
        return tf.concat([tf.reshape(half, [-1] + rest)[: self.n] for half in halves], 0)

    def by_block(self, x):
        """x float32 [2n] as [blocks, 2h]; the inverse of in_order, padded with 0."""
        return tf.concat([tiles.in_blocks(half, self.half) for half in tf.split(x, 2)], 1)

    def zeros(self, *shape):
        """float32 zeros [blocks, *shape]."""
        x = tf.zeros(tf.stack([self.blocks, *shape]))
        x.set_shape([None, *shape])
        return x


def _log_negatives_bounded(grid):
    def diagonal(a):
        return tf.reduce_sum(tf.exp(grid.similarities(a, a, True)), 1)

    def pair(a, b):
        e = tf.exp(grid.similarities(a, b, False))
        return tf.reduce_sum(e, 1), tf.reduce_sum(e, 0)

    rows = 2 * grid.half
    return anchors.log_of_sum(tf.add(*grid.sweep(diagonal, pair, tf.add, [rows], grid.zeros(rows))))


def _log_negatives(grid):
    """With a running maximum per row and per column: sums are [log scale, scaled sum]."""

    def scaled(s, axis):
        scale = tf.reduce_max(s, axis, keepdims=True)
        return tf.stack([tf.squeeze(scale, axis), tf.reduce_sum(tf.exp(s - scale), axis)])

    def diagonal(a):
        return scaled(grid.similarities(a, a, True), 1)

    def pair(a, b):
        s = grid.similarities(a, b, False)
        return scaled(s, 1), scaled(s, 0)

    shape = [2, 2 * grid.half]
    none = grid.zeros(*shape) + tf.constant([[tiles.MASKED], [0.0]])
    rows, columns = grid.sweep(diagonal, pair, tiles.log_add, shape, none)
    scale, total = tf.unstack(tiles.log_add(*(tf.transpose(x, [1, 0, 2]) for x in (rows, columns))))
    return scale + tf.math.log(total)


def _packed(sums, half):
    """Sums of a block as [8, h]: fields of all 2h rows fill two lines, cross fields one."""
    whole = [tf.reshape(x, [2, half]) for x in sums[:2]]
    return tf.concat([*whole, tf.stack(sums[2:])], 0)


def _unpacked(lines):
    return statistics.Sums(lines[:2], lines[2:4], *tf.unstack(lines[4:]))


def _packed_nothing(half):
    shapes = [[2, half]] * 2 + [[half]] * 4
    nothing = [tf.fill(shape, x) for shape, x in zip(shapes, statistics.NOTHING)]
    return _packed(statistics.Sums(*nothing), half)


def _sums(grid):
    """The statistics.Sums of all rows; cross fields [n], of the first views."""
    softmax = grid.softmax
    h = grid.half
    inverse = None
    if not softmax.unit:
        inverse = grid.by_block(norms.inverse_norms(grid.in_order(grid.z)))
        inverse = tf.where(inverse > 0.0, inverse, 1.0)  # MASKED * 0 would be a similarity

    def of_tile(s, a, b, axis):
        # second views are the right half beside a row, the lower half under a column
        corner = (slice(h), slice(h, None))[:: 1 if axis else -1]
        cross = lambda x, _: x[corner]
        factor = softmax.temperature
        if inverse is not None:
            factor *= cross(tiles.take(inverse, a)[:, None] * tiles.take(inverse, b), 0.0)
        return _packed(statistics.of_tile(s, cross, factor, axis, softmax), h)

    def pair(a, b):
        s = grid.similarities(a, b, False)
        return of_tile(s, a, b, 1), of_tile(s, a, b, 0)

    rows, columns = grid.sweep(
        lambda a: of_tile(grid.similarities(a, a, True), a, a, 1),
        pair,
        lambda x, y: _packed(statistics.merge(_unpacked(x), _unpacked(y), softmax), h),
        [8, h],
        grid.zeros(8, h) + _packed_nothing(h),
    )
    lines = [_unpacked(tf.transpose(x, [1, 0, 2])) for x in (rows, columns)]
    sums = statistics.merge(*lines, softmax)
    flat = lambda x: tf.reshape(x, [-1])[: grid.n]  # noqa: E731
    whole = [tf.concat([flat(half) for half in tf.unstack(x)], 0) for x in sums[:2]]
    return statistics.Sums(*whole, *(flat(x) for x in sums[2:]))


def forward(z, *, softmax, half, with_figures=False):
    """Losses, normalisers and pulls (each float32 [2n]) of z float32 [2n, p], p static, and the
    figures."""
    grid = Tiles(z, softmax, half)
    figures = {}
    positives = anchors.positives(z, softmax.temperature)
    if with_figures:
        sums = _sums(grid)
        log_negatives = statistics.log_negatives(sums, softmax)
        figures = statistics.figures(sums, z, z, softmax)
    else:
        sweep = _log_negatives_bounded if softmax.bounded else _log_negatives
        log_negatives = grid.in_order(sweep(grid))
    return (*anchors.anchor_terms(log_negatives, positives, softmax.decoupled), figures)


def backward(z, normalisers, pulls, *, softmax, half):
    """Gradient [2n, p] of the mean over the 2n anchors."""
    grid = Tiles(z, softmax, half)
    e = grid.by_block(normalisers)
    u = tf.exp(-e) if softmax.bounded else e

    def weights(a, b, diagonal):
        s = grid.similarities(a, b, diagonal)
        u_a = tiles.take(u, a)[:, None]
        u_b = tiles.take(u, b)
        return tf.exp(s) * (u_a + u_b) if softmax.bounded else tf.exp(s - u_a) + tf.exp(s - u_b)

    def diagonal(a):
        return tf.matmul(weights(a, a, True), tiles.take(grid.z, a))

    def pair(a, b):
        w = weights(a, b, False)
        return tf.matmul(w, tiles.take(grid.z, b)), tf.matmul(tiles.take(grid.z_t, a), w)

    rows = 2 * half
    p = grid.p
    pushed, pushed_t = grid.sweep(diagonal, pair, tf.add, [rows, p], grid.zeros(p, rows))
    pushed = grid.in_order(pushed + tf.transpose(pushed_t, [0, 2, 1]))
    scale = 1.0 / (softmax.temperature * tf.cast(tiles.size(z), tf.float32))
    return (pushed - anchors.pulled(z, pulls)) * scale
