"""Linear classifiers on frozen features by the paper's protocol (arXiv:2002.05709, appendix B.6).

One pass over the augmented images trains every classifier: those on the features of several
frozen feature functions and those of a grid of learning rates and weight decays. The feature
functions run forward only, outside the gradient tape; the optimizer knows the classifiers alone.
"""

import numpy as np

from simclr_tf import streams
from simclr_tf.errors import DivergedError
from simclr_tf.stack import keras, tf


class LinearClassifiers(tf.Module):
    """g independent linear classifiers on each of several feature spaces.

    For plain and Nesterov momentum SGD a factor on the loss of a classifier equals a factor on its
    learning rate, because the update is linear in the gradient. So one optimizer trains the grid.
    """

    def __init__(self, dims, num_classes, zero_init=True, grid=((1.0, 0.0),), seed=0):
        """Makes the classifiers; call it in the scope of the strategy.

        Args:
            dims: {feature space: d}.
            num_classes: classes c.
            zero_init: start kernels at zero, else at N(0, 0.01); biases always start at zero.
            grid: (factor on the learning rate, weight decay) of each classifier of a space.
            seed: int, of the random start.
        """
        super().__init__(name="linear_classifiers")
        self.grid = tuple(grid)
        self.kernels = {}
        self.biases = {}
        for number, (name, dim) in enumerate(sorted(dims.items())):
            shape = [len(self.grid), dim, num_classes]
            start = tf.zeros(shape)
            if not zero_init:
                key = streams.classifier_start(seed, number)
                start = 0.01 * tf.random.stateless_normal(shape, key)
            self.kernels[name] = tf.Variable(start, name=f"{name}_kernel")
            self.biases[name] = tf.Variable(tf.zeros([shape[0], 1, num_classes]), name=f"{name}_bias")  # fmt: skip

    def losses(self, features, labels):
        """Cross entropy of every classifier, mean over the rows.

        Args:
            features: {feature space: float32 [b, d]}.
            labels: int [b].
        Returns:
            {feature space: float32 [g]}.
        """
        return {name: self._cross_entropy(name, features[name], labels) for name in self.kernels}

    def _cross_entropy(self, name, h, labels):
        logits = tf.einsum("bd,gdc->gbc", h, self.kernels[name]) + self.biases[name]
        labels = tf.repeat(labels[tf.newaxis], len(self.grid), axis=0)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        return tf.reduce_mean(losses, axis=1)

    def objective(self, losses):
        """float []: each classifier's loss and wd / 2 |W|^2, times its learning rate factor."""
        rates, decays = (tf.constant(column, tf.float32) for column in zip(*self.grid))
        norms = {name: tf.reduce_sum(kernel**2, axis=[1, 2]) for name, kernel in self.kernels.items()}  # fmt: skip
        terms = [losses[name] + 0.5 * decays * norms[name] for name in self.kernels]
        return tf.add_n([tf.reduce_sum(rates * term) for term in terms])

    def scores(self, name, h, member=0):
        """Logits float32 [n, c] of one classifier for NumPy features h [n, d]."""
        kernel = self.kernels[name].numpy()[member]
        bias = self.biases[name].numpy()[member]
        return np.asarray(h, np.float32) @ kernel + bias


class LinearTrainer:
    """The train step: images -> features, forward only -> one SGD step of all classifiers.

    Make it in the scope of the strategy. Gradients are of the mean over the global batch.
    """

    def __init__(self, classifiers, feature_functions, make_views, learning_rate, momentum=0.9):
        """Args:
        classifiers: LinearClassifiers.
        feature_functions: {feature space: images float [b, s, s, 3] -> float [b, d]}, of
            inference mode.
        make_views: batch dict (see simclr_tf.views) -> images float [b, s, s, 3] in [0, 1].
        learning_rate: float or schedule.
        momentum: of Nesterov SGD.
        """
        self.classifiers = classifiers
        self.make_views = make_views
        self.feature_functions = feature_functions
        self.optimizer = keras.optimizers.SGD(learning_rate, momentum=momentum, nesterov=True)
        self.optimizer.build(list(classifiers.trainable_variables))

    def train_step(self, batch):
        """One step on this replica's share of a batch dict.

        Returns:
            {feature space: float32 [g]}, this replica's mean losses before the step.
        """
        images = self.make_views(batch)
        features = {name: tf.cast(function(images), tf.float32) for name, function in self.feature_functions.items()}  # fmt: skip
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        variables = list(self.classifiers.trainable_variables)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            losses = self.classifiers.losses(features, batch["label"])
            objective = self.classifiers.objective(losses) / replicas
        self.optimizer.apply_gradients(zip(tape.gradient(objective, variables), variables))
        return losses


def train_classifiers(trainer, batches, steps, strategy=None, observe=None, jit_compile=False):
    """Trains for `steps` steps.

    Args:
        trainer: LinearTrainer.
        batches: infinite dataset of batch dicts, global batches divisible by the replicas.
        steps: int >= 1.
        strategy: tf.distribute.Strategy, default the current one.
        observe: callable (step, {feature space: float loss of its first classifier}) after each
            tenth of the steps and the last one, or None.
        jit_compile: compile the replica's step with XLA.
    Raises:
        DivergedError: a loss is not finite at one of the observed steps.
    """
    strategy = strategy or tf.distribute.get_strategy()
    step_function = tf.function(trainer.train_step, jit_compile=jit_compile, autograph=False)

    @tf.function(autograph=False)
    def run_step(batch):
        return strategy.run(step_function, args=(batch,))

    iterator = iter(strategy.experimental_distribute_dataset(batches))
    every = max(1, steps // 10)
    for step in range(1, steps + 1):
        losses = run_step(next(iterator))
        if step % every == 0 or step == steps:
            means = {name: _mean(value, strategy) for name, value in losses.items()}
            _check_finite(means, step)
            if observe:
                observe(step, means)


def _check_finite(losses, step):
    for name, value in losses.items():
        if not np.isfinite(value):
            raise DivergedError(
                f"the loss of the linear classifier on {name} features is {value} at step {step}; "
                "lower --learning_rate."
            )


def _mean(per_replica, strategy):
    """The first classifier's loss, mean over the replicas of this worker."""
    return float(np.mean([v[0].numpy() for v in strategy.experimental_local_results(per_replica)]))
