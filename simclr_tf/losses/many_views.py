"""Contrastive losses of more than two views of each image."""

import itertools

from simclr_tf.stack import tf


class OverPairs:
    """The mean of a loss of two views over all pairs of views.

    With v views there are v (v - 1) / 2 pairs; in each, the negatives of a view are the other
    images' views of the same pair. With v = 2 it is the loss itself. With n local views besides
    (multi-crop) there are v n pairs more, of a view of full size and a local one; two local views,
    which may show different things, make no pair. Every pair weighs the same.

    Args:
        loss: base.ContrastiveLoss; its other attributes are found here too.
        num_views: int, v >= 2; local_views: int, n.
    """

    def __init__(self, loss, num_views, local_views=0):
        self._loss = loss
        self.num_views = num_views
        self.local_views = local_views

    def __getattr__(self, name):
        return getattr(self._loss, name)

    def __call__(self, z, labels=None):
        """z float [(v + n) * b, p], local views last; labels int [b] or None -> float32 []."""
        losses = [self._loss(pair, labels) for pair in self._pairs(z)]
        return tf.add_n(losses) / len(losses)

    def with_figures(self, z, labels=None):
        """The loss, and the means over the pairs of the figures that belong to it."""
        losses, figures = zip(*(self._loss.with_figures(z, labels) for z in self._pairs(z)))
        means = {name: tf.add_n([f[name] for f in figures]) / len(figures) for name in figures[0]}
        return tf.add_n(losses) / len(losses), means

    def _pairs(self, z):
        views = tf.split(z, self.num_views + self.local_views)
        pairs = itertools.combinations(range(len(views)), 2)
        return [tf.concat([views[i], views[j]], axis=0) for i, j in pairs if i < self.num_views]
