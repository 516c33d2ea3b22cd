"""What one anchor contributes: its loss, and the terms of its gradient.

Notation: s_ik is the similarity of rows i and k divided by the temperature, p(i) the positive of
i. The gradient of the mean loss over M anchors with respect to row i is

    1 / (M * temperature)
        * [ sum over k of (exp(s_ik - e_i) + exp(s_ik - e_k)) z_k  -  (q_i + q_p(i)) z_p(i) ]

over the negatives k, with the normaliser e and the pull q of each anchor: row i's gradient needs
one scalar of every other anchor and no other row of the similarity matrix.
"""

from typing import NamedTuple

from simclr_tf.losses.kernels.tiles import MASKED
from simclr_tf.stack import tf


class Softmax(NamedTuple):
    """How similarities become a loss.

    Attributes:
        temperature: float > 0, divides the similarities.
        bounded: exp(similarity / temperature) and its sums neither overflow nor underflow in
            float32; otherwise the kernels keep a running maximum.
        decoupled: leave the positive out of the denominator (decoupled contrastive loss).
        unit: the rows have length 1 (or 0), so that similarities are cosines.
    """

    temperature: float
    bounded: bool
    decoupled: bool
    unit: bool


def make_softmax(temperature: float, *, unit: bool, decoupled: bool = False) -> Softmax:
    """The Softmax of a loss; unit rows have similarities in [-1, 1], exp(64) is 6e27."""
    return Softmax(
        temperature=float(temperature),
        bounded=unit and temperature >= 1 / 64,
        decoupled=decoupled,
        unit=unit,
    )


def anchor_terms(log_negatives, positive, decoupled):
    """Loss, normaliser and pull of each anchor.

    With x = log_negatives - positive the loss is softplus(x) and the pull is
    sigmoid(x) = 1 - P(positive): no difference of large numbers at any temperature.

    Args:
        log_negatives: log of the sum of exp(s) over negatives, about MASKED if there are none.
        positive: s of the positive; same shape.
        decoupled: see Softmax.
    Returns:
        losses, normalisers and pulls, same shape; without negatives loss and pull are 0.
    """
    x = log_negatives - positive
    if decoupled:
        none = log_negatives <= 0.5 * MASKED
        pulls = tf.where(none, 0.0, tf.ones_like(x))
        return tf.where(none, 0.0, x), tf.where(none, 0.0, log_negatives), pulls
    losses = tf.math.softplus(x)
    return losses, positive + losses, tf.sigmoid(x)


def log_of_sum(total):
    """log(total), MASKED where there was nothing to add; a NaN stays NaN."""
    empty = total <= 0.0
    return tf.where(empty, MASKED, tf.math.log(tf.where(empty, 1.0, total)))


def positives(z, temperature):
    """s of each row of z [2n, p] with its other view, [2n]."""
    first, second = tf.split(z, 2)
    return tf.tile(tf.reduce_sum(first * second, 1) * (1.0 / temperature), [2])


def pulled(z, pulls):
    """The other view of each row times the pulls of both anchors of the pair, [2n, p]."""
    first, second = tf.split(z, 2)
    pull = tf.add(*tf.split(pulls, 2))[:, None]
    return tf.concat([pull * second, pull * first], 0)
