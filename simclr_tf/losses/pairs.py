"""What the losses over single pairs of views share (paper, Table 2 and Table 4)."""

from typing import Any, Dict, Optional

from simclr_tf.losses import base
from simclr_tf.losses.kernels import pairwise, replicas, tiles
from simclr_tf.stack import tf


class PairwiseLoss(base.ContrastiveLoss):
    """A loss that is a sum over pairs of views; the paper leaves the details open.

    The loss is the mean over the 2N anchors of: the loss of the positive, plus the mean over the
    N - 1 negatives of the other view. With `semi_hard` only one negative counts: the closest to
    the anchor among those farther than the positive (and, for the margin loss, inside the
    margin). An anchor without such a negative has the first part only.

    Args:
        rule: the loss of a positive and of a negative, see `kernels.pairwise.Rule`.
        semi_hard: use the one semi-hard negative instead of the mean over all.
        temperature: see `ContrastiveLoss`, as all others.
        hidden_norm: l2-normalise z inside.
        block_size: rows per block.
        jit_compile: compile the kernels alone.
        name: of the loss.
    """

    def __init__(
        self,
        *,
        rule: pairwise.Rule,
        semi_hard: bool,
        temperature: float,
        hidden_norm: bool,
        block_size: int,
        jit_compile: bool,
        name: Optional[str],
    ):
        super().__init__(
            temperature,
            hidden_norm=hidden_norm,
            block_size=block_size,
            jit_compile=jit_compile,
            name=name,
        )
        self.semi_hard = bool(semi_hard)
        self.rule = rule

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "semi_hard": self.semi_hard}

    def mean_loss(self, z, labels, context):
        """See `ContrastiveLoss`; labels are not used."""
        local = tf.stack(tf.split(tf.stop_gradient(z), 2))
        b = tiles.size(local, 1)
        images = tf.range(b)
        keys = local
        if context is not None:
            keys = _swap(replicas.gather(_swap(local), context))
            images += b * tf.cast(context.replica_id_in_sync_group, tf.int32)
        key_images = tf.range(tiles.size(keys, 1))
        anchor_block, key_block = self.row_blocks(b, tiles.size(keys, 1))
        options = {"rule": self.rule, "anchor_block": anchor_block, "key_block": key_block}
        attach = self._mined if self.semi_hard else self._averaged
        losses, backward = attach(local, images, keys, key_images, context, options)
        gradient = lambda: tf.reshape(backward(), tf.shape(z))  # noqa: E731
        return replicas.with_gradient(z, tf.reduce_mean(losses), gradient)

    def _averaged(self, z, images, keys, key_images, context, options):
        del context  # every key's scalar follows from its row
        losses, pulls = self.kernel(pairwise.forward)(z, images, keys, key_images, **options)
        return losses, lambda: self.kernel(pairwise.backward)(
            z, images, pulls, keys, key_images, **options
        )

    def _mined(self, z, images, keys, key_images, context, options):
        losses, pulls, weights, picks = self.kernel(pairwise.mined_forward)(
            z, images, keys, key_images, **options
        )
        key_weights = weights
        key_picks = picks
        if context is not None:  # one collective: bits of float32 beside int32
            both = tf.stack([tf.bitcast(weights, tf.int32), picks], -1)
            both = _swap(replicas.gather(_swap(both), context))
            key_weights = tf.bitcast(both[..., 0], tf.float32)
            key_picks = both[..., 1]
        return losses, lambda: self.kernel(pairwise.mined_backward)(
            z,
            images[0],
            pulls,
            weights,
            picks,
            keys,
            key_weights,
            key_picks,
            rule=self.rule,
        )


def _swap(x):
    """[view, image, ...] as [image, view, ...], and back."""
    return tf.transpose(x, [1, 0, 2])
