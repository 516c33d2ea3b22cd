"""The model of a training with labels: encoder, head and classifier put together."""

from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.fine_tuned import FineTuned, freeze
from simclr_tf.optimizers.groups import undecayed_variables
from simclr_tf.optimizers.table import make_optimizer
from simclr_tf.stack import tf
from simclr_tf.training import length
from simclr_tf.training.gradient_cache import batch_norms
from simclr_tf.views.device import make_views


def build_model(config, encoder, head, num_classes, steps, label_sets=False):
    """A built and compiled FineTuned; call it in the scope of the strategy.

    Args:
        config: config.Finetune.
        encoder, head: built.
        num_classes: int.
        steps: length.Steps.
        label_sets: whether images have several labels.
    """
    settings = config.finetuning
    seed = config.run.seed
    size = config.data.image_size
    freeze(encoder, head, settings.ft_proj_selector, settings.fine_tune_after_block)
    if settings.bn_decay_rule:
        for norm in batch_norms(encoder, head):
            norm.momentum = max(1.0 - 10.0 / steps.per_epoch, 0.9)
    classifier = LinearClassifier(num_classes, zero_init=settings.zero_init_logits_layer, seed=seed)
    view = make_views(config.views, size, seed, num_views=1)
    model = FineTuned(
        encoder,
        head,
        classifier,
        view,
        selector=settings.ft_proj_selector,
        kernel_decay=kernel_decay(config.optimizer),
        label_sets=label_sets,
    )
    return compiled(model, config, steps)


def kernel_decay(optimizer):
    """Weight of the L2 penalty on the classifier's kernel, in the loss; optimizer: config.Optimizer.

    As in the official code, LARS does not adapt the classifier, and its decay is in the loss.
    """
    return optimizer.weight_decay if optimizer.optimizer == "lars" else 0.0


def compiled(model, config, steps):
    """A FineTuned with its variables and its optimizer.

    Args:
        model: FineTuned.
        config: config.Finetune or config.Distill.
        steps: length.Steps.
    """
    size = config.data.image_size
    model(tf.zeros([1, size, size, config.model.image_channels]), training=False)
    excluded = undecayed_variables(model.encoder, model.head, model.probe)
    if config.optimizer.optimizer == "lars":
        excluded.append(model.probe.dense.kernel)
    curve = length.learning_rate(steps)
    model.compile(optimizer=make_optimizer(config.optimizer, curve, excluded))
    model.optimizer.build(model.trainable_variables)
    model.skips_non_finite = config.training.on_nan == "skip"
    return model
