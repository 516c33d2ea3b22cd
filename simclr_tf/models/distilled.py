"""A student that learns the outputs of a teacher on images without labels."""

from typing import Any, Callable, Dict, Optional

from simclr_tf.losses import distillation
from simclr_tf.models.fine_tuned import FineTuned
from simclr_tf.stack import keras, tf


class Distilled(FineTuned):
    """Distillation into any encoder (arXiv:2006.10029, section 2).

    The teacher sees the same views in the same step, in inference mode and outside of the gradient
    tape. It is a plain function, so neither the checkpoints nor the optimizer know its variables.
    """

    def __init__(
        self,
        encoder: keras.Model,
        head: keras.layers.Layer,
        classifier: keras.layers.Layer,
        make_views: Callable[[Dict[str, Any]], tf.Tensor],
        teacher: Callable[[tf.Tensor], tf.Tensor],
        *,
        temperature: float = 1.0,
        label_weight: float = 0.0,
        label_share: float = 1.0,
        selector: int = 0,
        kernel_decay: float = 0.0,
        name: Optional[str] = None,
    ):
        """Puts the parts together.

        Args:
            encoder, head, classifier, make_views, selector, kernel_decay, name: of the student, as
                of FineTuned.
            teacher: function, images float [b, s, s, c] in [0, 1] -> logits float [b, classes].
            temperature: of both softmaxes.
            label_weight: weight of the labels, from 0 to 1; see `distillation.mixed_loss`.
            label_share: share of the images that have a label; the "label" of others is below 0.
        """
        super().__init__(
            encoder,
            head,
            classifier,
            make_views,
            selector=selector,
            kernel_decay=kernel_decay,
            name=name,
        )
        self._teacher = teacher
        self._temperature = temperature
        self._label_weight = label_weight
        self._label_share = label_share
        del self.running["top_1"]
        names = ["agreement", *(["label_loss"] if label_weight else [])]
        self.running.update({name: keras.metrics.Mean(name=name) for name in names})

    def targets_of(self, images, labels):
        """(teacher's logits float32 [b, classes], labels int32 [b]); see FineTuned."""
        logits = self._teacher(images)
        return tf.stop_gradient(tf.cast(logits, tf.float32)), labels

    def mean_loss(self, logits, targets):
        """See FineTuned."""
        teacher_logits, labels = targets
        losses = distillation.distillation_losses(teacher_logits, logits, self._temperature)
        if not self._label_weight:
            return tf.reduce_mean(losses)
        labelled = distillation.label_losses(labels, logits)
        return distillation.mixed_loss(losses, labelled, self._label_weight, self._label_share)

    def update_figures(self, logits, targets):
        """The share of images that the student classifies as the teacher does."""
        teacher_logits, labels = targets
        same = tf.equal(tf.argmax(logits, axis=-1), tf.argmax(teacher_logits, axis=-1))
        self.running["agreement"].update_state(same)
        if self._label_weight:
            losses = distillation.label_losses(labels, logits)
            known = tf.cast(labels >= 0, tf.float32)
            self.running["label_loss"].update_state(losses, sample_weight=known)
