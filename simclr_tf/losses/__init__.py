"""Contrastive losses: projections of the views come in, a loss and its exact gradient go out.

A loss takes z float [2b, p] of this replica (all first views, then all second views) and returns
a float32 scalar, the mean over the local 2b anchors against the views of the global batch. Inside
`strategy.run` every loss uses all replicas: divide it by the number of replicas and sum the
gradients, as Keras optimizers do. Memory grows with the batch, not with its square.

Start reading at `nt_xent.py`, the loss of the paper, and `base.py`, what all losses share. The
other losses are `decoupled`, `supcon`, `nt_logistic`, `margin` and `generalized`, a file each;
`table.py` is their registry. `many_views` makes a loss of two views one of more, `metrics` measures a batch without a
gradient, `embedding` holds running metrics. `kernels/` is the arithmetic, with a drawing of it.
"""

from simclr_tf.losses.decoupled import DecoupledNTXent
from simclr_tf.losses.generalized import GeneralizedContrastive
from simclr_tf.losses.many_views import OverPairs
from simclr_tf.losses.margin import MarginTriplet
from simclr_tf.losses.metrics import contrastive_metrics
from simclr_tf.losses.nt_logistic import NTLogistic
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.losses.supcon import SupervisedContrastive
from simclr_tf.losses.table import chance_value, make_loss

__all__ = [
    "DecoupledNTXent",
    "GeneralizedContrastive",
    "MarginTriplet",
    "NTLogistic",
    "NTXent",
    "OverPairs",
    "SupervisedContrastive",
    "chance_value",
    "contrastive_metrics",
    "make_loss",
]
