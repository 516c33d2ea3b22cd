"""The images of one data set of the transfer suite: for training, to choose by, for the test."""

import dataclasses

import numpy as np

from simclr_tf.data import sources, subset
from simclr_tf.data.info import SourceInfo, fingerprint_of, require_labels
from simclr_tf.data.multi_label import with_label_sets
from simclr_tf.data.source import Source
from simclr_tf.evaluation.logistic import HELD_OUT, split_held_out
from simclr_tf.evaluation.transfer_sets import TransferSet
from simclr_tf.views import channels


@dataclasses.dataclass(frozen=True)
class TransferData:
    """An opened data set.

    Attributes:
        about: TransferSet.
        train: Source of all training images, validation included; a LabelSets if images have
            several labels.
        test: Source of the same kind, with the same quarantine.
        split: (kept, held out) positions in `train`: hyper-parameters are chosen on the latter.
    """

    about: TransferSet
    train: Source
    test: Source
    split: tuple


def data_settings(config, about):
    """The config.Data of a TransferSet."""
    both = f"{about.train}+{about.validation}" if about.validation else about.train
    return dataclasses.replace(
        config.data,
        dataset=about.dataset or "digits",
        image_dir=about.image_dir,
        train_split=both,
        eval_split=about.test,
    )


def with_metric(config, about):
    """The TransferSet, with the metric of label sets if its images have several labels each."""
    if about.metric != "top_1" or not about.dataset:
        return about
    data = data_settings(config, about)
    several = not sources.describe(data).num_classes and sources.label_set_names(data)
    return dataclasses.replace(about, metric="map_11") if several else about


def describe(config, about):
    """`SourceInfo` of a TransferSet; refuses one without labels, or with other channels."""
    info = sources.describe(data_settings(config, about))
    channels.check(info, config.model)
    if about.metric != "map_11":
        require_labels(info, "--mode=transfer")
    return info


def open_set(config, about):
    """Opens a TransferSet; see TransferData.

    Args:
        config: config.Transfer.
        about: TransferSet.
    """
    data = data_settings(config, about)
    seed = config.run.seed
    train, test = (sources.open_source(data, which, seed) for which in ("train", "eval"))
    test.quarantine = train.quarantine
    if about.metric == "map_11":
        train = with_label_sets(train, data, "train")
        test = with_label_sets(test, data, "eval")
    if about.validation:
        alone = dataclasses.replace(data, train_split=about.train)
        first = sources.describe(alone).num_train  # train comes before validation
        split = np.arange(first), np.arange(first, train.num_examples)
    elif train.targets is not None:
        split = split_held_out(np.zeros(train.num_examples, int), HELD_OUT, seed)
    else:
        split = split_held_out(subset.all_labels(train), HELD_OUT, seed)
    return TransferData(about, train, test, split)


def parts(data):
    """(Source to fit on, Source to choose by) of a TransferData."""
    return tuple(subset.subset(data.train, positions.astype(np.int64)) for positions in data.split)


def combined_info(infos):
    """One SourceInfo that stands for all data sets in the run folder."""
    return SourceInfo(
        name=",".join(info.name for info in infos),
        num_train=sum(info.num_train for info in infos),
        num_eval=sum(info.num_eval for info in infos),
        num_classes=0,
        train_split="",
        eval_split="",
        prepared=True,
        fingerprint=fingerprint_of(*(info.fingerprint for info in infos)),
    )
