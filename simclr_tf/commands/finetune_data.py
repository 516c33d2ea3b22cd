"""The images of a fine-tuning, with one label each or several."""

import dataclasses

from simclr_tf.commands import evaluation_run
from simclr_tf.data import sources
from simclr_tf.data.info import require_labels
from simclr_tf.views import channels


def describe(config):
    """`SourceInfo` of labelled images that the encoder can take.

    Args:
        config: resolved config.Finetune.
    Raises:
        DataError: no labels, or another number of channels.
    """
    info = sources.describe(config.data)
    channels.check(info, config.model)
    if not info.num_classes:
        names = sources.label_set_names(config.data)
        info = dataclasses.replace(info, num_classes=len(names), label_sets=bool(names))
    require_labels(info, "--mode=finetune")
    return info


def open_pair(config, info):
    """(training Source, evaluation Source), both `LabelSets` if images have several labels.

    Args:
        config: resolved config.Finetune; info: of `describe`.
    """
    pair = evaluation_run.open_pair(config)
    if not info.label_sets:
        return pair
    from simclr_tf.data.multi_label import with_label_sets

    return [with_label_sets(one, config.data, w) for one, w in zip(pair, ("train", "eval"))]
