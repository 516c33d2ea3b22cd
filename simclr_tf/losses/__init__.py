"""Contrastive losses: projections z of both views in, a float32 scalar and its exact gradient out.

In: z float [2b, p] of this replica (all first views, then all second views). Out: the mean loss
over the local 2b anchors against the views of the global batch, and metrics of the same batch.
Inside `strategy.run` every loss uses all replicas: divide it by the number of replicas and sum
the gradients (as Keras optimizers do). Memory grows with the batch, not with its square.

- `NTXent` is the loss of the paper, `DecoupledNTXent`, `SupervisedContrastive`, `NTLogistic` and
  `MarginTriplet` its relatives; `table.make_loss` builds any of them from settings.
- `symmetric`, `dense`, `rows` and `pairwise` are the kernels, `replicas` the collectives.
- `contrastive_metrics` measures a batch without a gradient; `statistics` gathers the same in the
  sweep that computes a loss, `embedding` holds running metrics.

May import `simclr_tf.config`, `simclr_tf.errors` and `simclr_tf.stack`.
"""

from simclr_tf.losses.decoupled import DecoupledNTXent
from simclr_tf.losses.margin import MarginTriplet
from simclr_tf.losses.metrics import contrastive_metrics
from simclr_tf.losses.nt_logistic import NTLogistic
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.losses.supcon import SupervisedContrastive

__all__ = [
    "DecoupledNTXent",
    "MarginTriplet",
    "NTLogistic",
    "NTXent",
    "SupervisedContrastive",
    "contrastive_metrics",
]
