"""The decoupled contrastive loss (arXiv:2110.06848)."""

import math

from simclr_tf.losses import table
from simclr_tf.losses.nt_xent import NTXent


@table.register("decoupled")
class DecoupledNTXent(NTXent):
    """Decoupled contrastive loss (arXiv:2110.06848): NT-Xent without the positive in the sum.

    loss(z) = mean over views of -s_ip + log sum over k not in {i, p} of exp(s_ik); it is 0 for a
    single image and may be negative. Shapes and replicas as for `NTXent`.

    Args:
        temperature: divides the cosines, > 0.
        hidden_norm: l2-normalise z inside.
        block_size: rows per block of the similarity matrix, an even number; 0 chooses by batch
            size, -1 forms the matrix at once.
        jit_compile: compile the kernels, and nothing around them, with XLA.
        name: of the loss, in traces.
    """

    decoupled = True

    def chance(self, images: int) -> float:
        """log(2N - 2), the number of negatives; 0 for a single image, which has none."""
        return math.log(2 * images - 2) if images > 1 else 0.0
