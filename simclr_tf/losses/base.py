"""What all contrastive losses share: settings, normalisation, the Keras config round trip."""

import functools
from typing import Any, Dict, Optional, Tuple, Union

from simclr_tf import stack
from simclr_tf.errors import SettingsError
from simclr_tf.losses import metrics
from simclr_tf.losses.kernels import norms, replicas
from simclr_tf.stack import tf

BLOCK_ROWS = 512  # a float32 tile of 1 MiB stays in the cache of a core
WIDE_BLOCK_ROWS = 4096  # a tile of 64 MiB: its kernels take longer than it takes to launch them


def block_rows() -> int:
    """Rows of the tiles of similarities, if the settings do not say."""
    return WIDE_BLOCK_ROWS if stack.accelerated() else BLOCK_ROWS


def check_temperature(temperature: float):
    """Raises SettingsError unless the temperature is above 0 and finite."""
    if not 0.0 < temperature < float("inf"):
        raise SettingsError(f"temperature={temperature} is not above 0 and finite; start from 0.1.")


class ContrastiveLoss:
    """A contrastive loss of two views: loss(z, labels=None) -> float32 [].

    Subclasses write `mean_loss` and `chance`, and register themselves with `table.register`. One
    that draws at random sets `needs_step` and writes `drawn_loss_and_figures` instead.
    Like a Keras loss it has `get_config` and `from_config` and no state. Works in eager mode, in
    `tf.function`, under XLA, and in `strategy.run`, where it uses the views of all replicas: the
    result is the mean over the local anchors, so optimise `loss / replicas` and sum the gradients.
    The gradient is exact, needs no collective, and requires the same upstream gradient on every
    replica and batches of equal size. Matrix products should be float32: TF32 or one-pass
    bfloat16 products move similarities by about 1e-3 / temperature.

    Args:
        temperature: divides the similarities, > 0.
        hidden_norm: l2-normalise z inside (in float32, whatever the dtype of z).
        block_size: rows per block of the similarity matrix, an even number; 0 chooses by batch
            size, -1 forces one dense block.
        jit_compile: compile the kernels, and nothing around them, with XLA; for steps that cannot
            be compiled as a whole, such as those of several GPUs.
        name: of the loss, in traces; default is the name of the class.
    Raises:
        SettingsError: a setting is outside its limits; z has no static width or an odd length.
    """

    needs_labels = False
    needs_step = False

    def __init__(
        self,
        temperature: float = 0.1,
        *,
        hidden_norm: bool = True,
        block_size: int = 0,
        jit_compile: bool = False,
        name: Optional[str] = None,
    ):
        check_temperature(temperature)
        if block_size < -1 or (block_size > 0 and block_size % 2):
            raise SettingsError(
                f"loss_block_size={block_size} is not allowed: give an even number of rows, 0 to "
                "choose by batch size, or -1 for one dense block."
            )
        self.temperature = float(temperature)
        self.hidden_norm = bool(hidden_norm)
        self.block_size = int(block_size)
        self.jit_compile = bool(jit_compile)
        self.name = name or type(self).__name__

    @tf.autograph.experimental.do_not_convert  # nothing to convert, and tracing is faster
    def __call__(
        self,
        z: tf.Tensor,
        labels: Optional[tf.Tensor] = None,
        step: Union[int, tf.Tensor] = 0,
    ) -> tf.Tensor:
        """The loss.

        Args:
            z: float [2b, p] of this replica, all first views, then all second views.
            labels: int [b] or None; -1 is "no label". Only some losses use them.
            step: int [], the step of the optimizer. Only losses with `needs_step`, which draw at
                random, use it; it must be the same on all replicas.
        Returns:
            float32 [], mean over the local 2b anchors.
        """
        with tf.name_scope(self.name):
            context = replicas.replica_context()
            if self.needs_step:
                return self.drawn_loss_and_figures(self.prepare(z), step, context, figures=False)[0]
            return self.mean_loss(self.prepare(z), labels, context)

    @tf.autograph.experimental.do_not_convert
    def with_figures(
        self,
        z: tf.Tensor,
        labels: Optional[tf.Tensor] = None,
        step: Union[int, tf.Tensor] = 0,
    ) -> Tuple[tf.Tensor, Dict[str, tf.Tensor]]:
        """The loss, and what the same similarities say about the batch.

        The NT-Xent losses take both from one sweep over the similarities.

        Args:
            z, labels, step: as for the loss itself.
        Returns:
            float32 [], the loss; dict of float32 [], see `metrics.FIGURES`: means over this
            replica's anchors without a gradient, whose means over replicas are those of the
            global batch (`metrics.named` turns them into what people read).
        """
        with tf.name_scope(self.name):
            context = replicas.replica_context()
            if self.needs_step:
                return self.drawn_loss_and_figures(self.prepare(z), step, context, figures=True)
            return self.loss_and_figures(self.prepare(z), labels, context)

    def chance(self, images: int) -> Optional[float]:
        """The loss when all embeddings are equal, which a run starts near and should leave.

        Args:
            images: N, images of the global batch (2N views).
        Returns:
            nats, or None if this loss has no such value.
        """
        del images
        return None

    def mean_loss(self, z, labels, context):
        """The loss of prepared z; `context` is None on one replica."""
        raise NotImplementedError

    def loss_and_figures(self, z, labels, context):
        """See `with_figures`; z is prepared, `context` is None on one replica."""
        loss = self.mean_loss(z, labels, context)
        return loss, metrics.figures(z, self.temperature, self.hidden_norm, context)

    def drawn_loss_and_figures(self, z, step, context, *, figures):
        """Instead of the two above for a loss with `needs_step`; figures: whether to make them."""
        raise NotImplementedError

    def prepare(self, z):
        """z as float32 [2b, p], normalised if the settings say so."""
        z = tf.cast(z, tf.float32)  # first: in float16 the norm overflows
        if z.shape.rank != 2 or z.shape[1] is None or (z.shape[0] or 0) % 2:
            raise SettingsError(
                f"z has shape {z.shape}; give [2b, p] with a static p, all first views, then all "
                "second views."
            )
        return norms.unit_rows(z) if self.hidden_norm else z

    def kernel(self, function):
        """`function`, compiled if the settings say so."""
        return _compiled(function) if self.jit_compile else function

    def row_blocks(self, anchors, keys):
        """Anchors and keys per tile of a row-by-row kernel: (anchor_block, key_block)."""
        if self.block_size > 0:
            return self.block_size, 2 * self.block_size
        if self.block_size == 0:
            return (512, 1024) if block_rows() == BLOCK_ROWS else (block_rows(), block_rows())
        if isinstance(anchors, int) and isinstance(keys, int):
            return anchors, keys
        raise SettingsError("loss_block_size=-1 needs a static batch size; give 0.")

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        names = ("temperature", "hidden_norm", "block_size", "jit_compile", "name")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Dict[str, Any]) -> "ContrastiveLoss":
        """A loss with the arguments of get_config."""
        return cls(**config)


@functools.lru_cache(maxsize=None)  # a dozen kernels, compiled once for all losses of a process
def _compiled(kernel):
    return tf.function(kernel, autograph=False, jit_compile=True)
