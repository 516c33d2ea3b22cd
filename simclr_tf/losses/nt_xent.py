"""NT-Xent, the loss of SimCLR (arXiv:2002.05709, eq. 1), exact in linear memory."""

import math
from typing import Optional

from simclr_tf import stack
from simclr_tf.losses import base, table
from simclr_tf.losses.kernels import anchors, dense, replicas, rows, symmetric, tiles
from simclr_tf.stack import tf


@table.register("nt_xent")
class NTXent(base.ContrastiveLoss):
    """Normalised temperature-scaled cross entropy, at the scale of the paper.

    loss(z) = mean over the 2N views i of
        -log( exp(s_ip) / sum over k != i of exp(s_ik) ),  s_ik = cos(z_i, z_k) / temperature,
    p the other view of i. The official code returns twice this value.

    Call it with z float [2b, p] of this replica, all first views, then all second views; it
    returns float32 []. On several replicas each gets the mean over its own anchors: divide by
    the number of replicas and sum the gradients. Memory is O(N * p); with block_size=-1, or 2N
    up to one block (512 rows on a CPU, 4096 on a GPU or TPU), the similarity matrix is formed at
    once.

    Args:
        temperature: divides the cosines, > 0.
        hidden_norm: l2-normalise z inside.
        block_size: rows per block of the similarity matrix, an even number; 0 chooses by batch
            size, -1 forms the matrix at once.
        jit_compile: compile the kernels, and nothing around them, with XLA; up to one block of
            a CPU it is not done.
        name: of the loss, in traces.
    Raises:
        SettingsError: a setting is outside its limits.

    >>> loss = NTXent(temperature=0.1)
    >>> with tf.GradientTape() as tape:
    ...     objective = loss(head(encoder(views))) / strategy.num_replicas_in_sync
    """

    decoupled = False

    def chance(self, images: int) -> Optional[float]:
        """log(2N - 1): every other view is as likely as the positive."""
        return math.log(2 * images - 1)

    def mean_loss(self, z, labels, context):
        """See `ContrastiveLoss`; labels are not used."""
        return self._loss(z, context, False)[0]

    def loss_and_figures(self, z, labels, context):
        """See `ContrastiveLoss`; no similarity is computed twice for the figures."""
        return self._loss(z, context, True)

    def _loss(self, z, context, with_figures):
        softmax = anchors.make_softmax(
            self.temperature, unit=self.hidden_norm, decoupled=self.decoupled
        )
        if context is not None:
            return self._replica_loss(z, softmax, context, with_figures)
        forward, backward, options = self._choose_kernel(tiles.size(z))
        options["softmax"] = softmax
        local = tf.stop_gradient(z)
        *terms, figures = forward(local, with_figures=with_figures, **options)
        losses, normalisers, pulls = self.anchor_terms(local, *terms)
        loss = replicas.with_gradient(
            z,
            tf.reduce_mean(losses),
            lambda: (
                backward(local, normalisers, pulls, **options)
                + self.own_gradient(local, normalisers)
            ),
        )
        return loss, figures

    def anchor_terms(self, z, losses, normalisers, pulls):
        """Losses, normalisers and pulls of the anchors z [2b, p]: hook for other sums over keys."""
        del z
        return losses, normalisers, pulls

    def own_gradient(self, z, normalisers):
        """What the similarity of each row of z with itself adds to the gradient: nothing here."""
        del z, normalisers
        return 0.0

    def _choose_kernel(self, rows_of_z):
        """Forward and backward kernel, and their options that follow from the batch size."""
        static = isinstance(rows_of_z, int)
        small = self.block_size == 0 and static and rows_of_z <= base.block_rows()
        # compiled, one block of a CPU is no faster, and takes a second to become so
        if small and not stack.accelerated():
            return dense.forward, dense.backward, {}
        if self.block_size == -1 or small:
            return self.kernel(dense.forward), self.kernel(dense.backward), {}
        half = (self.block_size or base.block_rows()) // 2
        if self.block_size == 0:
            half = tiles.balanced_block(rows_of_z // 2, half)
        return self.kernel(symmetric.forward), self.kernel(symmetric.backward), {"half": half}

    def _replica_loss(self, z, softmax, context, with_figures):
        """One collective for the rows, one for a scalar per row, none in the backward pass."""
        local = tf.stop_gradient(z)
        key_z = replicas.gather(local, context)
        images, key_images = replicas.image_positions(tiles.size(local) // 2, context)
        anchor_block, key_block = self.row_blocks(tiles.size(local), tiles.size(key_z))
        options = {"softmax": softmax, "anchor_block": anchor_block, "key_block": key_block}
        *terms, figures = self.kernel(rows.forward)(
            local, images, key_z, key_images, with_figures=with_figures, **options
        )
        losses, normalisers, pulls = self.anchor_terms(local, *terms)
        key_normalisers = replicas.gather(normalisers, context)
        loss = replicas.with_gradient(
            z,
            tf.reduce_mean(losses),
            lambda: (
                self.kernel(rows.backward)(
                    local, images, normalisers, pulls, key_z, key_images, key_normalisers, **options
                )
                + self.own_gradient(local, normalisers)
            ),
        )
        return loss, figures
