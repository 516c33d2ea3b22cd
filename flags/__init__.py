"""The command line, generated from `simclr_tf.config`.

The arguments of `python -m simclr_tf` come in. The mode, its config and the names of the settings
that the user or a preset gave go out (`parse.parse`). `presets/*.flags` are named groups of flags.
TensorFlow is not imported here, so `--help` is quick.
"""
