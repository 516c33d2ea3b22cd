"""A small network on frozen features: what the probes of "what to predict" train."""

import functools
import math

import numpy as np

from simclr_tf.models.layers import kernel_seed
from simclr_tf.stack import keras, tf

_RATE = 1e-3  # Adam as in Keras
_BETA_1 = 0.9
_BETA_2 = 0.999
_EPSILON = 1e-7


def fit_mlp(features, labels, num_classes, hidden=512, epochs=50, seed=0):
    """Trains one hidden ReLU layer and a softmax with Adam (1e-3, cosine to 0, batch 256).

    The paper does not state its probe (section 4.2); this one is ours. At least 1,000 steps are
    taken, so that few images are not underfitted.

    Args:
        features: float [n, d], standardised.
        labels: int [n].
        num_classes: int.
        hidden: width of the hidden layer, 0 for a linear classifier.
        epochs: passes over the features.
        seed: of the start and of the order.
    Returns:
        function float [m, d] -> logits float32 [m, num_classes].
    """
    features = np.asarray(features, np.float32)
    labels = np.asarray(labels, np.int32)
    widths = [features.shape[1], *([hidden] if hidden else []), num_classes]
    names = ["hidden", "classes"] if hidden else ["classes"]
    weights = []
    for name, rows, columns in zip(names, widths, widths[1:]):
        start = keras.initializers.GlorotUniform(seed=kernel_seed(seed, name))
        weights += [start([rows, columns]), tf.zeros([columns])]
    batch = min(256, len(features))
    steps = max(1000, epochs * len(features) // batch)
    rng = np.random.default_rng(seed)
    passes = -(-steps * batch // len(features))
    order = np.concatenate([rng.permutation(len(features)) for _ in range(passes)])
    picked = tf.constant(order[: steps * batch].reshape(steps, batch), tf.int32)
    weights = _trained(len(weights))(weights, tf.constant(features), tf.constant(labels), picked)

    def logits(rows):
        blocks = np.array_split(np.asarray(rows, np.float32), max(1, len(rows) // 4096))
        return np.concatenate([_logits(weights, block).numpy() for block in blocks])

    return logits


def _logits(weights, rows):
    """float32 [m, classes]; weights: kernel and bias of each layer, one after another."""
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2]):
        rows = tf.nn.relu(rows @ kernel + bias)
    return rows @ weights[-2] + weights[-1]


@functools.lru_cache(maxsize=2)
def _trained(count):
    """The function that trains `count` weights, traced once for networks of all sizes.

    It maps (weights, features [n, d], labels [n], picked int [steps, batch]: the rows of each
    step) to the weights after one step of Adam for each row of `picked`.
    """

    def train(weights, features, labels, picked):
        steps = tf.shape(picked)[0]

        def step(number, weights, means, squares):
            rows = picked[number]
            with tf.GradientTape() as tape:
                tape.watch(weights)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=tf.gather(labels, rows),
                    logits=_logits(weights, tf.gather(features, rows)),
                )
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, weights)
            share = tf.cast(number, tf.float32) / tf.cast(steps, tf.float32)
            rate = _RATE * 0.5 * (1.0 + tf.cos(math.pi * share))
            taken = tf.cast(number + 1, tf.float32)
            rate *= tf.sqrt(1.0 - _BETA_2**taken) / (1.0 - _BETA_1**taken)
            means = [m + (g - m) * (1.0 - _BETA_1) for m, g in zip(means, gradients)]
            squares = [v + (g * g - v) * (1.0 - _BETA_2) for v, g in zip(squares, gradients)]
            moved = zip(weights, means, squares)
            weights = [w - rate * m / (tf.sqrt(v) + _EPSILON) for w, m, v in moved]
            return number + 1, weights, means, squares

        zeros = [tf.zeros_like(weight) for weight in weights]
        state = (tf.constant(0), weights, zeros, zeros)
        return tf.while_loop(lambda number, *_: number < steps, step, state)[1]

    kinds = [tf.TensorSpec([None, None]), tf.TensorSpec([None])] * (count // 2)
    integers = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.int32)]
    signature = [kinds, tf.TensorSpec([None, None]), *integers]
    return tf.function(train, input_signature=signature, autograph=False)
