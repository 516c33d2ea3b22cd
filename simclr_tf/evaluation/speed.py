"""How large a model is and how long it takes for one image."""

import time

import numpy as np

from simclr_tf.stack import tf

_REPEATS = 30


def milliseconds_per_image(function, shape):
    """The median time of a compiled function for one image, after a first call that compiles it.

    Args:
        function: images float32 [1, s, s, c] -> tensor.
        shape: [s, s, c].
    """
    compiled = tf.function(function, autograph=False)
    image = tf.constant(np.random.default_rng(0).random([1, *shape], np.float32))
    return median_milliseconds(lambda: compiled(image).numpy())


def median_milliseconds(call):
    """The median time of a call without arguments over 30 calls, after a first one."""
    call()
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1000.0 * float(np.median(times))


def size_figures(*parts):
    """{"parameters", "megabytes"}: trainable parameters, and float32 weights with statistics.

    Args:
        *parts: built Keras models and layers; None is left out.
    """
    parts = [part for part in parts if part is not None]
    trainable = {id(v): v for part in parts for v in part.trainable_variables}
    every = {id(v): v for part in parts for v in part.weights}
    return {
        "parameters": int(sum(v.shape.num_elements() for v in trainable.values())),
        "megabytes": 4e-6 * sum(v.shape.num_elements() for v in every.values()),
    }
