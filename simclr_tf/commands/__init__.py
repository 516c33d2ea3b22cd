"""One file per mode: a config comes in, a run folder or a file goes out.

A command reads settings, prints a plan, calls the rooms below and writes what they return. All of
them are listed in `simclr_tf.config.modes`; each has one function `run(config, given)`.
"""
