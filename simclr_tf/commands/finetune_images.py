"""The images of a fine-tuning, with one label each or several."""

import dataclasses

from simclr_tf.commands import evaluation_run
from simclr_tf.data import sources, subset
from simclr_tf.data.info import require_labels
from simclr_tf.views import channels


def describe(config):
    """`SourceInfo` of images, with one label each or several, that the encoder can take."""
    info = sources.describe(config.data)
    channels.check(info, config.model)
    if not info.num_classes:
        names = sources.label_set_names(config.data)
        info = dataclasses.replace(info, num_classes=len(names), label_sets=bool(names))
    require_labels(info, "--mode=finetune")
    return info


def open_pair(config, info):
    """(training Source, evaluation Source), both `LabelSets` if images have several labels."""
    pair = evaluation_run.open_pair(config)
    if not info.label_sets:
        return pair
    # tensorflow-datasets takes seconds to import
    from simclr_tf.data.multi_label import with_label_sets

    return [with_label_sets(one, config.data, w) for one, w in zip(pair, ("train", "eval"))]


def labelled_share(train, settings):
    """The Source of the training images whose labels are used; settings: config.FineTuning."""
    return subset.labelled_subset(train, settings.label_fraction, settings.label_seed)
