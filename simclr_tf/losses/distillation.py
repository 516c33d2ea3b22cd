"""The loss of distillation: a student learns the outputs of a teacher (arXiv:2006.10029, sec. 2)."""

from simclr_tf.stack import tf


def distillation_losses(
    teacher_logits: tf.Tensor, student_logits: tf.Tensor, temperature: float
) -> tf.Tensor:
    """Cross entropy of each image between the softmax of the teacher and that of the student.

    This is equation 2 of arXiv:2006.10029 times the square of the temperature: the gradient of the
    logits shrinks with its inverse square, so labels keep their weight at any temperature
    (arXiv:1503.02531, section 2).

    Args:
        teacher_logits: float [b, c]. They get no gradient.
        student_logits: float [b, c].
        temperature: divides both, above 0.
    Returns:
        float32 [b].
    """
    targets = tf.nn.softmax(tf.cast(tf.stop_gradient(teacher_logits), tf.float32) / temperature)
    logits = tf.cast(student_logits, tf.float32) / temperature
    losses = tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    return temperature**2 * losses


def label_losses(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross entropy of each image that has a label, 0 for the others.

    Args:
        labels: int [b]; below 0 for images without a label.
        logits: float [b, c].
    Returns:
        float32 [b].
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.maximum(labels, 0), logits=tf.cast(logits, tf.float32)
    )
    return tf.where(labels >= 0, losses, tf.zeros_like(losses))


def mixed_loss(
    teacher_losses: tf.Tensor, labelled_losses: tf.Tensor, label_weight: float, label_share: float
) -> tf.Tensor:
    """Equation 3 of arXiv:2006.10029, both sums as means over their images.

    A batch holds few labelled images, at times none. Dividing by the number that is expected, not
    by the number that is there, makes the mean over all batches that of the whole data set.

    Args:
        teacher_losses: float32 [b], of `distillation_losses`.
        labelled_losses: float32 [b], of `label_losses`.
        label_weight: 1 - alpha of the paper, from 0 to 1.
        label_share: share of the images that have a label, above 0.
    Returns:
        float32 [].
    """
    of_teacher = tf.reduce_mean(teacher_losses)
    of_labels = tf.reduce_mean(labelled_losses) / label_share
    return (1.0 - label_weight) * of_teacher + label_weight * of_labels
