"""The margin triplet loss, one of those that the paper compares NT-Xent with (Table 2, Table 4)."""

from simclr_tf.errors import SettingsError
from simclr_tf.losses import base
from simclr_tf.losses.kernels import pairwise
from simclr_tf.losses.pairs import PairwiseLoss


@base.register
class MarginTriplet(PairwiseLoss):
    """max(s- - s+ + margin, 0), s = cosine; see `PairwiseLoss`.

    `temperature` plays no part in the loss; it scales the entropy among the metrics. The paper's
    margins are 0, 0.4, 0.8 and 1.6.
    """

    def __init__(self, margin=0.8, semi_hard=False, **kwargs):
        super().__init__(semi_hard, **kwargs)
        if not 0.0 <= margin < float("inf"):
            raise SettingsError(f"margin={margin} is not at least 0; start from 0.8.")
        self.margin = float(margin)
        self.rule = pairwise.margin_rule(self.margin)

    def get_config(self):
        """The arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin}
