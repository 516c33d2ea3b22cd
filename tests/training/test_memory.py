"""What a training held in memory is given back when it ends, in the same process."""

import gc
import os
import weakref

import pytest

from simclr_tf import config, stack
from simclr_tf.commands import pretrain
from simclr_tf.data import sources
from simclr_tf.data.batches import mapped_batches
from simclr_tf.data.decoding import decode
from simclr_tf.stack import tf
from tests.conftest import mirrored
from tests.tiny_run import images_in_folders

SETTINGS = {
    "strategy": "default",
    "encoder": "tests.tiny_encoder:encoder",
    "image_size": 16,
    "proj_out_dim": 8,
    "train_batch_size": 16,
    "train_steps": 1,
    "warmup_epochs": 0.0,
}
MEBIBYTES = 60  # per training; up to 34 were measured, of compiler and allocator; before, 70 to 150


def objects():
    """{kind: how many are alive} of what a traced train step consists of."""
    gc.collect()
    alive = gc.get_objects()
    kinds = {"graphs": tf.Graph, "operations": tf.Operation, "variables": tf.Variable}
    return {name: sum(isinstance(one, kind) for one in alive) for name, kind in kinds.items()}


def resident():
    """MiB of this process that are in main memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def train(folder, number, **changes):
    changes["model_dir"] = str(folder / str(number))
    pretrain.run(config.build(config.Pretrain, {**SETTINGS, **changes}))


@pytest.mark.parametrize(
    "strategy, times",
    [
        pytest.param(
            "default", 2, marks=[pytest.mark.slow, pytest.mark.one_stack]
        ),  # the other one trains ten times
        pytest.param("default", 10, marks=[pytest.mark.slow, pytest.mark.current_stack]),
        pytest.param("mirrored", 2, marks=[pytest.mark.slow, pytest.mark.one_stack]),
    ],
)
def test_trainings_one_after_the_other_leave_no_graph_behind(tmp_path, strategy, times):
    for number in range(2):  # what is traced and compiled once, and stays
        train(tmp_path, number, strategy=strategy)
    before = objects()
    memory = resident()
    for number in range(2, 2 + times):
        train(tmp_path, number, strategy=strategy)
    after = objects()
    kept = {name: after[name] - before[name] for name in before}
    assert max(kept.values()) <= 0, f"{times} trainings left {kept} behind"
    assert resident() - memory < MEBIBYTES * (times + 2)


def test_a_custom_gradient_goes_with_its_graph():
    @stack.custom_gradient
    def doubled(x):
        return 2.0 * x, lambda upstream: 3.0 * upstream  # not the true one, to be recognised

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(doubled(x) ** 2)
        return tape.gradient(y, x)

    def by_name(x):
        return tf.gradients(tf.reduce_sum(doubled(x) ** 2), x)[0]

    x = tf.constant([1.0, 2.0])
    want = [12.0, 24.0]
    registered = stack._registered_gradients()
    gc.collect()
    before = len(registered)
    assert gradient(x).numpy().tolist() == want
    for function in (gradient, by_name):
        step = tf.function(function, autograph=False)
        assert step(x).numpy().tolist() == want
        assert len(registered) == before + 1
        del step
        gc.collect()
        assert len(registered) == before


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.one_stack)])
def test_images_live_as_long_as_their_pipeline(tmp_path, replicas):
    images_in_folders(tmp_path, {"": 8})
    (tmp_path / "bad.png").write_bytes(b"no picture")  # reported by Python, from the pipeline
    source = sources.open_whole(config.Data(image_dir=str(tmp_path)), "train")

    def number(example):
        return {"id": example["id"], "size": tf.shape(decode(example["image"]))}

    batches = mapped_batches(source, number, 4)
    if replicas > 1:
        batches = mirrored(replicas).experimental_distribute_dataset(batches)
    iterator = iter(batches)
    quarantine = source.quarantine
    gone = weakref.ref(source)
    del source, batches, number
    for _ in iterator:  # to the end: TensorFlow cannot drop an iterator that waits for Python
        gc.collect()
        assert gone() is not None
    assert [os.path.basename(name) for name in quarantine.reasons] == ["bad.png"]
    del iterator
    gc.collect()
    assert gone() is None
