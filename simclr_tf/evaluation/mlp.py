"""A small network on frozen features: what the probes of "what to predict" train."""

import numpy as np

from simclr_tf.models.layers import kernel_seed
from simclr_tf.stack import keras, tf


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
    layers = [_dense(hidden, "relu", seed, "hidden")] if hidden else []
    model = keras.Sequential([*layers, _dense(num_classes, None, seed, "classes")])
    model.build((None, features.shape[1]))
    batch = min(256, len(features))
    steps = max(1000, epochs * len(features) // batch)
    rng = np.random.default_rng(seed)
    passes = -(-steps * batch // len(features))
    order = np.concatenate([rng.permutation(len(features)) for _ in range(passes)])
    _train(model, features, labels, order[: steps * batch].reshape(steps, batch))

    def logits(rows):
        blocks = np.array_split(np.asarray(rows, np.float32), max(1, len(rows) // 4096))
        return np.concatenate([model(block, training=False).numpy() for block in blocks])

    return logits


def _train(model, features, labels, picked):
    """One step of Adam for each row of picked int [steps, batch], positions in the features."""
    curve = keras.optimizers.schedules.CosineDecay(1e-3, len(picked))
    optimizer = keras.optimizers.Adam(curve, jit_compile=False)
    optimizer.build(model.trainable_variables)
    features = tf.constant(features)
    labels = tf.constant(labels)

    @tf.function
    def train(picked):
        for rows in picked:
            with tf.GradientTape() as tape:
                logits = model(tf.gather(features, rows), training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=tf.gather(labels, rows), logits=logits
                )
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))

    train(tf.constant(picked, tf.int32))


def _dense(units, activation, seed, name):
    start = keras.initializers.GlorotUniform(seed=kernel_seed(seed, name))
    return keras.layers.Dense(units, activation, kernel_initializer=start, name=name)
