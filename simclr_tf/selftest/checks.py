"""The checks: each a function of a `Job` that returns its outcomes."""

import contextlib
import dataclasses
import time
import typing

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.distribution.strategy import describe as describe_strategy
from simclr_tf.selftest import parity
from simclr_tf.stack import keras, tf
from simclr_tf.training import length, pretraining

# Relative errors. A TPU multiplies float32 in bfloat16 parts of 8 bits; its limit was never tried.
FLOAT32_LIMIT = {"CPU": 1e-5, "GPU": 1e-5, "TPU": 2e-2}
LOSS_LIMIT = 0.02
# of the gradient: rounding puts some values on the other side of a ReLU's kink
LOW_LIMITS = {"mixed_bfloat16": 0.4, "mixed_float16": 0.1}
# in a deeper network the few values beside a kink weigh less
PRECISION_MODEL = dataclasses.replace(parity.MODEL, resnet_depth=18)
STEP_LIMIT = 0.02  # fused operations round otherwise, also beside a kink; a wrong step: about 1

STEP = {
    "image_size": 32,
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "proj_out_dim": 16,
    "train_batch_size": 16,
    "train_steps": 3,
    "warmup_epochs": 0.0,
    "log_steps": 1,
}
"""Settings of the step that is compiled and resumed: everything on, but small."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What every check may use.

    Attributes:
        run: the settings.
        strategy: what computes.
        scratch: a folder to write to.
        pretrain: function of a config.Pretrain, such as `commands.pretrain.run`.
    """

    run: settings_of.Run
    strategy: tf.distribute.Strategy
    scratch: str
    pretrain: typing.Callable

    @property
    def kind(self):
        """CPU, GPU or TPU: what computes."""
        if isinstance(self.strategy, tf.distribute.TPUStrategy):
            return "TPU"
        return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A line of the table: what was checked, whether it passed, one figure, what it means."""

    name: str
    passed: bool
    figure: str
    meaning: str


def devices(job):
    """Every device of the strategy multiplies two matrices."""
    found = tf.config.list_logical_devices(job.kind)
    a, b = np.random.default_rng(0).normal(size=(2, 256, 256)).astype(np.float32)
    want = (np.float64(a) @ np.float64(b)).ravel()
    worst = 0.0
    with parity.full_float32():
        for device in found:
            with tf.device(device.name):
                worst = max(worst, parity.relative(np.float64(tf.matmul(a, b)).ravel(), want))
    limit = FLOAT32_LIMIT[job.kind]
    words = describe_strategy(job.strategy)
    meaning = f"{words}; relative error of a product {worst:.0e}, at most {limit:g}"
    figure = f"{len(found)} x {job.kind}"
    return [Outcome("devices", bool(found) and worst <= limit, figure, meaning)]


def replicas(job):
    """Loss and gradient of all replicas against the reference; see `parity.replica_errors`."""
    errors = parity.replica_errors(job.strategy)
    limit = FLOAT32_LIMIT[job.kind]
    count = job.strategy.num_replicas_in_sync
    words = f"relative error of {count} replica{'s' * (count > 1)} against equation 1 in float64"
    return [
        Outcome(f"replicas: {name}", error <= limit, f"{error:.1e}", f"{words}, at most {limit:g}")
        for name, error in errors.items()
    ]


def precision(job):
    """Loss and gradient in the half precisions against float32, from the same weights."""
    kinds = ["mixed_bfloat16", *(["mixed_float16"] if job.kind != "TPU" else [])]
    loss, gradient = _graded("float32")
    outcomes = []
    for kind in kinds:
        low_loss, low_gradient = _graded(kind)
        of_loss = abs(low_loss - loss) / loss
        error = parity.relative(low_gradient, gradient)
        limit = LOW_LIMITS[kind]
        meaning = (
            f"relative error of the gradient against float32, at most {limit:g} and not 0 "
            f"(loss {of_loss:.0e}, at most {LOSS_LIMIT:g})"
        )
        passed = 0 < error <= limit and of_loss <= LOSS_LIMIT
        outcomes.append(Outcome(f"precision: {kind}", passed, f"{error:.2g}", meaning))
    return outcomes


def _graded(policy):
    """(loss, gradient of the encoder as one vector) of a step in a precision."""
    with _policy(policy):
        simclr = parity.build(PRECISION_MODEL)
        batch = parity.batch_of(16)
    scale = 1024.0  # what a loss scale does: small gradients stay above what float16 can hold

    @tf.function(autograph=False)
    def graded():
        with tf.GradientTape() as tape:
            h = simclr.encoder(parity.views_of(batch), training=True)
            z = tf.cast(simclr.head(h, training=True), tf.float32)
            loss, _ = simclr.loss_of(z, tf.constant(batch["label"]))
            scaled = loss * scale
        return loss, tape.gradient(scaled, simclr.encoder.trainable_variables)

    loss, gradients = graded()
    return float(loss), parity.flat(gradients) / scale


@contextlib.contextmanager
def _policy(name):
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def xla(job):
    """The whole train step, views included, compiled by XLA against the same step without."""
    config = settings_of.build(settings_of.Pretrain, STEP)
    (plain, start, _), (compiled, _, seconds) = (_step(job, config, jit) for jit in (False, True))
    error = parity.relative(compiled - start, plain - start)
    meaning = f"to compile it; its step differs by {error:.0e}, at most {STEP_LIMIT:g}"
    passed = error <= max(STEP_LIMIT, FLOAT32_LIMIT[job.kind])
    return [Outcome("XLA: train step", passed, f"{seconds:.1f} s", meaning)]


def _step(job, config, jit_compile):
    """(weights after a step, weights before it, seconds with the compilation)."""
    rows = config.training.train_batch_size
    generator = np.random.default_rng(0)
    batch = {
        "images": tf.constant(generator.integers(0, 256, (rows, 40, 40, 3), dtype=np.uint8)),
        "label": tf.range(rows) % parity.CLASSES,
        "id": tf.range(rows, dtype=tf.int64),
        "epoch": tf.zeros([rows], tf.int32),
    }
    steps = length.resolve_steps(config.training, config.optimizer, rows)
    on_tpu = job.kind == "TPU" and jit_compile
    with job.strategy.scope() if on_tpu else contextlib.nullcontext():
        model = pretraining.build_model(config, parity.CLASSES, steps)
    start = parity.flat(model.trainable_variables)
    if on_tpu:  # compiled as a whole by the strategy
        step = tf.function(lambda one: job.strategy.run(model.train_step, args=(one,)))
    else:
        step = tf.function(model.train_step, jit_compile=jit_compile, autograph=False)
    began = time.monotonic()
    step(batch)
    moved = parity.flat(model.trainable_variables)
    return moved, start, time.monotonic() - began
