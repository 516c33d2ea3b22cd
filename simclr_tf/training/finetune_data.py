"""The images of a fine-tuning, with one label each or several."""

import dataclasses

from simclr_tf.data import sources
from simclr_tf.data.info import require_labels
from simclr_tf.training import channels, evaluation_run


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
        names = label_set_names(config.data)
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


def label_set_names(data):
    """The classes of images with several labels each; () for others.

    Args:
        data: config.Data.
    """
    if data.image_dir or data.dataset == "digits":
        return ()
    # tensorflow-datasets takes seconds to import: only where a data set of it has no label
    from simclr_tf.data.multi_label import class_names

    return class_names(data)
