"""NT-Logistic, one of the losses that the paper compares NT-Xent with (Table 2, Table 4)."""

from simclr_tf.losses import base
from simclr_tf.losses.kernels import pairwise
from simclr_tf.losses.pairs import PairwiseLoss


@base.register
class NTLogistic(PairwiseLoss):
    """-log sigmoid(s+) - log sigmoid(-s-), s = cosine / temperature; see `PairwiseLoss`.

    The paper's temperatures are 0.1, 0.2, 0.5 and 1.0.
    """

    def __init__(self, temperature=0.5, semi_hard=False, **kwargs):
        super().__init__(semi_hard, temperature=temperature, **kwargs)
        self.rule = pairwise.logistic_rule(self.temperature)
