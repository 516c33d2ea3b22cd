"""Whole optimizer steps against float64: objective, weight decay and update as in the official code.

The reference shares no code with simclr_tf beyond the initial weights. Its rules: the loss is the
sum over both directions of the mean cross entropy, plus the mean cross entropy of the probe on h
behind a stop-gradient, plus the decay of weights that the optimizer does not decay itself. Under
lars those are the probe's kernel only, and the optimizer decays and adapts kernels; under
momentum they are all variables outside BatchNormalization.
"""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.stack import tf
from simclr_tf.training import length, pretraining
from tests.replicas import split_rows

ROWS = 8
SIZE = 8
CLASSES = 3
TEMPERATURE = 0.5
RATE = 0.2
DECAY = 0.05
TRUST = 0.05  # larger than usual, so that float32 resolves the updates
MOMENTUM = 0.9
STEPS = 2


def settings(optimizer, probe):
    return config.build(
        config.Pretrain,
        dict(
            image_size=SIZE, resnet_depth=10, width_multiplier=0.0625, proj_out_dim=5,
            temperature=TEMPERATURE, optimizer=optimizer, learning_rate=RATE,
            learning_rate_scaling="none", warmup_epochs=0.0, weight_decay=DECAY,
            trust_coefficient=TRUST, momentum=MOMENTUM, train_batch_size=ROWS,
            lineareval_while_pretraining=probe, effective_rank_steps=0,
        ),
    )  # fmt: skip


def images_and_labels():
    rng = np.random.default_rng(5)
    first, second = rng.random([2, ROWS, SIZE, SIZE, 3], dtype="float32")
    return first, second, rng.integers(0, CLASSES, ROWS).astype("int32")


def steps_of_ours(strategy, optimizer, probe):
    """(variables in order, their values before and after every step) of simclr_tf."""
    wanted = settings(optimizer, probe)
    steps = length.Steps(10**6, 0, 1, 1, 1, RATE)  # so long that the rate stays at its peak
    with strategy.scope():
        model = pretraining.build_model(wanted, CLASSES, steps)
    model.make_views = lambda batch: tf.concat([batch["first"], batch["second"]], axis=0)
    names = ("first", "second", "label")
    batch = {n: split_rows(strategy, value) for n, value in zip(names, images_and_labels())}
    step = tf.function(lambda batch: strategy.run(model.train_step, [batch]), autograph=False)
    variables = model.trainable_variables
    values = [[v.numpy() for v in variables]]
    for _ in range(STEPS):
        step(batch)
        values.append([v.numpy() for v in variables])
    return model, values


class Reference:
    """The same training in float64."""

    def __init__(self, model, start, optimizer):
        self.model = model
        self.optimizer = optimizer
        self.values = [tf.Variable(np.float64(value)) for value in start]
        self.of = {id(v): w for v, w in zip(model.trainable_variables, self.values)}
        self.buffers = [np.zeros(value.shape) for value in start]

    def get(self, variable):
        return self.of[id(variable)]

    def normalize(self, norm, x, relu):
        axes = list(range(x.shape.rank - 1))
        mean = tf.reduce_mean(x, axes)
        variance = tf.reduce_mean((x - mean) ** 2, axes)
        x = (x - mean) / tf.sqrt(variance + 1e-5) * self.get(norm.gamma)
        x = x if norm.beta is None else x + self.get(norm.beta)
        return tf.nn.relu(x) if relu else x

    def convolve(self, layer, x):
        strides = layer.strides[0]
        size = layer.kernel_size[0] - 1
        if strides == 1:
            return tf.nn.conv2d(x, self.get(layer.kernel), 1, "SAME")
        x = tf.pad(x, [[0, 0], *[[size // 2, size - size // 2]] * 2, [0, 0]])
        return tf.nn.conv2d(x, self.get(layer.kernel), strides, "VALID")

    def encode(self, x):
        stem = self.model.encoder.stem
        x = self.normalize(stem.norm.norm, self.convolve(stem.layers[0], x), relu=True)
        for group in self.model.encoder.groups:
            (block,) = group.blocks
            first, first_norm, second, second_norm = block.branch
            shortcut = self.convolve(block.shortcut.convolution, x)
            shortcut = self.normalize(block.shortcut.norm.norm, shortcut, relu=False)
            x = self.normalize(first_norm.norm, self.convolve(first, x), relu=True)
            x = self.normalize(second_norm.norm, self.convolve(second, x), relu=False)
            x = tf.nn.relu(x + shortcut)
        return tf.reduce_mean(x, [1, 2])

    def project(self, h):
        head = self.model.head
        one = self.normalize(head.norms[0], h @ self.get(head.dense[0].kernel), relu=True)
        return self.normalize(head.norms[1], one @ self.get(head.dense[1].kernel), relu=False)

    def objective(self):
        """(objective, equation 1)."""
        first, second, label = images_and_labels()
        h = self.encode(tf.constant(np.float64(np.concatenate([first, second]))))
        z = self.project(h)
        z = z / tf.sqrt(tf.reduce_sum(z**2, axis=1, keepdims=True))
        a, b = z[:ROWS], z[ROWS:]
        directions = []
        for query, key in ((a, b), (b, a)):
            others = tf.exp(query @ tf.transpose(query) / TEMPERATURE)
            others *= 1 - tf.eye(ROWS, dtype=tf.float64)
            pairs = tf.exp(query @ tf.transpose(key) / TEMPERATURE)
            sums = tf.reduce_sum(others, 1) + tf.reduce_sum(pairs, 1)
            directions.append(-tf.reduce_mean(tf.math.log(tf.linalg.diag_part(pairs) / sums)))
        total = tf.add_n(directions)
        if self.model.probe is not None:
            dense = self.model.probe.dense
            logits = tf.stop_gradient(h) @ self.get(dense.kernel) + self.get(dense.bias)
            right = tf.one_hot(np.tile(label, 2), CLASSES, dtype=tf.float64)
            total -= tf.reduce_mean(tf.reduce_sum(right * tf.nn.log_softmax(logits), 1))
        decayed = [v for v in self.model.trainable_variables if self.is_in_the_loss(v)]
        total += DECAY * sum(tf.reduce_sum(self.get(v) ** 2) / 2 for v in decayed)
        return total, tf.add_n(directions) / 2

    def is_norm(self, variable):
        return variable.name.split("/")[-1].split(":")[0] in ("gamma", "beta")

    def is_of_probe(self, variable):
        probe = self.model.probe
        return probe is not None and any(variable is v for v in probe.trainable_variables)

    def is_in_the_loss(self, variable):
        if self.optimizer == "momentum":
            return not self.is_norm(variable)
        return self.is_of_probe(variable) and variable.shape.rank == 2

    def step(self):
        """One update of every variable; returns equation 1 before it."""
        with tf.GradientTape() as tape:
            objective, loss = self.objective()
        gradients = tape.gradient(objective, self.values)
        for i, variable in enumerate(self.model.trainable_variables):
            w = self.values[i].numpy()
            g = gradients[i].numpy()
            if self.optimizer == "momentum":
                self.buffers[i] = MOMENTUM * self.buffers[i] - RATE * g
                self.values[i].assign(w + MOMENTUM * self.buffers[i] - RATE * g)
                continue
            ratio = 1.0
            if not (self.is_norm(variable) or self.is_of_probe(variable)):
                g = g + DECAY * w
                ratio = TRUST * np.linalg.norm(w) / np.linalg.norm(g)
            self.buffers[i] = MOMENTUM * self.buffers[i] + RATE * ratio * g
            self.values[i].assign(w - self.buffers[i])
        return float(loss)


@pytest.mark.parametrize("probe", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "optimizer", ["lars", pytest.param("momentum", marks=[pytest.mark.slow, pytest.mark.one_stack])]
)
def test_every_variable_takes_the_official_step(two_replicas, optimizer, probe):
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        model, values = steps_of_ours(strategy, optimizer, probe)
        assert (model.probe is not None) == probe
        reference = Reference(model, values[0], optimizer)
        losses = [reference.step() for _ in range(STEPS)]
        for variable, start, end, want in zip(
            model.trainable_variables, values[0], values[-1], reference.values
        ):
            want = want.numpy() - start
            assert np.linalg.norm(want) > 1e-5, variable.name
            error = np.linalg.norm(end - start - want) / np.linalg.norm(want)
            assert error < 2e-4, (variable.name, error)
        # the logged loss is equation 1, a mean over the views, whatever is minimised
        assert float(model.running["loss"].result()) == pytest.approx(np.mean(losses), rel=1e-5)
