"""Supervised contrastive loss (arXiv:2004.11362, eq. 2): views of one class are positives too."""

from simclr_tf.errors import SettingsError
from simclr_tf.losses import base
from simclr_tf.losses.kernels import class_positives, replicas, tiles
from simclr_tf.stack import tf


@base.register
class SupervisedContrastive(base.ContrastiveLoss):
    """Supervised contrastive loss, the form with the mean over positives outside the logarithm.

    Positives of a view are its other view and all views of images with the same label in the
    global batch; an image with label -1 has only its other view, so that without any label the
    value is that of NT-Xent. `loss(z, labels)` needs labels int [b], one per image.

    Arguments, shapes and replicas: see `ContrastiveLoss`. Memory is O(N * p). The gradient is good
    to about 1e-7 / temperature, also where NT-Xent's would be smaller than that.
    """

    needs_labels = True

    def mean_loss(self, z, labels, context):
        """See `ContrastiveLoss`."""
        if labels is None:
            raise SettingsError(
                "loss=supcon got no labels; call loss(z, labels), or choose --loss=nt_xent."
            )
        local = tf.stop_gradient(z)
        anchor, key = self._data(local, tf.tile(tf.cast(labels, tf.int32), [2]), context)
        blocks = self.row_blocks(tiles.size(local), tiles.size(key[0]))
        losses, *scalars = self.kernel(class_positives.forward)(anchor, key, blocks)
        key_scalars = scalars
        if context is not None:
            key_scalars = tf.unstack(replicas.gather(tf.stack(scalars, -1), context), axis=-1)
        return replicas.with_gradient(
            z,
            tf.reduce_mean(losses),
            lambda: self.kernel(class_positives.backward)(
                anchor + scalars, key + key_scalars, self.temperature, blocks
            ),
        )

    def _data(self, z, labels, context):
        """Anchor and key data of `_similarities`; z and labels of the local rows."""
        m = tiles.size(z)
        first = 0 if context is None else m * tf.cast(context.replica_id_in_sync_group, tf.int32)
        row = first + tf.range(m)
        image = first // 2 + tf.range(m) % (m // 2)
        group = tf.where(labels >= 0, labels, -2 - image)  # -1 is the padding of blocks
        key_z = z
        key_group = group
        if context is not None:
            key_z = replicas.gather(z, context)
            key_group = replicas.gather(group, context)
        anchor = [z * (1.0 / self.temperature), row, group]
        return anchor, [key_z, tf.range(tiles.size(key_z)), key_group]
