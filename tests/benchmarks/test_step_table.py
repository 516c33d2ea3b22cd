"""The table of a step: its cases are trainings of today, and its floor counts every product."""

import pytest

from benchmarks import step_table
from simclr_tf.stack import tf

pytestmark = pytest.mark.one_stack


@pytest.mark.parametrize("title", step_table.CASES)
def test_every_case_is_a_pretraining_that_its_title_describes(title):
    case = {**step_table.CASES[title], "precision": "mixed_bfloat16"}
    config = step_table.settings_of_case(case)
    assert f"{config.data.image_size} px, batch {config.training.train_batch_size}" in title
    assert config.run.precision == "mixed_bfloat16"


def test_the_floor_counts_forward_and_both_gradients():
    images = tf.ones([2, 6, 6, 3])
    kernel = tf.Variable(tf.ones([3, 3, 3, 5]))
    other = tf.Variable(tf.ones([5, 7]))

    def step():
        with tf.GradientTape() as tape:
            tape.watch(images)
            y = tf.nn.conv2d(images, kernel, 2, "SAME")  # [2, 3, 3, 5]
            loss = tf.reduce_sum(tf.matmul(tf.reduce_mean(y, [1, 2]), other))
        return tape.gradient(loss, [images, kernel, other])

    graph = tf.function(step, autograph=False).get_concrete_function().graph
    convolution = 2 * (2 * 3 * 3 * 5) * (3 * 3 * 3)
    product = 2 * 2 * 5 * 7
    assert step_table.matrix_flop(graph) == 3 * convolution + 3 * product


def test_an_operation_belongs_to_one_row():
    row = step_table.row_of
    layer = "resnet/block_group1/block0/conv1"
    assert row(f"{layer}/Convolution:_MklNativeConv2D") == "convolutions, forward"
    backward = f"gradient_tape/{layer}/Convolution/Conv2DBackpropFilter:Conv2DBackpropFilter"
    assert row(backward) == "convolutions, gradient of the kernel"
    assert row(f"{layer}_norm/norm/FusedBatchNormV3:X") == "BatchNormalization, forward"
    assert row(f"gradient_tape/{layer}_norm/ReluGrad:ReluGrad") == "ReLU, sums, pooling"
    assert row("NTXent/Exp_2:Exp") == "loss"
    assert row("stack:Pack") == step_table.REST
