"""Gradient caching: the two-pass step against one tape over the same micro-batches."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.head import ProjectionHead
from simclr_tf.models.resnet import ResNet
from simclr_tf.models.simclr import SimCLR
from simclr_tf.stack import keras, tf
from simclr_tf.training import gradient_cache

PARTS = 4
ROWS = 4
SIZE = 8
Z_DIM = 8
BATCH = PARTS * ROWS
FORMS = [  # jit_compile, separate
    (False, False),
    pytest.param(True, False, marks=pytest.mark.slow),
    pytest.param(True, True, marks=pytest.mark.slow),
]
RATE = 2.0**16  # so large that rounding the updated weights does not hide the gradient


def views_of(batch):
    images = tf.cast(batch["images"], tf.float32) / 255.0
    second = 1.0 - 0.9 * images
    if "view" in batch:
        return tf.where(batch["view"][:, None, None, None] == 1, second, images)
    return tf.concat([images, second], axis=0)


def batch_of(rows=BATCH):
    generator = np.random.default_rng(3)
    return {
        "images": tf.constant(generator.integers(0, 256, (rows, SIZE, SIZE, 3), dtype=np.uint8)),
        "label": tf.constant(generator.integers(0, 5, rows).astype(np.int32)),
    }


class PlainEncoder(keras.Model):
    """An encoder without BatchNormalization and without kinks."""

    feature_dim = 12

    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(12, 3, activation="tanh")

    def call(self, images, training=None):
        return tf.reduce_mean(self.conv(images), axis=[1, 2])


class SmoothEncoder(keras.Model):
    """Two convolutions with our BatchNormalization between; tanh has no kink to fall off."""

    feature_dim = 12

    def __init__(self):
        super().__init__()
        from simclr_tf.models.normalization import BatchNormalization

        self.first, self.second = (keras.layers.Conv2D(12, 3, use_bias=False) for _ in range(2))
        self.norm = BatchNormalization(momentum=0.9)

    def call(self, images, training=None):
        h = tf.tanh(self.norm(self.first(images), training=training))
        return tf.reduce_mean(tf.tanh(self.second(h)), axis=[1, 2])


def build(encoder, head_mode="nonlinear", probe=True):
    keras.utils.set_random_seed(4)
    encoder = encoder()
    head = ProjectionHead(head_mode, 2, Z_DIM)
    probe = LinearClassifier(5) if probe else None
    model = SimCLR(encoder, head, NTXent(0.2), views_of, probe)
    h = encoder(tf.zeros([1, SIZE, SIZE, 3]))
    head(h)
    if probe is not None:
        probe(h)
    model.compile(optimizer=keras.optimizers.SGD(RATE))
    return model


def weights(model):
    return np.concatenate([v.numpy().ravel() for v in model.trainable_variables])


def cached_step(model, parts=PARTS, z_dim=Z_DIM, jit_compile=False, separate=False):
    cache = gradient_cache.GradientCache(
        model,
        tf.distribute.get_strategy(),
        micro_batches=parts,
        num_views=2,
        rows=BATCH // parts,
        z_dim=z_dim,
        jit_compile=jit_compile,
        separate_views=separate,
    )
    tf.function(cache.run)(batch_of())
    return model


def relative(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


@pytest.mark.parametrize("jit_compile, separate", FORMS)
def test_without_batch_norm_it_is_the_direct_gradient(jit_compile, separate):
    direct = build(PlainEncoder, "none")
    start = weights(direct)
    direct.train_step(batch_of())
    cached = build(PlainEncoder, "none")
    cached_step(cached, z_dim=12, jit_compile=jit_compile, separate=separate)
    assert relative(weights(cached) - start, weights(direct) - start) <= 1e-5
    assert direct.running.keys() == cached.running.keys()
    for want, got in zip(direct.metrics, cached.metrics):
        assert float(got.result()) == pytest.approx(float(want.result()), rel=2e-4, abs=1e-6), got.name  # fmt: skip


def ghost_reference(model, separate=False):
    """One tape over all micro-batches, each with its own statistics; the moving averages it gives.

    With `separate`, a micro-batch has the second views of the images of the next one.

    Returns the gradients and {norm: (mean of means, mean of variances)}.
    """
    norms = gradient_cache.batch_norms(model.encoder, model.head)
    batch = batch_of()
    seen = {id(norm): [] for norm in norms}
    with tf.GradientTape() as tape:
        found = []
        probe_loss = 0.0
        for a in range(PARTS):
            own = np.arange(a * ROWS, (a + 1) * ROWS)
            other = (own + ROWS) % BATCH if separate else own
            rows = np.concatenate([own, other])
            views = tf.gather(views_of(batch), np.concatenate([own, BATCH + other]))
            for norm in norms:
                norm.moving_mean.assign(tf.zeros_like(norm.moving_mean))
                norm.moving_variance.assign(tf.zeros_like(norm.moving_variance))
                norm.momentum = 0.0  # so that the averages hold this micro-batch's statistics
            h = model.encoder(views, training=True)
            z = tf.reshape(model.head(h, training=True), [2, ROWS, -1])
            found.append((z[0], z[1]))
            probe_loss += model.probe_loss(h, tf.gather(batch["label"], rows)) / PARTS
            for norm in norms:
                pair = norm.moving_mean.numpy(), norm.moving_variance.numpy()
                seen[id(norm)].append(pair)
        first, second = (tf.concat(z, axis=0) for z in zip(*found))
        z = tf.concat([first, tf.roll(second, ROWS if separate else 0, axis=0)], axis=0)
        loss = model.loss_factor * model.contrastive_loss(z) + probe_loss
    gradients = tape.gradient(loss, model.trainable_variables)
    means = [np.mean(seen[id(norm)], axis=0) for norm in norms]
    return np.concatenate([g.numpy().ravel() for g in gradients]), means


@pytest.mark.parametrize("jit_compile, separate", FORMS)
def test_with_batch_norm_it_is_the_ghost_gradient(jit_compile, separate):
    want, means = ghost_reference(build(SmoothEncoder), separate)
    cached = build(SmoothEncoder)
    start = weights(cached)
    norms = gradient_cache.batch_norms(cached.encoder, cached.head)
    assert len(norms) == 3
    before = [(n.moving_mean.numpy(), n.moving_variance.numpy()) for n in norms]
    cached_step(cached, jit_compile=jit_compile, separate=separate)
    assert relative((start - weights(cached)) / RATE, want) <= 1e-5
    for norm, old, mean in zip(norms, before, means):
        assert norm.momentum == 0.9
        np.testing.assert_allclose(norm.moving_mean, 0.9 * old[0] + 0.1 * mean[0], rtol=1e-4, atol=1e-6)  # fmt: skip
        np.testing.assert_allclose(norm.moving_variance, 0.9 * old[1] + 0.1 * mean[1], rtol=1e-4, atol=1e-6)  # fmt: skip


def test_one_micro_batch_is_the_plain_step():
    plain = build(SmoothEncoder)
    start = weights(build(SmoothEncoder))
    plain.train_step(batch_of())
    cached = cached_step(build(SmoothEncoder), parts=1)
    assert relative(weights(cached) - start, weights(plain) - start) <= 1e-5


def test_a_second_step_starts_from_empty_buffers():
    model = build(PlainEncoder, "none", probe=False)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    cache = gradient_cache.GradientCache(
        model, tf.distribute.get_strategy(), micro_batches=4, num_views=2, rows=4, z_dim=12
    )
    step = tf.function(cache.run)
    step(batch_of()), step(batch_of())
    assert all(not np.any(total.numpy()) for total in cache.gradients)


@pytest.mark.parametrize("decay, count", [(0.9, 1), (0.9, 4), (0.0, 3), (1.0, 3), (0.997, 64)])
def test_equal_weight_decays_are_one_update_by_the_mean(decay, count):
    values = np.random.default_rng(0).normal(size=count)
    average = 5.0
    for i, value in enumerate(values):
        a = float(gradient_cache.equal_weight_decay(decay, tf.constant(i), count))
        average = a * average + (1 - a) * value
    assert average == pytest.approx(decay * 5.0 + (1 - decay) * values.mean(), rel=1e-5, abs=1e-5)


def test_small_groups_of_batch_norm_are_named():
    def warning(model, **settings):
        return gradient_cache.small_norm_warning(model, config.Training(**settings))

    norms = build(lambda: ResNet(18, 0.0625, stem="small"))
    found = warning(norms, train_batch_size=16)
    assert "23 BatchNormalization layers see only 32 views" in found
    assert warning(norms, train_batch_size=256) is None
    separate = {"cached_batch_size": 64, "cached_separate_views": True}
    assert warning(norms, train_batch_size=16, **separate) is None
    assert warning(build(PlainEncoder, "none"), train_batch_size=16) is None
    groups = build(lambda: ResNet(18, 0.0625, stem="small", norm="group"), "none")
    assert warning(groups, train_batch_size=16) is None


def test_separate_views_need_two_micro_batches():
    with pytest.raises(SettingsError, match="--cached_batch_size=32 or more"):
        settings = {"cached_batch_size": 16, "cached_separate_views": True}
        config.Training(train_batch_size=16, **settings).check()


def test_two_replicas_give_the_same_gradient(two_replicas):
    direct = build(PlainEncoder, "none")
    start = weights(direct)
    direct.train_step(batch_of())
    with two_replicas.scope():
        model = build(PlainEncoder, "none")
    cache = gradient_cache.GradientCache(
        model, two_replicas, micro_batches=PARTS, num_views=2, rows=ROWS // 2, z_dim=12
    )
    dataset = tf.data.Dataset.from_tensors(batch_of())
    iterator = iter(two_replicas.experimental_distribute_dataset(dataset))
    tf.function(lambda it: cache.run(next(it)), autograph=False)(iterator)
    assert relative(weights(model) - start, weights(direct) - start) <= 1e-5
