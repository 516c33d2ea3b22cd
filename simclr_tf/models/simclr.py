"""SimCLR: encoder f, projection head g, contrastive loss and online probe in one Keras model."""

from typing import Any, Callable, Dict, Optional

from simclr_tf.losses.embedding import EffectiveRank, LogMean
from simclr_tf.losses.metrics import FIGURES
from simclr_tf.models.non_finite import NonFiniteSteps
from simclr_tf.models.step_parts import StepParts
from simclr_tf.stack import keras, tf


class SimCLR(StepParts, keras.Model):
    """Contrastive pretraining of an encoder (arXiv:2002.05709, section 2.1, algorithm 1).

    `call` maps images float [b, height, width, 3] in [0, 1] to h float [b, d]: what evaluation
    uses and what export ships. `train_step` takes a batch dict of one replica (`images` uint8,
    `id` int64 [b], `epoch` int32 [b], `label` int32 [b]), draws the views on the device, and runs
    the encoder once on all of them, so that BatchNormalization sees both views.

    Losses are means over the global batch: each replica back-propagates its mean divided by the
    number of replicas and the optimizer sums the gradients. The online probe is a linear
    classifier on stop_gradient(h); it never changes the encoder's gradients.

    The objective is loss_factor * loss + probe loss + probe_decay / 2 * ||W||^2, W the probe's
    kernel. The loss is a mean over the views of a pair; the official code adds up both
    directions, so its factor is 2. Of several pairs (more views) the mean is taken, times the
    same factor. The logged loss is without the factor.
    """

    def __init__(
        self,
        encoder: keras.Model,
        head: keras.layers.Layer,
        loss: Callable[..., tf.Tensor],
        make_views: Callable[[Dict[str, tf.Tensor]], Any],
        probe: Optional[keras.layers.Layer] = None,
        *,
        effective_rank: bool = True,
        loss_factor: float = 2.0,
        probe_decay: float = 0.0,
        name: Optional[str] = None,
    ):
        """Puts the parts together.

        Args:
            encoder: model, images float [b, s, s, 3] -> h float [b, d]; `feature_dim` is d.
            head: layer, h -> z float [b, p]; applied to every view.
            loss: losses.base.ContrastiveLoss such as NTXent: z float [v * b, p] (all first views,
                then all second views) -> float [], the mean over this replica's anchors against
                the views of all replicas.
            make_views: callable, batch dict -> views float [v * b, s, s, 3] in [0, 1], or a pair
                of those and of local views [n * b, l, l, 3] of another size.
            probe: classifier, h -> logits [b, num_classes], or None for no online probe.
            effective_rank: measure the effective rank of h, in d * d floats of memory.
            loss_factor: weight of the contrastive loss in the objective, > 0.
            probe_decay: L2 of the probe's kernel, in the objective; for optimizers that do not
                decay it themselves.
            name: of the model.
        """
        super().__init__(name=name)
        self.encoder = encoder
        self.head = head
        self.probe = probe
        self.contrastive_loss = loss
        self.make_views = make_views
        self.loss_factor = loss_factor
        self.probe_decay = probe_decay
        names = ["loss", *FIGURES]
        if probe is not None:
            names += ["probe_loss", "probe_top_1"]
        self.running = {name: keras.metrics.Mean(name=name) for name in names}
        self.running["non_finite_steps"] = NonFiniteSteps()
        # the log of the mean, not the mean of the logs
        self.running["uniformity"] = LogMean(name="uniformity")
        del self.running["nearness"]
        self.rank = EffectiveRank(encoder.feature_dim) if effective_rank else None

    def call(self, images, training=None):
        return self.encoder(images, training=training)

    @property
    def metrics(self):
        return [*self.running.values(), *([] if self.rank is None else [self.rank])]

    def train_step(self, batch):
        """One optimizer step on this replica's share of the batch.

        Returns:
            {name: float []}: the running means since the metrics were last reset; the effective
            rank, an eigendecomposition, is left to `rank.result()`.
        """
        before = self.snapshot()
        views = self.make_views(batch)
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        with tf.GradientTape() as tape:
            h, every_h = self.embed(views)
            z = tf.cast(self.head(every_h, training=True), tf.float32)
            loss, figures = self.loss_of(z, batch["label"])
            probe_loss = self.probe_loss(h, batch["label"])
            objective = self.loss_factor * loss + probe_loss + self.probe_penalty()
            objective = self.scaled(objective / replicas)
        self.update_metrics(loss, figures)
        self.update_rank(h)
        self.apply(tape.gradient(objective, self.trainable_variables), loss, before)
        return {name: metric.result() for name, metric in self.running.items()}

    def embed(self, views):
        """h float [v * b, d] of the views of full size, and of all views, local ones last.

        BatchNormalization sees the views of one size together, as they go through the encoder.
        """
        if not isinstance(views, tuple):
            h = self.encoder(views, training=True)
            return h, h
        h, local = (self.encoder(one, training=True) for one in views)
        return h, tf.concat([h, local], axis=0)

    def loss_of(self, z, label):
        """The contrastive loss and its figures of this replica's z float32 [v * b, p].

        Args:
            z: as above.
            label: int32 [b].
        Returns:
            float32 [] and dict of float32 [], see `ContrastiveLoss.with_figures`.
        """
        loss = self.contrastive_loss
        labels = label if loss.needs_labels else None
        if loss.needs_step:
            return loss.with_figures(z, labels, self.optimizer.iterations)
        return loss.with_figures(z, labels)

    def probe_loss(self, h, label):
        """Cross entropy of the online probe, mean over this replica's views; 0 without a probe."""
        if self.probe is None:
            return 0.0
        logits = tf.cast(self.probe(tf.stop_gradient(h)), tf.float32)
        labels = tf.tile(label, [logits.shape[0] // label.shape[0]])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        hits = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
        self.running["probe_loss"].update_state(losses)
        self.running["probe_top_1"].update_state(hits)
        return tf.reduce_mean(losses)

    def probe_penalty(self):
        """The probe's share of the weight decay, float32 []; 0 without one."""
        if self.probe is None or not self.probe_decay:
            return 0.0
        return self.probe.penalty(self.probe_decay)

    def update_metrics(self, loss, figures):
        """Adds one step of this replica to the running means; arguments as from `loss_of`."""
        for name, value in figures.items():
            self.running["uniformity" if name == "nearness" else name].update_state(value)
        self.running["loss"].update_state(loss)

    def update_rank(self, h):
        """Adds h float [m, d] of this replica to the effective rank, if it is followed."""
        if self.rank is not None:
            self.rank.update_state(h)
