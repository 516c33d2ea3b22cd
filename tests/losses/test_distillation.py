"""The loss of distillation against equations 2 and 3 of arXiv:2006.10029 in float64."""

import numpy as np
import pytest

from simclr_tf.losses import distillation
from simclr_tf.stack import tf

RNG = np.random.default_rng(3)
TEACHER = 3.0 * RNG.standard_normal([6, 5])
STUDENT = 2.0 * RNG.standard_normal([6, 5])
LABELS = np.array([4, -1, 0, -1, -1, 2])


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def equation_2(teacher, student, temperature):
    """- sum over y of P_teacher(y) log P_student(y), of each image."""
    of_teacher = np.exp(log_softmax(teacher / temperature))
    return -(of_teacher * log_softmax(student / temperature)).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_the_loss_is_equation_2_times_the_squared_temperature(temperature):
    found = distillation.distillation_losses(TEACHER, STUDENT, temperature)
    want = temperature**2 * equation_2(TEACHER, STUDENT, temperature)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, want, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_gradient_is_temperature_times_the_difference_of_the_softmaxes(temperature):
    teacher = tf.Variable(TEACHER, dtype=tf.float32)
    student = tf.Variable(STUDENT, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(distillation.distillation_losses(teacher, student, temperature))
    of_teacher, of_student = tape.gradient(loss, [teacher, student])
    softmaxes = [np.exp(log_softmax(one / temperature)) for one in (STUDENT, TEACHER)]
    np.testing.assert_allclose(of_student, temperature * (softmaxes[0] - softmaxes[1]), atol=1e-5)
    assert of_teacher is None


def test_half_precision_logits_give_a_float32_loss():
    half = [tf.cast(one, tf.bfloat16) for one in (TEACHER, STUDENT)]
    found = distillation.distillation_losses(*half, 1.0)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, equation_2(*(one.numpy() for one in half), 1.0), rtol=2e-2)


def test_labels_and_teacher_are_mixed_as_in_equation_3():
    """(1 - alpha) times the labelled images' mean, alpha times the mean of all."""
    of_teacher = distillation.distillation_losses(TEACHER, STUDENT, 2.0)
    of_labels = distillation.label_losses(LABELS, STUDENT)
    found = distillation.mixed_loss(of_teacher, of_labels, 0.3, label_share=3 / 6)
    known = LABELS >= 0
    cross_entropy = -log_softmax(STUDENT)[known, LABELS[known]].mean()
    want = 0.7 * 4.0 * equation_2(TEACHER, STUDENT, 2.0).mean() + 0.3 * cross_entropy
    assert float(found) == pytest.approx(want, rel=1e-5)


def mixed(rows):
    of_teacher = distillation.distillation_losses(TEACHER[rows], STUDENT[rows], 1.0)
    of_labels = distillation.label_losses(LABELS[rows], STUDENT[rows])
    return float(distillation.mixed_loss(of_teacher, of_labels, 0.5, label_share=0.5))


def test_the_mean_over_batches_is_that_of_the_whole_data_set():
    """Also where a batch holds no labelled image, as the second of these."""
    batches = [[0, 1], [3, 4], [2, 5]]
    assert np.mean([mixed(rows) for rows in batches]) == pytest.approx(mixed(range(6)), rel=1e-5)
