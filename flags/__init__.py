"""The command line: what the user may set, generated from `simclr_tf.config`.

In: the arguments of `python -m simclr_tf`. Out: the mode, its config dataclass, and the names of
the settings that the user or a preset gave (`flags.parse.parse`). One module per mode says what
the mode is for and which settings it offers; `presets/*.flags` are named groups of flags.

May import: absl and `simclr_tf.config`, `simclr_tf.errors`. No TensorFlow: `--help` is quick.
"""
