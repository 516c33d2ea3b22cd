"""The public functions: one per mode, from keyword arguments to a run, and trained models.

Arrays, paths, a tf.data.Dataset and settings as keyword arguments come in. Plain dicts, arrays and
`TrainedModel`s go out. The functions build the same config as the command line and call the same
runner (`simclr_tf.config.MODES`).

Start reading in `functions.py`, then `calls.py`. `import simclr_tf` offers the names of both.
"""
