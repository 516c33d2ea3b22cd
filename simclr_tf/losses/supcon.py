"""Supervised contrastive loss (arXiv:2004.11362, eq. 2): views of one class are positives too."""

import math

from simclr_tf.errors import SettingsError
from simclr_tf.losses import base, table
from simclr_tf.losses.kernels import class_positives, replicas, tiles
from simclr_tf.stack import tf


@table.register("supcon")
class SupervisedContrastive(base.ContrastiveLoss):
    """Supervised contrastive loss, the form with the mean over positives outside the logarithm.

    Positives of a view are its other view and all views of images with the same label in the
    global batch; an image with label -1 has only its other view, so that without any label the
    value is that of NT-Xent. `loss(z, labels)` needs labels int [b], one per image.

    Shapes and replicas as for `NTXent`. Memory is O(N * p). The gradient is good to about
    1e-7 / temperature, also where NT-Xent's would be smaller than that.

    Args:
        temperature: divides the cosines, > 0.
        hidden_norm: l2-normalise z inside.
        block_size: rows per block of the similarity matrix, an even number; 0 chooses by batch
            size, -1 forms the matrix at once.
        jit_compile: compile the kernels, and nothing around them, with XLA.
        name: of the loss, in traces.
    """

    needs_labels = True

    def chance(self, images: int) -> float:
        """log(2N - 1), whatever the labels: every other view is as likely as a positive."""
        return math.log(2 * images - 1)

    def mean_loss(self, z, labels, context):
        """See `ContrastiveLoss`."""
        if labels is None:
            raise SettingsError(
                "loss=supcon got no labels; call loss(z, labels), or choose --loss=nt_xent."
            )
        local = tf.stop_gradient(z)
        row, group = _rows_and_groups(tf.tile(tf.cast(labels, tf.int32), [2]), context)
        key_z = local
        key_group = group
        if context is not None:
            key_z = replicas.gather(local, context)
            key_group = replicas.gather(group, context)
        key_row = tf.range(tiles.size(key_z))
        scaled = local * (1.0 / self.temperature)
        anchor_block, key_block = self.row_blocks(tiles.size(local), tiles.size(key_z))
        blocks = {"anchor_block": anchor_block, "key_block": key_block}
        losses, normalisers, shares = self.kernel(class_positives.forward)(
            scaled, row, group, key_z, key_row, key_group, **blocks
        )
        key_normalisers = normalisers
        key_shares = shares
        if context is not None:  # one collective for both
            both = replicas.gather(tf.stack([normalisers, shares], -1), context)
            key_normalisers, key_shares = tf.unstack(both, axis=-1)
        return replicas.with_gradient(
            z,
            tf.reduce_mean(losses),
            lambda: self.kernel(class_positives.backward)(
                scaled,
                row,
                group,
                normalisers,
                shares,
                key_z,
                key_row,
                key_group,
                key_normalisers,
                key_shares,
                temperature=self.temperature,
                **blocks,
            ),
        )


def _rows_and_groups(labels, context):
    """Position of each local row in the global batch, and a number that its positives share.

    Args:
        labels: int32 [2b], of the local rows; -1 is "no label".
        context: replica context, None on one replica.
    Returns:
        int32 [2b] each.
    """
    m = tiles.size(labels)
    first = 0 if context is None else m * tf.cast(context.replica_id_in_sync_group, tf.int32)
    image = first // 2 + tf.range(m) % (m // 2)
    group = tf.where(labels >= 0, labels, -2 - image)  # -1 is the padding of blocks
    return first + tf.range(m), group
