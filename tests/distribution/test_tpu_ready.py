"""Steps as a TPU would get them: no host operation, static shapes, whole under XLA."""

import contextlib

import numpy as np
import pytest

from simclr_tf import config, stack
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.linear import LinearClassifiers, LinearTrainer
from simclr_tf.runs import restore
from simclr_tf.stack import keras, tf
from simclr_tf.training import length, pretraining, supervised_model
from simclr_tf.views.device import make_views
from tests.graph_walk import function_graphs, hlo_of, of_step, troubles

ROWS = 8
SIDE = 16
CLASSES = 5
SMALL = {
    "image_size": SIDE,
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "proj_out_dim": 8,
    "train_batch_size": ROWS,
    "train_steps": 4,
    "warmup_epochs": 0.0,
}
STEPS = length.Steps(total=4, warmup=0, per_epoch=4, checkpoint=4, log=4, peak_learning_rate=0.1)


@pytest.fixture(autouse=True, scope="module")
def accelerator():
    """The forms of views, products and loss that are chosen where there is a TPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "accelerated", lambda: True)
        yield


@contextlib.contextmanager
def policy(name):
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy("float32")


def batch_of(images):
    """A batch dict of constants."""
    rows = np.arange(ROWS)
    return {
        "images": tf.constant(images),
        "label": tf.constant(rows % CLASSES, tf.int32),
        "id": tf.constant(rows, tf.int64),
        "epoch": tf.zeros([ROWS], tf.int32),
    }


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


WHOLE = batch_of(pixels(ROWS, 20, 24, 3))
CROPS = batch_of(pixels(ROWS, 2, SIDE, SIDE, 3))


def simclr(**changes):
    settings = config.build(config.Pretrain, {**SMALL, "use_tpu": True, **changes})
    with policy(settings.run.precision):
        return pretraining.build_model(settings, CLASSES, STEPS)


def pretraining_step():
    return simclr().train_step, WHOLE


def pretraining_step_in_bfloat16():
    """Of crops, by another optimizer and loss."""
    model = simclr(precision="mixed_bfloat16", optimizer="adamw", loss="nt_logistic")
    return model.train_step, CROPS


def fine_tuning_step():
    settings = config.build(config.Finetune, {**SMALL, "use_tpu": True, "init": "scratch"})
    pretraining = config.build(config.Pretrain, SMALL)
    encoder, head, _ = restore.build_parts(pretraining, 0)
    model = supervised_model.build_model(settings, encoder, head, CLASSES, STEPS)
    return model.train_step, WHOLE


def evaluation_step():
    """Training of the linear classifier on frozen features."""
    encoder, _, _ = restore.build_parts(config.build(config.Pretrain, SMALL), 0)
    classifiers = LinearClassifiers({"simclr": encoder.feature_dim}, CLASSES)
    view = make_views(config.Views(color_jitter_strength=0.0, use_blur=False), SIDE, 0, 1)
    functions = {"simclr": lambda images: encoder(images, training=False)}
    return LinearTrainer(classifiers, functions, view, 0.1).train_step, WHOLE


def embedding_step():
    """h and z of a batch, as embed, k-NN and linear evaluation compute them."""
    encoder, head, _ = restore.build_parts(config.build(config.Pretrain, SMALL), 0)

    def spaces(images, training):
        h = encoder(images, training=training)
        return {"h": h, "z": head(h, training=training)}

    extractor = Extractor(spaces, ROWS)
    return extractor._run.python_function, tf.random.stateless_uniform([ROWS, SIDE, SIDE, 3], [0, 0])  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        pretraining_step,
        pytest.param(pretraining_step_in_bfloat16, marks=pytest.mark.slow),
        pytest.param(fine_tuning_step, marks=pytest.mark.slow),
        evaluation_step,
        embedding_step,
    ],
    ids=lambda make: make.__name__,
)
def test_a_step_is_ready_for_a_tpu(make):
    step, inputs = make()
    concrete = of_step(step, tf.nest.map_structure(tf.TensorSpec.from_tensor, inputs))
    assert len(function_graphs(concrete)) >= 1
    assert troubles(concrete) == []
    compiled = tf.function(step, jit_compile=True, autograph=False)
    text = hlo_of(compiled, inputs)
    assert "ENTRY" in text and "<=" not in text.replace("direction=", "")  # bounded shapes
    results = tf.nest.flatten(compiled(inputs))
    assert results and all(np.isfinite(result).all() for result in results)


@tf.function(autograph=False)
def nested_python(x):
    return tf.numpy_function(lambda v: v, [x], tf.float32)


SPOILED = {
    "runs Python": lambda x: tf.reduce_sum(nested_python(x)),
    "works on the host only": lambda x: tf.io.decode_raw(tf.io.read_file("x"), tf.uint8),
    "draws from a generator": lambda x: x + tf.random.uniform([2]),
    "depends on values": lambda x: tf.boolean_mask(x, x > 0),
    "has the shape": lambda x: tf.cond(x[0] > 0, lambda: x[:1], lambda: x),
    "is string": lambda x: tf.strings.as_string(x),
}


@pytest.mark.parametrize("reason", SPOILED)
def test_the_walk_finds_what_a_tpu_has_not(reason):
    step = tf.function(SPOILED[reason], autograph=False)

    def looped(x):
        return tf.while_loop(lambda i: i < 2, lambda i: [_after(step(x), i)], [0])

    for body in (step, looped):
        concrete = of_step(body, tf.TensorSpec([2]))
        found = troubles(concrete)
        assert any(reason in line for line in found), found


def _after(value, count):
    with tf.control_dependencies([value]):
        return tf.identity(count + 1)
