"""The model of a pretraining: encoder, head, probe, views, loss and optimizer put together."""

from simclr_tf.losses.many_views import OverPairs
from simclr_tf.losses.table import make_loss
from simclr_tf.models.build import build_parts
from simclr_tf.models.simclr import SimCLR
from simclr_tf.optimizers.groups import undecayed_variables
from simclr_tf.optimizers.table import make_optimizer
from simclr_tf.training import length
from simclr_tf.views import multi_crop


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
    rank = bool(config.training.effective_rank_steps)
    model = SimCLR(encoder, head, build_loss(config), views, probe, rank)
    excluded = undecayed_variables(encoder, head)
    excluded += list(probe.trainable_variables) if probe is not None else []
    model.compile(optimizer=make_optimizer(config.optimizer, length.learning_rate(steps), excluded))
    model.optimizer.build(model.trainable_variables)
    model.skips_non_finite = config.training.on_nan == "skip"
    return model


def build_loss(config):
    """The loss of a config.Pretrain, see `losses.table.make_loss`."""
    # under a whole compiled step the kernels are compiled with it, otherwise on their own
    whole = config.training.jit_compile or config.run.use_tpu
    loss = make_loss(config.loss, jit_compile=not whole)
    views = config.training.num_views
    local = config.multi_crop.local_views
    return OverPairs(loss, views, local) if views > 2 or local else loss
