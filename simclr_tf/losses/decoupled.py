"""The decoupled contrastive loss (arXiv:2110.06848)."""

from simclr_tf.losses import base
from simclr_tf.losses.nt_xent import NTXent


@base.register
class DecoupledNTXent(NTXent):
    """Decoupled contrastive loss (arXiv:2110.06848): NT-Xent without the positive in the sum.

    loss(z) = mean over views of -s_ip + log sum over k not in {i, p} of exp(s_ik); it is 0 for a
    single image and may be negative. Arguments as for `NTXent`.
    """

    decoupled = True
