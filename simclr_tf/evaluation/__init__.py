"""Evaluation: what a frozen encoder knows, as features, classifiers and figures.

In: a built encoder (images float [b, s, s, 3] in [0, 1] -> h float [b, d]), finite datasets of
evaluation batches, streams of training batches. Out: NumPy features with labels and ids, linear
classifiers, and figures with their uncertainty and significance. May import `config`, `errors`,
`stack` and the rooms data, views, models, losses and optimizers; never training, report, flags or
export.
"""
