"""Prints how far R replicas are from one: run by test_training.py in a process of its own.

One process can hold one MirroredStrategy graph only, so each replica count gets a new process.
Usage: python -m tests.replica_parity REPLICAS
"""

import json
import sys

import numpy as np

from simclr_tf.config import Model
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.simclr import SimCLR
from simclr_tf.stack import keras, tf

BATCH, SIZE, TEMPERATURE = 8, 8, 0.2
RATE = 2.0**16  # so large that rounding the updated weights does not hide the gradient


def views_of(batch):
    """Two fixed views (the image and its negative), so that all replica counts see the same."""
    images = tf.cast(batch["images"], tf.float32) / 255.0
    return tf.concat([images, 1.0 - 0.9 * images], axis=0)


def build(seed):
    keras.utils.set_random_seed(seed)
    model = Model(resnet_depth=18, width_multiplier=0.0625, proj_out_dim=16)
    encoder, head, probe = build_encoder(model, SIZE), build_head(model), LinearClassifier(5)
    h = encoder(tf.zeros([1, SIZE, SIZE, 3]))
    head(h), probe(h)
    for variable in encoder.trainable_variables:
        if not float(tf.reduce_max(tf.abs(variable))):  # zero-gamma would hide the branches
            variable.assign(tf.ones_like(variable) * 0.5)
    simclr = SimCLR(encoder, head, NTXent(TEMPERATURE), views_of, probe)
    simclr.compile(optimizer=keras.optimizers.SGD(RATE))
    return simclr


def batch_of():
    generator = np.random.default_rng(0)
    return {
        "images": generator.integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8),
        "label": generator.integers(0, 5, BATCH).astype(np.int32),
    }


def plain_gradients(simclr, batch):
    """Equation 1 of the paper and autodiff, sharing no loss code with simclr_tf."""
    with tf.GradientTape() as tape:
        z = simclr.head(simclr.encoder(views_of(batch), training=True), training=True)
        z = tf.cast(z, tf.float64)
        z = z / tf.sqrt(tf.reduce_sum(z**2, axis=1, keepdims=True))
        e = tf.exp(z @ tf.transpose(z) / TEMPERATURE)
        e = e * (1 - tf.eye(2 * BATCH, dtype=tf.float64))
        positive = tf.concat([tf.linalg.diag_part(e, k=BATCH)] * 2, axis=0)
        loss = -tf.reduce_mean(tf.math.log(positive / tf.reduce_sum(e, axis=1)))
    return float(loss), tape.gradient(loss, simclr.encoder.trainable_variables)


def distance_to_kink(simclr, batch):
    """Smallest |input| of any ReLU: nearer than rounding, a replica may see the other side."""
    nearest, relu = [], tf.nn.relu

    def recording(x, *args, **kwargs):
        nearest.append(float(tf.reduce_min(tf.abs(x))))
        return relu(x, *args, **kwargs)

    tf.nn.relu = recording
    try:
        simclr.head(simclr.encoder(views_of(batch), training=True), training=True)
    finally:
        tf.nn.relu = relu
    assert len(nearest) > 10
    return min(nearest)


def main(replicas):
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, logical)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    batch = batch_of()
    seed = next(s for s in range(50) if distance_to_kink(build(s), batch) > 3e-5)
    reference = build(seed)
    start = [v.numpy() for v in reference.encoder.trainable_variables]
    loss, gradients = plain_gradients(reference, batch)
    with strategy.scope():
        simclr = build(seed)
    dataset = tf.data.Dataset.from_tensors(batch).unbatch().batch(BATCH, drop_remainder=True)
    iterator = iter(strategy.experimental_distribute_dataset(dataset))
    tf.function(lambda it: strategy.run(simclr.train_step, args=(next(it),)))(iterator)
    moved = [(w - v.numpy()) / RATE for w, v in zip(start, simclr.encoder.trainable_variables)]
    flat = lambda arrays: np.concatenate([np.float64(a).ravel() for a in arrays])  # noqa: E731
    got, want = flat(moved), flat(gradients)
    print(json.dumps({
        "gradient": float(np.linalg.norm(got - want) / np.linalg.norm(want)),
        "loss": abs(float(simclr.running["loss"].result()) - loss) / loss,
    }))  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]))
