"""NT-Logistic, a loss of the paper's comparison (arXiv:2002.05709, Table 2 and Table 4)."""

import math
from typing import Optional

from simclr_tf.losses import base, table
from simclr_tf.losses.kernels import pairwise
from simclr_tf.losses.pairs import PairwiseLoss


@table.register("nt_logistic", settings=("semi_hard",))
class NTLogistic(PairwiseLoss):
    """-log sigmoid(s+) - log sigmoid(-s-), s = cosine / temperature, added up as in `PairwiseLoss`.

    The paper's temperatures are 0.1, 0.2, 0.5 and 1.0.

    Args:
        temperature: divides the cosines, > 0.
        semi_hard: use the one semi-hard negative instead of the mean over all.
        hidden_norm: l2-normalise z inside.
        block_size: rows per block of the similarity matrix, an even number; 0 chooses by batch
            size, -1 forms the matrix at once.
        jit_compile: compile the kernels, and nothing around them, with XLA.
        name: of the loss, in traces.
    """

    def __init__(
        self,
        temperature: float = 0.5,
        *,
        semi_hard: bool = False,
        hidden_norm: bool = True,
        block_size: int = 0,
        jit_compile: bool = False,
        name: Optional[str] = None,
    ):
        base.check_temperature(temperature)
        super().__init__(
            rule=pairwise.logistic_rule(float(temperature)),
            semi_hard=semi_hard,
            temperature=temperature,
            hidden_norm=hidden_norm,
            block_size=block_size,
            jit_compile=jit_compile,
            name=name,
        )

    def chance(self, images: int) -> Optional[float]:
        """softplus(-1 / temperature) of the positive + softplus(1 / temperature) of negatives.

        None where it says nothing: with `semi_hard` equal embeddings have no negatives, and
        without `hidden_norm` the value depends on the length of z.
        """
        if self.semi_hard or not self.hidden_norm or images < 2:
            return None
        return 2 * math.log1p(math.exp(-1 / self.temperature)) + 1 / self.temperature
