"""Keeping AutoGraph out of the forward pass."""

import inspect

from simclr_tf.stack import tf


def plain_python(method):
    """Decorates `call`: traced as written, without AutoGraph.

    AutoGraph would rewrite Keras itself along the way, which takes a minute for a ResNet. The
    signature is kept, because Keras reads it to know whether a layer takes `training`.
    """
    plain = tf.autograph.experimental.do_not_convert(method)
    plain.__signature__ = inspect.signature(method)
    return plain
