"""Metrics of a batch of projections: accuracies, entropy, similarities."""

from typing import Dict

from simclr_tf.losses.kernels import anchors, norms, replicas, rows, statistics, tiles
from simclr_tf.stack import all_reduce, tf

ANCHOR_BLOCK = 512
KEY_BLOCK = 1024
FIGURES = (  # the keys of `figures`
    "contrastive_accuracy",
    "contrastive_accuracy_full",
    "entropy",
    "positive_similarity",
    "negative_similarity",
    "alignment",
    "nearness",
)


@tf.autograph.experimental.do_not_convert
def contrastive_metrics(
    z: tf.Tensor, temperature: float, hidden_norm: bool = True
) -> Dict[str, tf.Tensor]:
    """Accuracy, entropy and similarities of a batch of projections, in one blockwise pass.

    Memory O(N): no N x N matrix is formed. No gradient. Inside `strategy.run` the result is that
    of the global batch on every replica (two collectives). `ContrastiveLoss.with_figures` gives
    the same beside the loss and without a pass of its own.

    Args:
        z: float [2b, p] of this replica, all first views, then all second views.
        temperature: float > 0, of the entropy.
        hidden_norm: whether to l2-normalise z for accuracies and entropy.
    Returns:
        dict of float32 []:
        contrastive_accuracy: share of the first views whose own second view is the most similar
            of the N second views, and `entropy`, the mean entropy in nats (at most log(N)) of the
            softmax over these N similarities / temperature: both as the official code logs them,
            but a tie counts as a miss.
        contrastive_accuracy_full: share of the 2N views whose other view is the most similar of
            the 2N - 1 others.
        positive_similarity, negative_similarity: mean cosine of views of one image, of others.
        alignment: mean squared distance of the unit projections of one image
            (arXiv:2005.10242).
        uniformity: log of the mean of exp(-2 * squared distance) of first and second views of
            different images (same source); all views equal: 0, one image only: -inf.
    """
    z = tf.stop_gradient(tf.cast(z, tf.float32))
    z = norms.unit_rows(z) if hidden_norm else z
    context = replicas.replica_context()
    found = figures(z, temperature, hidden_norm, context)
    if context is not None:
        packed = tf.stack([found[name] for name in FIGURES])
        packed = all_reduce(context, tf.distribute.ReduceOp.MEAN, packed)
        found = dict(zip(FIGURES, tf.unstack(packed)))
    return named(found)


def named(found):
    """Means of figures as metrics: the mean nearness becomes the uniformity."""
    found = dict(found)
    return {**found, "uniformity": tf.math.log(found.pop("nearness"))}


def figures(z, temperature, unit, context):
    """The figures of this replica's anchors, by a sweep of their own.

    Args:
        z: float32 [2b, p], prepared.
        temperature: float > 0.
        unit: whether the rows of z have length 1.
        context: replica context, None on one replica.
    Returns:
        dict of float32 [], one for each name of FIGURES.
    """
    z = tf.stop_gradient(z)
    b = tiles.size(z) // 2
    images = key_images = tf.tile(tf.range(b), [2])
    keys = z
    if context is not None:
        keys = replicas.gather(z, context)
        images, key_images = replicas.image_positions(b, context)
    softmax = anchors.make_softmax(temperature, unit=unit)
    sums = rows.sums(
        z,
        images,
        keys,
        key_images,
        softmax=softmax,
        anchor_block=ANCHOR_BLOCK,
        key_block=KEY_BLOCK,
    )
    return statistics.figures(sums, z, keys, softmax)
