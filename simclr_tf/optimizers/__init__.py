"""LARS, the learning-rate schedule, and the table from name to optimizer.

In: the values of `simclr_tf.config.Optimizer`, batch and data set sizes, and the variables that are
not decayed. Out: Keras optimizers and schedules (Keras 2 API). May import `simclr_tf.config`,
`errors` and `stack` only.
"""
