"""Which layer of encoder and head is evaluated: the setting `ft_proj_selector`."""

from typing import Optional

from simclr_tf.errors import SettingsError
from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import keras


def layer_index(head: Optional[keras.layers.Layer], selector: int) -> int:
    """The index into `ProjectionHead.outputs` of a selector.

    Args:
        head: ProjectionHead, or None where there is none.
        selector: 0 is the encoder's own output, 1 the output of the head's first layer (after
            BatchNormalization and ReLU), and so on; -1 is the last layer, z.
    Returns:
        int from 0 to the head's depth.
    Raises:
        SettingsError: the head has no such layer.
    """
    depth = 0 if head is None else head.depth
    if not -1 <= selector <= depth:
        layers = f"{depth} layer{'s' * (depth != 1)}" if depth else "no layers"
        raise SettingsError(
            f"ft_proj_selector={selector} does not exist: the projection head "
            f"has {layers}; give a number from 0 (the encoder's output) to {depth}, or -1 for the "
            "last."
        )
    return depth if selector == -1 else selector


class SelectedLayer(keras.Model):
    """Encoder and first layers of a head as one encoder: images -> float32 [b, feature_dim].

    Made by `select_layer`. All variables of the head belong to the model, so its checkpoints have
    the same contents whatever the selector; layers above it get no gradient.

    Args:
        encoder: built encoder.
        head: built ProjectionHead.
        index: which of `head.outputs`, at least 1.
        name: of the model.
    """

    def __init__(
        self,
        encoder: keras.Model,
        head: keras.layers.Layer,
        index: int,
        *,
        name: Optional[str] = "selected_layer",
    ):
        super().__init__(name=name)
        self.encoder = encoder
        self.head = head
        self.index = index
        self.feature_dim = head.widths(encoder.feature_dim)[index]

    @plain_python
    def endpoints(self, images, training=None):
        """The encoder's endpoints, and `proj_head_selected` float32 [b, feature_dim]."""
        found = self.encoder.endpoints(images, training=training)
        layers = self.head.outputs(found["final_avg_pool"], training=training)
        return {**found, "proj_head_selected": layers[self.index]}

    @plain_python
    def call(self, images, training=None):
        return self.endpoints(images, training=training)["proj_head_selected"]


def select_layer(
    encoder: keras.Model, head: Optional[keras.layers.Layer], selector: int
) -> keras.Model:
    """The model whose output is the selected layer.

    Args:
        encoder: built encoder, images float [b, s, s, 3] -> h float32 [b, d].
        head: built ProjectionHead, or None.
        selector: see `layer_index`.
    Returns:
        the encoder itself for layer 0, else a SelectedLayer around both; they share variables.
    Raises:
        SettingsError: the head has no such layer.
    """
    index = layer_index(head, selector)
    return SelectedLayer(encoder, head, index) if index else encoder
