"""The margin triplet loss of the paper's comparison (arXiv:2002.05709, Table 2 and Table 4)."""

from typing import Any, Dict, Optional

from simclr_tf.errors import SettingsError
from simclr_tf.losses import table
from simclr_tf.losses.kernels import pairwise
from simclr_tf.losses.pairs import PairwiseLoss


@table.register("margin", settings=("semi_hard", "margin"))
class MarginTriplet(PairwiseLoss):
    """max(s- - s+ + margin, 0), s = cosine, added up as in `PairwiseLoss`.

    The paper's margins are 0, 0.4, 0.8 and 1.6.

    Args:
        margin: by how much the positive must be more similar, >= 0.
        semi_hard: use the one semi-hard negative instead of the mean over all.
        temperature: scales the entropy among the metrics; the loss does not use it.
        hidden_norm: l2-normalise z inside.
        block_size: rows per block of the similarity matrix, an even number; 0 chooses by batch
            size, -1 forms the matrix at once.
        jit_compile: compile the kernels, and nothing around them, with XLA.
        name: of the loss, in traces.
    """

    def __init__(
        self,
        margin: float = 0.8,
        *,
        semi_hard: bool = False,
        temperature: float = 0.1,
        hidden_norm: bool = True,
        block_size: int = 0,
        jit_compile: bool = False,
        name: Optional[str] = None,
    ):
        if not 0.0 <= margin < float("inf"):
            raise SettingsError(f"margin={margin} is below 0 or not finite; start from 0.8.")
        super().__init__(
            rule=pairwise.margin_rule(float(margin)),
            semi_hard=semi_hard,
            temperature=temperature,
            hidden_norm=hidden_norm,
            block_size=block_size,
            jit_compile=jit_compile,
            name=name,
        )
        self.margin = float(margin)

    def chance(self, images: int) -> Optional[float]:
        """The margin; None with `semi_hard`, where equal embeddings have no negatives."""
        return None if self.semi_hard or images < 2 else self.margin

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin}
