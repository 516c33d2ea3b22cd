"""From the setting `--loss` to the loss."""

from simclr_tf.losses.nt_xent import NTXent


def make_loss(loss):
    """The loss of the settings.

    Args:
        loss: config.Loss.
    Returns:
        callable, z float [2b, p] (and labels int [b] where the loss uses them) -> float32 [].
    Raises:
        SettingsError: a setting is outside its limits.
    """
    return NTXent(loss.temperature, loss.hidden_norm, loss.loss_block_size)
