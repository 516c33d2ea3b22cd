"""Contrastive losses: projections z of both views in, a float32 scalar and its exact gradient out.

In: z float [2b, p] of this replica (all first views, then all second views). Out: the mean loss
over the local 2b anchors against the views of the global batch, and metrics of the same batch.
Inside `strategy.run` every loss uses all replicas: divide it by the number of replicas and sum
the gradients (as Keras optimizers do). Memory grows with the batch, not with its square.

- `nt_xent.NTXent` is the loss of the paper; `table.make_loss` builds any loss from settings.
- `symmetric`, `dense` and `rows` are the kernels, `replicas` the collectives.
- `metrics` measures a batch without a gradient.

May import `simclr_tf.config`, `simclr_tf.errors` and `simclr_tf.stack`.
"""
