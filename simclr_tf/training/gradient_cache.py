"""The exact gradient of a contrastive batch that does not fit into memory.

A train step in two passes over micro-batches (gradient caching, Gao et al. 2021, arXiv:2101.06983):
pass 1 embeds every micro-batch without keeping activations, the loss gives dL/dz of the whole
batch, pass 2 draws the same stateless views again and back-propagates dL/dz through each
micro-batch. Memory is that of one micro-batch plus O(batch * d); the cost is one more forward pass.

BatchNormalization normalises each micro-batch with its own statistics in both passes; its moving
averages advance once per step, by the mean of the micro-batches' statistics. With separate views
a micro-batch holds the first views of its images and the second views of the next one's, so that
no pair of views shares statistics by which the encoder could recognise it.
"""

import contextlib
import functools

from simclr_tf.stack import keras, tf


def batch_norms(*models):
    """All layers with moving averages and a `momentum`, nested ones included."""
    found = []
    for model in models:
        for layer in model._flatten_layers():
            if hasattr(layer, "moving_mean") and hasattr(layer, "momentum"):
                found.append(layer)
    return found


@contextlib.contextmanager
def decay_of(layers, decay):
    """Sets the decay of moving averages while a step is traced: decay(the layer's own) -> new."""
    own = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = decay(layer.momentum)
    try:
        yield
    finally:
        for layer, momentum in zip(layers, own):
            layer.momentum = momentum


def equal_weight_decay(decay, index, count):
    """Decay of update `index` of `count`, so that together they are one update by the mean.

    m <- a_i m + (1 - a_i) s_i for i = 0 ... count - 1 ends at decay * m + (1 - decay) * mean(s).

    Args:
        decay: float in [0, 1], the decay of the one update.
        index: int [] tensor.
        count: int.
    Returns:
        float32 [].
    """
    share = (1.0 - decay) / count
    index = tf.cast(index, tf.float32)
    weight_after = 1.0 - (count - index - 1.0) * share  # what later updates leave of this one
    return (1.0 - (count - index) * share) / weight_after


class GradientCache:
    """Runs SimCLR.train_step's update on a batch of any size, micro-batch by micro-batch."""

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        *,
        micro_batches: int,
        num_views: int,
        rows: int,
        z_dim: int,
        jit_compile: bool = False,
        separate_views: bool = False,
    ):
        """Makes the buffers.

        Args:
            model: built and compiled SimCLR, made in the strategy's scope.
            strategy: its tf.distribute.Strategy.
            micro_batches: micro-batches per step.
            num_views: views of each image.
            rows: images of a micro-batch on one replica.
            z_dim: width of z.
            jit_compile: compile each part of the step with XLA.
            separate_views: normalise the two views of an image in different micro-batches.
        """
        self.model = model
        self.strategy = strategy
        self.count = micro_batches
        self.separate_views = separate_views
        self.norms = batch_norms(model.encoder, model.head)
        self._tracing = 0
        self._decays = contextlib.ExitStack()
        with strategy.scope():
            shape = [micro_batches, num_views, rows, z_dim]
            self.state = {name: _local(shape, name) for name in ("z", "z_gradient")}
            self.gradients = [_local(v.shape, "gradient") for v in model.trainable_variables]
        wrap = lambda f: f  # noqa: E731
        if jit_compile:
            wrap = functools.partial(tf.function, jit_compile=True, autograph=False)
        self._parts = [wrap(f) for f in (self._embed, self._loss, self._backward, self._apply)]

    def run(self, batch):
        """One step on a (distributed) global batch; call it inside a tf.function."""
        embed, loss, backward, apply = self._parts
        before = self.strategy.run(self.model.snapshot)
        self._for_each_part(lambda i: self.strategy.run(embed, args=(batch, i)))
        loss_value = self.strategy.run(loss, args=(batch,))
        self._for_each_part(lambda i: self.strategy.run(backward, args=(batch, i)))
        self.strategy.run(apply, args=(loss_value, before))

    def _for_each_part(self, body):
        def step(i):
            body(i)
            return [i + 1]

        # one iteration at a time: a second one in flight would double the activations
        tf.while_loop(lambda i: i < self.count, step, [tf.constant(0)], parallel_iterations=1)

    def _views(self, batch, index):
        """The views of micro-batch `index`, first views first, and their labels."""

        def part(index):
            rows = {name: value.shape[0] // self.count for name, value in batch.items()}
            return {
                name: tf.gather(
                    tf.reshape(value, [self.count, rows[name], *value.shape[1:]]), index, axis=0
                )
                for name, value in batch.items()
            }

        if not self.separate_views:
            own = part(index)
            return self.model.make_views(own), own["label"]
        own = part(index)
        next_one = part(self._second(index))
        rows = own["label"].shape[0]
        both = {name: tf.concat([own[name], next_one[name]], 0) for name in own}
        both["view"] = tf.repeat([0, 1], rows)
        return self.model.make_views(both), both["label"]

    def _second(self, index):
        """The micro-batch whose second views are embedded with the first views of `index`."""
        return (index + 1) % self.count if self.separate_views else index

    def _places(self, index):
        """Where the z of micro-batch `index` are in the buffers: int32 [views, 2]."""
        others = range(1, self.state["z"].shape[1])
        return tf.stack([[index, 0], *([self._second(index), view] for view in others)])

    def _project(self, views, decay):
        with self._decay(decay):
            h = self.model.encoder(views, training=True)
            return h, tf.cast(self.model.head(h, training=True), tf.float32)

    @contextlib.contextmanager
    def _decay(self, decay):
        """decay_of the norms. Replicas are traced in turns, a collective at a time, all with the
        same decay: the first to come sets it and the last to go restores it."""
        if not self._tracing:
            self._decays.enter_context(decay_of(self.norms, decay))
        self._tracing += 1
        try:
            yield
        finally:
            self._tracing -= 1
            if not self._tracing:
                self._decays.close()

    def _embed(self, batch, index):
        views, _ = self._views(batch, index)
        _, z = self._project(views, lambda own: 1.0)
        buffer = self.state["z"]
        z = tf.reshape(z, buffer.shape[1:])
        # variables of one replica have no scatter_update; the buffer is small beside activations
        buffer.assign(tf.tensor_scatter_nd_update(buffer.read_value(), self._places(index), z))

    def _loss(self, batch):
        parts, views, rows, z_dim = self.state["z"].shape
        z = tf.transpose(self.state["z"].read_value(), [1, 0, 2, 3])
        z = tf.reshape(z, [views * parts * rows, z_dim])
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss, figures = self.model.loss_of(z, batch["label"])
            objective = self.model.scaled(self.model.loss_factor * loss / replicas)
        gradient = tf.reshape(tape.gradient(objective, z), [views, parts, rows, z_dim])
        self.state["z_gradient"].assign(tf.transpose(gradient, [1, 0, 2, 3]))
        self.model.update_metrics(loss, figures)
        return loss

    def _backward(self, batch, index):
        views, label = self._views(batch, index)
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        own = self.state["z_gradient"]
        z_gradient = tf.gather_nd(own.read_value(), self._places(index))
        with tf.GradientTape() as tape:
            h, z = self._project(views, lambda d: equal_weight_decay(d, index, self.count))
            probe = self.model.probe_loss(h, label) + self.model.probe_penalty()
            probe = probe / (replicas * self.count)
            z_part = tf.reduce_sum(z * tf.reshape(z_gradient, z.shape))
            objective = z_part + self.model.scaled(probe)
        self.model.update_rank(h)
        found = tape.gradient(objective, self.model.trainable_variables)
        for total, gradient in zip(self.gradients, found):
            total.assign_add(tf.cast(gradient, total.dtype))

    def _apply(self, loss, before):
        self.model.apply([total.read_value() for total in self.gradients], loss, before)
        for total in self.gradients:
            total.assign(tf.zeros_like(total))


def _local(shape, name):
    """A variable that each replica keeps for itself."""
    return tf.Variable(
        tf.zeros(shape),
        trainable=False,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )


def small_norm_warning(model, training, limit=256):
    """One sentence when BatchNormalization would see both views of few images, else None.

    Both views of an image in a small normalisation group let the encoder recognise the positive by
    the statistics they share (paper §2.2: the reason for its global BN).

    Args:
        model: SimCLR.
        training: config.Training.
        limit: views that are enough.
    """
    trainable = [norm for norm in batch_norms(model.encoder, model.head) if norm.trainable]
    views = training.num_views * training.train_batch_size
    if not trainable or views >= limit or training.cached_separate_views:
        return None
    return (
        f"{len(trainable)} BatchNormalization layers see only {views} views at a time; "
        "raise --train_batch_size as far as memory allows, spread it over replicas with "
        "--global_bn, or use --cached_separate_views or --norm=group."
    )
