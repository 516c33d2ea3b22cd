"""The generalized contrastive loss (arXiv:2011.02803): alignment, and a distribution to match."""

import math
from typing import Any, Dict, Optional

from simclr_tf import streams
from simclr_tf.config.training import check_prior
from simclr_tf.counter_random import normals, rows_of_keys, uniform_rows
from simclr_tf.errors import SettingsError
from simclr_tf.losses import metrics, table
from simclr_tf.losses.kernels import anchors, norms, replicas, tiles
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.stack import tf


@table.register("generalized", settings=("prior", "distribution_weight"))
class GeneralizedContrastive(NTXent):
    """Alignment of the two views, plus a weight times how z is distributed.

    loss(z) = mean over images and coordinates of (z_i - z_p)^2 / 2 + weight * distribution(z),
    as in arXiv:2011.02803, Table 1, and the notebook of its authors. The distribution term is

    - log_sum_exp: mean over the 2N views i of log sum over all k of exp(s_ik) - log p, with
      s_ik = z_i z_k / temperature; the sum holds the view itself and its positive.
    - hypersphere, hypercube, normal: the squared sliced Wasserstein distance between the 2N rows
      of z and as many draws of the prior, mean over p random orthogonal directions (section 2.3,
      algorithm 1).

    Shapes, replicas and the gradient are those of `NTXent`. The draws of a step follow from the
    seed and the number of the step: every replica makes the same ones. A step costs one QR of
    [p, p] and two sorts of [p, 2N].

    Args:
        prior: log_sum_exp, hypersphere, hypercube (uniform in [-1, 1]) or normal.
        distribution_weight: lambda of the paper, > 0.
        seed: int, of the random directions and the draws of the prior.
        temperature: divides the similarities of log_sum_exp and scales the entropy among the
            metrics, > 0.
        hidden_norm: l2-normalise z inside; needed by hypersphere, excluded by hypercube and normal.
        block_size: rows per block of the similarity matrix, as for `NTXent`.
        jit_compile: compile the kernels, and nothing around them, with XLA.
        name: of the loss, in traces.
    Raises:
        SettingsError: a setting is outside its limits, or hidden_norm does not fit the prior.
    """

    decoupled = True  # the kernels' sum over negatives, to which `anchor_terms` adds
    needs_step = True

    def __init__(
        self,
        prior: str = "log_sum_exp",
        distribution_weight: float = 1.0,
        *,
        seed: int = 0,
        temperature: float = 0.1,
        hidden_norm: bool = True,
        block_size: int = 0,
        jit_compile: bool = False,
        name: Optional[str] = None,
    ):
        super().__init__(
            temperature,
            hidden_norm=hidden_norm,
            block_size=block_size,
            jit_compile=jit_compile,
            name=name,
        )
        check_prior(prior, hidden_norm)
        if not 0.0 < distribution_weight < float("inf"):
            raise SettingsError(
                f"distribution_weight={distribution_weight} is not above 0 and finite; start from "
                "1."
            )
        self.prior = prior
        self.distribution_weight = float(distribution_weight)
        self.seed = int(seed)

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        names = ("prior", "distribution_weight", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def chance(self, images: int) -> Optional[float]:
        """None: the value of equal embeddings depends on the width of z, or on what is drawn."""
        del images
        return None

    def drawn_loss_and_figures(self, z, step, context, *, figures):
        """See `ContrastiveLoss`."""
        first, second = tf.split(z, 2)
        alignment = 0.5 * tf.reduce_mean(tf.square(first - second))
        if self.prior == "log_sum_exp":
            spread, found = self._loss(z, context, figures)
            spread -= math.log(z.shape[1])
        else:
            spread = self._sliced_distance(z, step, context)
            found = {}
            if figures:
                found = metrics.figures(z, self.temperature, self.hidden_norm, context)
        return alignment + self.distribution_weight * spread, found

    def anchor_terms(self, z, losses, normalisers, pulls):
        """Adds the positive and the view itself to the sums over negatives of `NTXent`."""
        del losses
        log_negatives = tf.where(pulls > 0.0, normalisers, tiles.MASKED)  # pull 0: no negatives
        positive = anchors.positives(z, self.temperature)
        total = tf.reduce_logsumexp(tf.stack([log_negatives, positive, self._own(z)]), 0)
        return total, total, -tf.exp(positive - total)

    def own_gradient(self, z, normalisers):
        """The similarity of a row with itself has the derivative 2 z / temperature."""
        share = tf.exp(self._own(z) - normalisers)
        scale = 2.0 / (self.temperature * tf.cast(tiles.size(z), tf.float32))
        return scale * share[:, None] * z

    def _own(self, z):
        return tf.reduce_sum(tf.square(z), 1) * (1.0 / self.temperature)

    def _sliced_distance(self, z, step, context):
        """The distance of the global batch, the same on every replica, as a function of local z."""
        local = tf.stop_gradient(z)
        rows = local if context is None else replicas.gather(local, context)
        directions, prior = self.draws(tiles.size(rows), z.shape[1], step)
        projected = tf.matmul(directions, rows, transpose_b=True)  # [p, 2N]
        wanted = tf.sort(tf.matmul(directions, prior, transpose_b=True), 1)
        ranks = tf.argsort(tf.argsort(projected, 1, stable=True), 1, stable=True)
        apart = projected - tf.gather(wanted, ranks, batch_dims=1)
        count = tf.cast(tf.size(apart), tf.float32)

        def backward():
            mine = apart
            copies = 1.0
            if context is not None:
                b = tiles.size(local)
                replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
                mine = tf.slice(apart, [0, replica * b], [-1, b])
                copies = float(context.num_replicas_in_sync)  # each replica's loss holds all rows
            return (2.0 * copies / count) * tf.matmul(mine, directions, transpose_a=True)

        return replicas.with_gradient(z, tf.reduce_mean(tf.square(apart)), backward)

    def draws(self, rows, width, step):
        """What a step draws.

        Args:
            rows: int or int32 [], 2N.
            width: int, p.
            step: int [].
        Returns:
            float32 [p, p], directions as orthonormal rows, uniformly distributed; float32
            [2N, p], draws of the prior.
        """
        square = normals(self._keys(width, step, streams.LOSS_DIRECTIONS), width)
        q, r = tf.linalg.qr(square)
        directions = q * tf.sign(tf.linalg.diag_part(r))  # without the signs QR is not uniform
        keys = self._keys(rows, step, streams.LOSS_PRIOR)
        if self.prior == "hypercube":
            prior = 2.0 * uniform_rows(keys, width) - 1.0
        else:
            prior = normals(keys, width)
        return directions, norms.unit_rows(prior) if self.hidden_norm else prior

    def _keys(self, rows, step, stream):
        return rows_of_keys(self.seed, step, tf.range(rows), stream)
