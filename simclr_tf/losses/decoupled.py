"""The decoupled contrastive loss (arXiv:2110.06848)."""

import math

from simclr_tf.losses import table
from simclr_tf.losses.nt_xent import NTXent


@table.register("decoupled")
class DecoupledNTXent(NTXent):
    """Decoupled contrastive loss (arXiv:2110.06848): NT-Xent without the positive in the sum.

    loss(z) = mean over views of -s_ip + log sum over k not in {i, p} of exp(s_ik); it is 0 for a
    single image and may be negative. Arguments as for `NTXent`.
    """

    decoupled = True

    def chance(self, images: int) -> float:
        """log(2N - 2), the number of negatives; 0 for a single image, which has none."""
        return math.log(2 * images - 2) if images > 1 else 0.0
