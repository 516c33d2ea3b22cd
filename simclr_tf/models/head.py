"""The projection head g: h -> z (arXiv:2002.05709, sections 2.1 and 4.2)."""

from typing import Any, Dict, List, Optional

from simclr_tf.errors import SettingsError
from simclr_tf.models.layers import kernel_seed
from simclr_tf.models.norms import make_norm
from simclr_tf.models.tracing import plain_python
from simclr_tf.stack import keras, tf

MODES = ("none", "linear", "nonlinear")
BATCH_NORMS = ("all", "hidden", "none")


class ProjectionHead(keras.layers.Layer):
    """g: h float [b, d] -> z float32 [b, p], not normalised.

    none: z = h. linear: dense(p), BN. nonlinear: dense(d), BN, ReLU for all layers but the last,
    then dense(p), BN. The last BN has no offset and dense layers no bias, except hidden layers
    without BN; kernels start as N(0, 0.01). Two layers are the paper's head, three SimCLR v2's.

    Args:
        mode: "none", "linear" or "nonlinear".
        num_layers: layers of the nonlinear head, 1 to 4.
        out_dim: p, the width of z.
        batch_norm: which layers are normalized: "all" (the official code), "hidden" or "none".
        norm: "batch", "group" (32 groups) or "layer"; replaces every BN named here.
        global_bn: BatchNormalization statistics over all replicas.
        batch_norm_decay: decay of the moving averages, in [0, 1].
        seed: of the initial kernels.
        name: of the layer.
        **kwargs: of keras.layers.Layer, such as `trainable` and `dtype`.
    Attributes:
        depth: layers, 0 for "none".
    Raises:
        SettingsError: unknown mode, number of layers or batch_norm.
    """

    def __init__(
        self,
        mode: str = "nonlinear",
        num_layers: int = 2,
        out_dim: int = 128,
        *,
        batch_norm: str = "all",
        norm: str = "batch",
        global_bn: bool = True,
        batch_norm_decay: float = 0.9,
        seed: int = 0,
        name: Optional[str] = "projection_head",
        **kwargs: Any,
    ):
        if mode not in MODES:
            raise SettingsError(f"proj_head_mode={mode} is not known: give {', '.join(MODES)}.")
        if not 1 <= num_layers <= 4:
            raise SettingsError(f"num_proj_layers={num_layers} is not allowed: give 1 to 4.")
        if batch_norm not in BATCH_NORMS:
            known = ", ".join(BATCH_NORMS)
            raise SettingsError(f"proj_bn={batch_norm} is not known: give {known}.")
        super().__init__(name=name, **kwargs)
        self._settings: Dict[str, Any] = {
            "mode": mode,
            "num_layers": num_layers,
            "out_dim": out_dim,
            "batch_norm": batch_norm,
            "norm": norm,
            "global_bn": global_bn,
            "batch_norm_decay": batch_norm_decay,
            "seed": seed,
        }
        self.depth = {"none": 0, "linear": 1, "nonlinear": num_layers}[mode]
        self.norms = [self._make_norm(i) for i in range(self.depth)]
        self.dense: List[keras.layers.Layer] = []

    def _make_norm(self, i):
        """The normalization of layer i, None where it has none."""
        if not self._is_normalized(i):
            return None
        return make_norm(
            self._settings["norm"],
            momentum=self._settings["batch_norm_decay"],
            global_statistics=self._settings["global_bn"],
            center=not self._is_last(i),
            name=f"norm{i + 1}",
        )

    def widths(self, feature_dim: int) -> List[int]:
        """Widths of `outputs` for an h of that width: [feature_dim, ..., width of z]."""
        hidden = [feature_dim] * max(self.depth, 1)
        return hidden + [self._settings["out_dim"]] * min(self.depth, 1)

    def _is_last(self, i):
        return i == self.depth - 1

    def _is_normalized(self, i):
        normalized = self._settings["batch_norm"]
        return normalized == "all" or (normalized == "hidden" and not self._is_last(i))

    def build(self, input_shape):
        """Makes the dense layers: the hidden ones are as wide as h."""
        for i in range(self.depth):
            seed = kernel_seed(self._settings["seed"], f"head{i + 1}")
            self.dense.append(
                keras.layers.Dense(
                    self._settings["out_dim"] if self._is_last(i) else int(input_shape[-1]),
                    use_bias=not (self._is_normalized(i) or self._is_last(i)),
                    kernel_initializer=keras.initializers.RandomNormal(stddev=0.01, seed=seed),
                    name=f"dense{i + 1}",
                )
            )
        super().build(input_shape)

    @plain_python
    def outputs(self, h: tf.Tensor, training: Optional[bool] = None) -> List[tf.Tensor]:
        """h and the outputs of all layers: what the setting `ft_proj_selector` indexes.

        Args:
            h: float [b, d]. The layer must have been built.
            training: use batch statistics in BatchNormalization.
        Returns:
            [h, output of layer 1 (after BN and ReLU), ..., z], float32 each.
        """
        found = [tf.cast(h, tf.float32)]
        for i in range(self.depth):
            h = self.dense[i](h)
            if self.norms[i] is not None:
                h = self.norms[i](h, training=training)
            h = h if self._is_last(i) else tf.nn.relu(h)
            found.append(tf.cast(h, tf.float32))
        return found

    @plain_python
    def call(self, h: tf.Tensor, training: Optional[bool] = None) -> tf.Tensor:
        return self.outputs(h, training=training)[-1]

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), **self._settings}
