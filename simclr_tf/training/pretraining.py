"""The model of a pretraining: encoder, head, probe, views, loss and optimizer put together."""

from simclr_tf.data import sources, stored
from simclr_tf.errors import SettingsError
from simclr_tf.losses.many_views import OverPairs
from simclr_tf.losses.table import make_loss
from simclr_tf.models.build import build_parts
from simclr_tf.models.simclr import SimCLR
from simclr_tf.optimizers.groups import undecayed_variables
from simclr_tf.optimizers.table import make_optimizer
from simclr_tf.training import length
from simclr_tf.views import multi_crop


def open_images(config):
    """The training images of a pretraining, decoded once where `store_side` says so.

    Args:
        config: config.Pretrain.
    Returns:
        Source.
    Raises:
        DataError: they cannot be read.
    """
    source = sources.open_source(config.data, "train", config.run.seed)
    return stored.stored(source, config.training.store_side)


def build_model(config, num_classes, steps):
    """A built and compiled SimCLR.

    Args:
        config: config.Pretrain.
        num_classes: classes of the online probe, 0 for none.
        steps: length.Steps.
    Returns:
        SimCLR, ready for `train_step`.
    """
    encoder, head, probe = build_parts(config, num_classes)
    multi_crop.check_encoder(encoder, config)
    views = multi_crop.make_all_views(config, config.training.num_views)
    official = config.loss.objective == "official"
    lars = config.optimizer.optimizer == "lars"
    model = SimCLR(
        encoder,
        head,
        build_loss(config),
        views,
        probe,
        effective_rank=bool(config.training.effective_rank_steps),
        loss_factor=2.0 if official else 1.0,
        probe_decay=config.optimizer.weight_decay if official and lars else 0.0,
    )
    excluded = _undecayed(config, encoder, head, probe)
    model.compile(optimizer=make_optimizer(config.optimizer, length.learning_rate(steps), excluded))
    model.optimizer.build(model.trainable_variables)
    model.skips_non_finite = config.training.on_nan == "skip"
    return model


def _undecayed(config, encoder, head, probe):
    """The variables that the optimizer does not decay.

    The official code adds the decay of every variable outside BatchNormalization to the loss for
    momentum and adam; under lars the optimizer decays kernels only, and the loss the probe's.
    """
    official = config.loss.objective == "official"
    if official and config.optimizer.optimizer in ("momentum", "adam"):
        return undecayed_variables(encoder, head, biases=False)
    of_probe = [] if probe is None else list(probe.trainable_variables)
    return undecayed_variables(encoder, head) + of_probe


def build_loss(config):
    """The loss of a config.Pretrain, see `losses.table.make_loss`."""
    # under a whole compiled step the kernels are compiled with it, otherwise on their own
    whole = config.training.jit_compile or config.run.use_tpu
    loss = make_loss(config.loss, jit_compile=not whole, seed=config.run.seed)
    views = config.training.num_views
    local = config.multi_crop.local_views
    return OverPairs(loss, views, local) if views > 2 or local else loss


def check_labels(config, info):
    """Raises SettingsError if a setting needs labels that the images, a SourceInfo, lack."""
    if info.num_classes:
        return
    if build_loss(config).needs_labels:
        raise SettingsError(f"loss={config.loss.loss} needs labels and {info.name} has none; choose --loss=nt_xent.")  # fmt: skip
    if config.training.keep_best == "probe_top_1":
        raise SettingsError(f"keep_best=probe_top_1 needs labels and {info.name} has none; choose --keep_best=loss.")  # fmt: skip
