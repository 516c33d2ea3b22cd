"""One train step on the replicas of a strategy against a plain reference of the whole batch."""

import contextlib

import numpy as np

from simclr_tf.config import Model
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.simclr import SimCLR
from simclr_tf.stack import keras, tf

CLASSES = 5
SIZE = 8
TEMPERATURE = 0.2
MODEL = Model(resnet_depth=10, width_multiplier=0.0625, proj_out_dim=16)
RATE = 2.0**16  # so large that rounding the updated weights does not hide the gradient
_KINK = 3e-5  # nearer to a ReLU's kink, rounding may put a replica on the other side
_SEEDS = 50


def views_of(batch):
    """Two fixed views (the image and its negative), so that all replica counts see the same."""
    images = tf.cast(batch["images"], tf.float32) / 255.0
    return tf.concat([images, 1.0 - 0.9 * images], axis=0)


def build(model):
    """A compiled SimCLR of a small ResNet with no branch hidden, by plain SGD; always the same.

    Args:
        model: config.Model.
    """
    keras.utils.set_random_seed(0)
    encoder = build_encoder(model, SIZE)
    head = build_head(model)
    probe = LinearClassifier(CLASSES)
    h = encoder(tf.zeros([1, SIZE, SIZE, 3]))
    head(h), probe(h)
    for variable in encoder.trainable_variables:
        if not float(tf.reduce_max(tf.abs(variable))):  # zero-gamma would hide the branches
            variable.assign(tf.ones_like(variable) * 0.5)
    simclr = SimCLR(encoder, head, NTXent(TEMPERATURE), views_of, probe, loss_factor=1.0)
    simclr.compile(optimizer=keras.optimizers.SGD(RATE))
    return simclr


def batch_of(rows, seed=0):
    """{"images": uint8 [rows, s, s, 3], "label": int32 [rows]}, always the same of a seed."""
    generator = np.random.default_rng(seed)
    return {
        "images": generator.integers(0, 256, (rows, SIZE, SIZE, 3), dtype=np.uint8),
        "label": generator.integers(0, CLASSES, rows).astype(np.int32),
    }


def plain_gradients(simclr, batch):
    """Equation 1 of the paper in float64 and autodiff, sharing no loss code with simclr_tf.

    Returns:
        loss as float, and the gradients of the encoder's trainable variables.
    """
    rows = len(batch["images"])
    with tf.GradientTape() as tape:
        z = simclr.head(simclr.encoder(views_of(batch), training=True), training=True)
        z = tf.cast(z, tf.float64)
        z = z / tf.sqrt(tf.reduce_sum(z**2, axis=1, keepdims=True))
        e = tf.exp(z @ tf.transpose(z) / TEMPERATURE)
        e = e * (1 - tf.eye(2 * rows, dtype=tf.float64))
        positive = tf.concat([tf.linalg.diag_part(e, k=rows)] * 2, axis=0)
        loss = -tf.reduce_mean(tf.math.log(positive / tf.reduce_sum(e, axis=1)))
    return float(loss), tape.gradient(loss, simclr.encoder.trainable_variables)


def distance_to_kink(simclr, batch):
    """Smallest |input| of any ReLU."""
    nearest = []
    relu = tf.nn.relu

    def recording(x, *args, **kwargs):
        nearest.append(float(tf.reduce_min(tf.abs(x))))
        return relu(x, *args, **kwargs)

    tf.nn.relu = recording
    try:
        simclr.head(simclr.encoder(views_of(batch), training=True), training=True)
    finally:
        tf.nn.relu = relu
    if len(nearest) < 10:
        raise RuntimeError(f"only {len(nearest)} ReLUs were seen, of the 10 and more there are")
    return min(nearest)


def flat(arrays):
    """All values of arrays or variables in one float64 vector."""
    return np.concatenate([np.float64(array).ravel() for array in arrays])


def relative(got, want):
    """The distance of two vectors by the length of the second."""
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@contextlib.contextmanager
def full_float32():
    """Without TensorFloat-32, which some GPUs use for float32 by default."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def replica_errors(strategy):
    """How far a step of `SimCLR.train_step` on all replicas is from the reference on one device.

    Args:
        strategy: tf.distribute.Strategy.
    Returns:
        {"loss", "gradient"}: relative errors; the gradient is read from the moved weights.
    """
    replicas = strategy.num_replicas_in_sync
    rows = replicas * max(1, 8 // replicas)
    with full_float32():
        reference = build(MODEL)
        batches = (batch_of(rows, seed) for seed in range(_SEEDS))
        batch = next(one for one in batches if distance_to_kink(reference, one) > _KINK)
        start = flat(reference.encoder.trainable_variables)
        loss, gradients = plain_gradients(reference, batch)
        with strategy.scope():
            simclr = build(MODEL)
        run_step(strategy, simclr, batch)
        moved = (start - flat(simclr.encoder.trainable_variables)) / RATE
        got = float(simclr.running["loss"].result())
    return {"loss": abs(got - loss) / loss, "gradient": relative(moved, flat(gradients))}


def run_step(strategy, simclr, batch):
    """One train step on a global batch, split over the replicas."""
    rows = len(batch["label"])
    dataset = tf.data.Dataset.from_tensors(batch).unbatch().batch(rows, drop_remainder=True)
    iterator = iter(strategy.experimental_distribute_dataset(dataset))
    run = lambda it: strategy.run(simclr.train_step, args=(next(it),))  # noqa: E731
    tf.function(run, autograph=False)(iterator)
