"""The door of the room: from settings to `SourceInfo` and `Source`.

The two kinds of source are imported when they are needed, so that describing the digits or a
local folder does not wait for TensorFlow.
"""

import dataclasses
import importlib

from simclr_tf import names
from simclr_tf.data import memory
from simclr_tf.data.info import SourceInfo, require_labels  # noqa: F401 - part of this door
from simclr_tf.errors import DataError, SettingsError

SOURCES = {}
"""{name of --dataset: "module:class"} of the sources that are neither a folder nor of
tensorflow-datasets. The class takes a config.Data and has the methods `info()` and `open(which)`,
see `describe` and `open_source`."""


def _registered(data):
    """The "module:class" of a data set such as squares or squares/small, or None."""
    return None if data.image_dir or data.shards else SOURCES.get(data.dataset.partition("/")[0])


def _set_of(data):
    if _registered(data):
        module, name = _registered(data).split(":")
        return getattr(importlib.import_module(module), name)(data)
    if memory.is_address(data.image_dir):
        return memory.MemorySet(data)
    if data.image_dir:
        from simclr_tf.data.folder import FolderSet
        from simclr_tf.data.path_list import CollectionSet, is_collection

        return CollectionSet(data) if is_collection(data.image_dir) else FolderSet(data)
    if data.shards:
        from simclr_tf.data.shards.shard_set import ShardSet

        return ShardSet(data)
    if not data.dataset:
        raise SettingsError(
            "no images are known, because the weights were imported without them; give "
            "--dataset=NAME, --image_dir=DIR or --shards=PATTERN."
        )
    from simclr_tf.data.tfds_sets import TfdsSet

    return TfdsSet(data)


def describe(data):
    """Sizes, classes and splits of the data set in `data`, without reading an image.

    A well-known data set that is not prepared is described from a table (`prepared` is False).

    Args:
        data: config.Data.
    Returns:
        SourceInfo.
    Raises:
        DataError: unknown data set or split, missing or empty folder, nothing known offline.
    """
    return _set_of(data).info()


def open_source(data, which="train", seed=0):
    """Opens the training or the evaluation images.

    Downloads only if `data.download` is set. Which examples `data.eval_fraction` holds out
    depends on `data.split_seed`, never on `seed`, so that a linear evaluation with another seed
    is not measured on images that were trained on.

    Args:
        data: config.Data.
        which: "train" or "eval".
        seed: int, chooses the example that stands in for an unreadable one.
    Returns:
        Source.
    Raises:
        DataError: as `describe`; also a data set that is not prepared, and `which="eval"` where
            nothing is left to evaluate on.
    """
    found = _set_of(data)
    if which == "eval" and not found.info().num_eval:
        raise DataError(
            f"{names.shown(found.name)} has no image left to evaluate on; give more images, "
            "--eval_split, or --eval_fraction=0.2 to hold some out."
        )
    return _guarded(found.open(which), data, seed)


def open_whole(data, split):
    """Opens every image of a folder, sorted by path, of shards or of a split; none is held out.

    Args:
        data: config.Data.
        split: split of `data.dataset`; a folder is taken whole.
    Returns:
        Source.
    Raises:
        DataError: as `open_source`.
    """
    if memory.is_address(data.image_dir):
        return _guarded(memory.find(data.image_dir).source(), data)
    if data.image_dir:
        from simclr_tf.data.folder import open_folder
        from simclr_tf.data.path_list import CollectionSet, is_collection

        if is_collection(data.image_dir):
            whole = dataclasses.replace(data, train_split="train", eval_split="")
            return _guarded(CollectionSet(whole).whole(), data)
        return _guarded(open_folder(data.image_dir, data.follow_links, data.image_formats), data)
    if data.shards:
        return _guarded(_set_of(data).whole(), data)
    # An evaluation split of its own is what keeps a share from being held out.
    return open_source(dataclasses.replace(data, train_split=split, eval_split=split))


def _guarded(source, data, seed=0):
    from simclr_tf.data.quarantine import Quarantine

    source.seed = seed
    source.max_image_pixels = data.max_image_pixels
    if data.value_range:
        from simclr_tf.data import value_range

        source.value_range = value_range.limits(
            value_range.settled(data.value_range, lambda: source)
        )
    own = data.is_folder or bool(data.shards)  # data sets with a name are read as others read them
    source.converts_profiles = own and data.image_formats == "all"
    source.quarantine = Quarantine(data.strict_data)
    return source


def with_settled_range(data):
    """`data` with value_range=auto replaced by what some training images hold; others unchanged."""
    if data.value_range != "auto" or not (data.image_dir or data.shards):
        return data
    from simclr_tf.data import value_range

    plain = dataclasses.replace(data, value_range="")
    found = value_range.settled("auto", lambda: open_source(plain))
    return dataclasses.replace(data, value_range=found)


def look(data, source=None):
    """Decodes a few training images of a folder or of shards before the work.

    Args:
        data: config.Data.
        source: the opened training images, if they are open already.
    Returns:
        value_range.Look, or None for images of a data set with a name or in memory.
    Raises:
        DataError: none of many images can be used.
    """
    if not (data.image_dir or data.shards) or memory.is_address(data.image_dir):
        return None
    from simclr_tf.data import value_range

    source = source or open_source(data)
    return value_range.look(source, source.value_range)


def label_set_names(data):
    """The classes of images with several labels each; () for others.

    Args:
        data: config.Data.
    """
    if data.image_dir or data.shards or data.dataset == "digits" or _registered(data):
        return ()
    # tensorflow-datasets takes seconds to import: only where a data set of it has no label
    from simclr_tf.data.multi_label import class_names

    return class_names(data)
