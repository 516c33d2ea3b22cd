"""Encoder, projection head up to one layer and a linear classifier, trained with labels."""

from typing import Any, Callable, Dict, Optional

from simclr_tf.errors import SettingsError
from simclr_tf.models.non_finite import NonFiniteSteps
from simclr_tf.models.selection import layer_index
from simclr_tf.models.step_parts import StepParts
from simclr_tf.stack import keras, tf


class FineTuned(StepParts, keras.Model):
    """Supervised training of an encoder from any starting weights (arXiv:2002.05709, B.5).

    `call`: images float [b, s, s, 3] in [0, 1] -> logits float32 [b, num_classes]. The classifier
    stands on h (selector 0), on a layer of the head, or on z (the last one). `train_step` takes a
    batch dict of one replica, as SimCLR's; gradients are of the mean over the global batch. The
    loss is the softmax cross entropy of "label" int32 [b], or, with bool [b, num_classes] of
    several labels per image, the sum over the classes of their sigmoid cross entropies.
    """

    def __init__(
        self,
        encoder: keras.Model,
        head: keras.layers.Layer,
        classifier: keras.layers.Layer,
        make_views: Callable[[Dict[str, Any]], tf.Tensor],
        *,
        selector: int = 0,
        kernel_decay: float = 0.0,
        label_sets: bool = False,
        name: Optional[str] = None,
    ):
        """Puts the parts together.

        Args:
            encoder: model, images -> h float [b, d].
            head: built ProjectionHead; its layers after the selected one are not used.
            classifier: layer, selected layer -> logits float32 [b, num_classes].
            make_views: callable, batch dict -> images float [b, s, s, 3] in [0, 1].
            selector: index of `head.outputs`; -1 is z.
            kernel_decay: weight of the L2 penalty on the classifier's kernel, in the loss.
            label_sets: whether images have several labels each.
            name: of the model.
        """
        super().__init__(name=name)
        self._kernel_decay = kernel_decay
        self._label_sets = label_sets
        self.encoder = encoder
        self.head = head
        self.probe = classifier
        self.make_views = make_views
        self.selector = selector
        names = ["loss", "label_accuracy" if self._label_sets else "top_1"]
        self.running = {name: keras.metrics.Mean(name=name) for name in names}
        self.running["non_finite_steps"] = NonFiniteSteps()

    def call(self, images, training=None):
        h = self.encoder(images, training=training)
        return self.probe(self.head.outputs(h, training=training)[self.selector])

    @property
    def metrics(self):
        return list(self.running.values())

    def train_step(self, batch):
        """One optimizer step on this replica's share of the batch.

        Returns:
            {name: float []}: the running means since the metrics were last reset.
        """
        before = self.snapshot()
        images = self.make_views(batch)
        targets = self.targets_of(images, batch["label"])
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        with tf.GradientTape() as tape:
            logits = self(images, training=True)
            loss = self.mean_loss(logits, targets)
            objective = self.scaled((loss + self._penalty()) / replicas)
        self.running["loss"].update_state(loss)
        self.update_figures(logits, targets)
        self.apply(tape.gradient(objective, self.trainable_variables), loss, before)
        return {name: metric.result() for name, metric in self.running.items()}

    def targets_of(self, images, labels):
        """What the outputs are compared with: here the labels.

        Args:
            images: float [b, s, s, c] in [0, 1], the views of this replica.
            labels: of the batch.
        """
        del images
        return labels

    def mean_loss(self, logits, targets):
        """The mean loss of this replica's images, float32 [].

        Args:
            logits: float32 [b, num_classes].
            targets: of `targets_of`.
        """
        return tf.reduce_mean(self._cross_entropies(logits, targets))

    def update_figures(self, logits, targets):
        """Adds this replica's images to the running figures; arguments as of `mean_loss`."""
        if self._label_sets:
            self.running["label_accuracy"].update_state(tf.equal(logits > 0, targets))
        else:
            hits = tf.equal(tf.argmax(logits, axis=-1, output_type=targets.dtype), targets)
            self.running["top_1"].update_state(hits)

    def _cross_entropies(self, logits, labels):
        """float32 [b]; classes of several labels are learnt one by one, so their losses add up."""
        if not self._label_sets:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        targets = tf.cast(labels, logits.dtype)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
        return tf.reduce_sum(losses, axis=-1)

    def _penalty(self):
        """wd / 2 |W|^2 of the classifier, where the optimizer does not decay it."""
        if not self._kernel_decay:
            return 0.0
        return self._kernel_decay * tf.nn.l2_loss(self.probe.dense.kernel)


def freeze(encoder: keras.Model, head: keras.layers.Layer, selector: int, after_block: int):
    """Makes parts untrainable: those up to a block, and the head's unused layers.

    Frozen BatchNormalization normalises with its averages and does not update them. A layer of
    the head is unused if it comes after the selected one.

    Args:
        encoder: built encoder.
        head: built ProjectionHead.
        selector: index of `head.outputs`; -1 is the last.
        after_block: -1 for nothing, 0 for the stem, 1 to 3 for the block groups up to it too, 4
            for the whole encoder.
    Raises:
        SettingsError: an encoder without block groups and `after_block` from 0 to 3, or a head
            without the selected layer.
    """
    if after_block == 4:
        encoder.trainable = False
    elif after_block >= 0:
        if not hasattr(encoder, "groups"):
            raise SettingsError(
                f"fine_tune_after_block={after_block} counts the block groups of a ResNet, and "
                "this encoder has none; give -1 (train everything) or 4 (freeze the encoder)."
            )
        for part in [encoder.stem, *encoder.groups[:after_block]]:
            part.trainable = False
    used = layer_index(head, selector)
    for part in head.dense[used:] + [norm for norm in head.norms[used:] if norm is not None]:
        part.trainable = False
