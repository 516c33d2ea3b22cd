"""Optimizers and the learning-rate schedule.

The settings of `config.Optimizer`, numbers of steps and the variables that are not decayed come
in; Keras optimizers and schedules (Keras 2 API) go out.

Start reading at `lars.py`, the optimizer of the paper, and `schedule.py`. `table.py` makes the
optimizer that `--optimizer` names, `groups.py` finds the variables that are not decayed,
`averaging.py` swaps averaged weights in and out.
"""
