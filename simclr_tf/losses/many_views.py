"""Contrastive losses of more than two views of each image."""

import itertools
from typing import Any, Dict, Optional, Tuple, Union

from simclr_tf.losses.base import ContrastiveLoss
from simclr_tf.stack import keras, tf


@keras.saving.register_keras_serializable("simclr_tf")
class OverPairs:
    """The mean of a loss of two views over all pairs of views.

    With v views there are v (v - 1) / 2 pairs; in each, the negatives of a view are the other
    images' views of the same pair. With v = 2 it is the loss itself. With n local views besides
    (multi-crop) there are v n pairs more, of a view of full size and a local one; two local views,
    which may show different things, make no pair. Every pair weighs the same.

    Args:
        loss: of two views.
        num_views: v >= 2.
        local_views: n.
    Attributes:
        needs_labels: whether the loss needs labels.
        needs_step: whether the loss draws at random, by the step of the optimizer.
    """

    def __init__(self, loss: ContrastiveLoss, num_views: int, local_views: int = 0):
        self._loss = loss
        self.num_views = num_views
        self.local_views = local_views
        self.needs_labels = loss.needs_labels
        self.needs_step = loss.needs_step

    def chance(self, images: int) -> Optional[float]:
        """That of every pair, see `ContrastiveLoss.chance`."""
        return self._loss.chance(images)

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "loss": keras.saving.serialize_keras_object(self._loss),
            "num_views": self.num_views,
            "local_views": self.local_views,
        }

    @classmethod
    def from_config(cls, config: Dict[str, Any]) -> "OverPairs":
        """A loss with the arguments of get_config."""
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(loss, config["num_views"], config["local_views"])

    def __call__(
        self,
        z: tf.Tensor,
        labels: Optional[tf.Tensor] = None,
        step: Union[int, tf.Tensor] = 0,
    ) -> tf.Tensor:
        """z float [(v + n) * b, p], local views last; labels int [b] or None -> float32 []."""
        losses = [self._loss(pair, labels, step) for pair in self._pairs(z)]
        return tf.add_n(losses) / len(losses)

    def with_figures(
        self,
        z: tf.Tensor,
        labels: Optional[tf.Tensor] = None,
        step: Union[int, tf.Tensor] = 0,
    ) -> Tuple[tf.Tensor, Dict[str, tf.Tensor]]:
        """The loss, and the figures of `ContrastiveLoss.with_figures`, means over the pairs."""
        losses, figures = zip(
            *(self._loss.with_figures(pair, labels, step) for pair in self._pairs(z))
        )
        means = {name: tf.add_n([f[name] for f in figures]) / len(figures) for name in figures[0]}
        return tf.add_n(losses) / len(losses), means

    def _pairs(self, z):
        views = tf.split(z, self.num_views + self.local_views)
        pairs = itertools.combinations(range(len(views)), 2)
        return [tf.concat([views[i], views[j]], axis=0) for i, j in pairs if i < self.num_views]
