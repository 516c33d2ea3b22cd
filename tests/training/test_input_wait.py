"""The share of the time that goes into waiting for images, and what is said about it."""

import logging
import time

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.stack import tf
from simclr_tf.training import input_wait, loop


def test_waiting_is_measured_and_on_a_device_it_is_what_one_step_alone_does_not_take():
    wait = input_wait.InputWait(asynchronous=False)
    assert wait.share() is None
    wait.ran(2.0, 0.5, 4)
    wait.ran(2.0, 1.5, 4)
    assert wait.share() == pytest.approx(0.5)
    wait.forget()
    assert wait.share() is None
    wait.ran(1.0, float("nan"), 1)  # under --deterministic
    assert wait.share() is None
    device = input_wait.InputWait(asynchronous=True)
    device.ran(10.0, 9.9, 10)
    assert device.share() is None  # the host waited, which says nothing of the device
    device.ran_alone(1.5, 0.6)  # computes 0.9 s
    assert device.share() == pytest.approx(1 - 0.9 * 11 / 11.5)
    device.forget()
    device.ran(8.0, 0.0, 10)
    assert device.share() == 0.0


def test_the_advice_is_given_once_and_names_what_is_not_done_yet(caplog):
    advice = input_wait.InputAdvice(input_wait.remedies(config.Pretrain()))
    with caplog.at_level(logging.WARNING):
        for step, share in enumerate([0.9, 0.9, 0.2, None, 0.5, 0.5, 0.5, 0.9, 0.9, 0.9]):
            advice.look(step, share)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "at step 6: 50 % of the time goes into waiting for images"
    )
    assert "--resize_on=device" in record.getMessage() and "--data_service" in record.getMessage()
    views = config.Views(resize_on="device")
    training = config.Training(data_service="grpc://a:1")
    words = " ".join(input_wait.remedies(config.Pretrain(views=views, training=training)))
    assert "resize_on" not in words and "data_service" not in words and "--image_size" in words


class Model:
    """Takes 10 ms for a step."""

    def train_step(self, batch):
        def compute(x):
            time.sleep(0.01)
            return x

        tf.numpy_function(compute, [batch], tf.int64)
        return {}


@pytest.mark.parametrize("chunk", [1, 3])
def test_a_slow_input_is_told_from_a_slow_step(chunk):
    def slow(x):
        time.sleep(0.08)
        return np.int64(x)

    def shares(delayed):
        batches = tf.data.Dataset.range(10**6)
        if delayed:
            batches = batches.map(
                lambda x: tf.ensure_shape(tf.numpy_function(slow, [x], tf.int64), [])
            )
        runner = loop.StepRunner(Model(), tf.distribute.get_strategy(), batches)
        runner.take_metrics = lambda step: {}
        watch = loop._Watch(runner)
        watch.run(chunk, True)
        for _ in range(3):
            watch.run(chunk, False)
        watch.take_metrics(0)
        return watch.share

    assert shares(False) < 0.4 < shares(True)
