"""Weights of others: files of other SimCLR code -> our built models, and back.

In: a path to a SavedModel or checkpoint of the official SimCLR code. Out: encoder, projection head
and classifier (`simclr_tf.models`) with those weights, their settings, and a report of what was
matched; the other way round, our weights under the official variable names.

May import: `simclr_tf.config`, `errors`, `stack` and the room `models`.
"""
