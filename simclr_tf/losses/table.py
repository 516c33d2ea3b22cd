"""From the setting `--loss` to the loss."""

from simclr_tf.losses.decoupled import DecoupledNTXent
from simclr_tf.losses.margin import MarginTriplet
from simclr_tf.losses.nt_logistic import NTLogistic
from simclr_tf.losses.nt_xent import NTXent
from simclr_tf.losses.supcon import SupervisedContrastive

LOSSES = {
    "nt_xent": NTXent,
    "decoupled": DecoupledNTXent,
    "supcon": SupervisedContrastive,
    "nt_logistic": NTLogistic,
    "margin": MarginTriplet,
}


def make_loss(loss, jit_compile=False):
    """The loss of the settings.

    Args:
        loss: config.Loss.
        jit_compile: compile the kernels alone; for steps that are not compiled as a whole.
    Returns:
        base.ContrastiveLoss: z float [2b, p], labels int [b] or None -> float32 [];
        `needs_labels` says whether labels are required.
    Raises:
        SettingsError: a setting is outside its limits.
    """
    settings = {
        "temperature": loss.temperature,
        "hidden_norm": loss.hidden_norm,
        "block_size": loss.loss_block_size,
        "jit_compile": jit_compile,
    }
    if loss.loss in ("nt_logistic", "margin"):
        settings["semi_hard"] = loss.semi_hard
    if loss.loss == "margin":
        settings["margin"] = loss.margin
    return LOSSES[loss.loss](**settings)
