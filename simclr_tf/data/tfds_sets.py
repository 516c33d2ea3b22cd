"""Any image data set of tensorflow-datasets, by name: what it holds and how it is opened."""

import contextlib
import difflib
import json
import re

from simclr_tf.data import sizes
from simclr_tf.data.holdout import held_out_count, share_of
from simclr_tf.data.info import Facts, SourceInfo, fingerprint_of
from simclr_tf.errors import DataError, first_line

_NAME = re.compile(r"\w+(/[\w.+-]+)?")  # without arguments, which TFDS would take behind a comma
_VERSION = re.compile(r"(\d+|\*)\.(\d+|\*)\.(\d+|\*)")
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")  # of features.json
_OWN = "tensorflow_datasets."


def _unknown(name):
    import tensorflow_datasets as tfds

    base = name.split("/")[0].split(":")[0]
    if base in sizes.NOT_IN_TFDS:
        return DataError(
            f"dataset={name} is not part of tensorflow-datasets; download it yourself and give "
            "its folder with --image_dir."
        )
    names = ["digits"] + tfds.list_builders(with_community_datasets=False)
    near = difflib.get_close_matches(base.lower(), names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "see tensorflow.org/datasets/catalog"
    return DataError(
        f"unknown dataset={name}; give digits or the name of a tensorflow-datasets image set "
        f"({hint}), or your own folder with --image_dir."
    )


def _check_name(name):
    """The base name and configuration of `name`, after checking both.

    Raises:
        DataError: unknown data set or configuration.
    """
    import tensorflow_datasets as tfds

    base, _, config = name.split(":")[0].partition("/")
    if ":" in name and not _VERSION.fullmatch(name.split(":", 1)[1]):
        raise DataError(
            f"dataset={name} names a community data set, whose code would be fetched and run; give "
            "one of tensorflow.org/datasets/catalog, or your own folder with --image_dir."
        )
    if not _NAME.fullmatch(name.split(":")[0]):
        raise _unknown(name)
    try:
        configs = list(tfds.builder_cls(base).builder_configs)
    except tfds.core.DatasetNotFoundError:
        return  # perhaps prepared files whose code is not installed
    if config and config not in configs:
        near = difflib.get_close_matches(config, configs, n=3, cutoff=0.3) or configs[:10]
        known = f"it has {', '.join(near)}" if near else f"it has none, write dataset={base}"
        raise DataError(f"{base} has no configuration {config}; {known}.")


def _check_features(name, data_dir):
    """Refuses prepared files that name classes outside tensorflow-datasets.

    tensorflow-datasets imports whatever module the file of the features names.

    Raises:
        DataError: they do.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import file_utils

    base = name.split(":")[0].split("/")[0]
    for folder in file_utils.list_data_dirs(given_data_dir=data_dir or None):
        versions = _folders_in(tfds.core.as_path(folder) / base)  # or configurations with versions
        for place in [*versions, *(inner for one in versions for inner in _folders_in(one))]:
            path = place / "features.json"
            foreign = [one for one in _class_names(path) if not one.startswith(_OWN)]
            if foreign:
                raise DataError(
                    f"{path} names {foreign[0]!r}, code that would be imported from outside "
                    "tensorflow-datasets; prepare the data set anew with --download, or give its "
                    "images as a folder with --image_dir."
                )


def _folders_in(folder):
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except Exception:  # whatever a remote file system raises; TFDS says the same later
        return []


def _class_names(path):
    """Every class that a features.json names; none of a damaged file, which TFDS tells itself."""
    try:
        waiting = [json.loads(path.read_text())]
    except Exception:  # missing, damaged, or whatever a remote file system raises
        return []
    found = []
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found += [one[key] for key in _CLASS_KEYS if isinstance(one.get(key), str)]
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and one.lstrip()[:1] in (
            "{",
            "[",
        ):  # older files hold JSON in a text
            with contextlib.suppress(ValueError, RecursionError):
                waiting.append(json.loads(one))
    return [text for text in found if "." in text]


def find_builder(name, data_dir):
    """The tensorflow-datasets builder of `name`, prepared or not; nothing is downloaded.

    Raises:
        DataError: unknown name or configuration.
    """
    import tensorflow_datasets as tfds

    _check_name(name)
    _check_features(name, data_dir)
    where = data_dir or None
    try:
        builder = tfds.builder(name, data_dir=where)
    except tfds.core.DatasetNotFoundError:
        raise _unknown(name) from None
    except (
        ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError, OSError,
        ImportError,
    ) as error:  # fmt: skip
        raise DataError(
            f"dataset={name} cannot be used ({first_line(error)}); see "
            "tensorflow.org/datasets/catalog."
        ) from error
    if not builder.info.splits:  # another version than the newest may be on the disk
        try:
            return tfds.core.read_only_builder.builder_from_files(name, data_dir=where)
        except (tfds.core.DatasetNotFoundError, ValueError, OSError):
            return builder
    return builder


class TfdsSet:
    """A tensorflow-datasets name (or digits) with the splits that `data` chooses."""

    def __init__(self, data):
        self.name = data.dataset
        self._data = data
        self._builder = None

    def _find(self):
        if self._builder is None:
            self._builder = find_builder(self.name, self._data.data_dir)
        return self._builder

    def info(self):
        """`SourceInfo`; see `sources.describe`."""
        if self.name == "digits":
            return self._from_table(*sizes.KNOWN["digits"], prepared=True)
        builder = self._find()
        if not builder.info.splits:
            known = sizes.known_size(self.name)
            if known is None:
                raise self._not_prepared(builder)
            return self._from_table(*known, prepared=False)
        from simclr_tf.data.tfds_features import class_names

        splits = builder.info.splits
        num_classes = len(class_names(builder.info.features))

        def size_of(split):
            try:
                return splits[split].num_examples
            except (KeyError, ValueError, AssertionError):
                return None

        return self._describe(size_of, splits, num_classes, True)

    def _from_table(self, splits, num_classes, prepared):
        def size_of(split):
            return sizes.size_of_split(splits, split)

        return self._describe(size_of, splits, num_classes, prepared)

    def _describe(self, size_of, splits, num_classes, prepared):
        data = self._data
        num_train = self._size(size_of, splits, data.train_split)
        evaluated = data.eval_split or sizes.default_eval_split(self.name, splits)
        train_words = data.train_split
        eval_words = evaluated
        if evaluated:
            num_eval = self._size(size_of, splits, evaluated)
            held_out = f"{num_eval:,} images of {evaluated}"
        else:
            share = share_of(data.eval_fraction, self._has_labels(num_classes))
            num_eval = held_out_count(num_train, share)
            held_out = "nothing (--eval_fraction=0)" if data.eval_fraction == 0 else "nothing: without labels every image trains"  # fmt: skip
            if share:
                held_out = f"{num_eval:,} of {num_train:,} images to measure on ({share:g} of {data.train_split})"  # fmt: skip
                train_words += " without the held-out share"
            eval_words = f"{share:g} of {data.train_split}, held out" if share else "none"
            num_train -= num_eval
        return SourceInfo(
            name=self.name,
            num_train=num_train,
            num_eval=num_eval,
            num_classes=num_classes,
            train_split=train_words,
            eval_split=eval_words,
            prepared=prepared,
            fingerprint=fingerprint_of(
                self.name, train_words, num_train, eval_words, num_eval, data.split_seed
            ),
            held_out=held_out,
        )

    def _has_labels(self, num_classes):
        """Whether examples have a class, or several."""
        if num_classes or self.name == "digits":
            return True
        from simclr_tf.data.multi_label import class_names

        return bool(class_names(self._data))

    def _share(self):
        """The share of the training split that is held out where there is no evaluation split."""
        return share_of(self._data.eval_fraction, self._has_labels(self.info().num_classes))

    def _size(self, size_of, splits, split):
        size = size_of(split)
        if size is None:
            raise DataError(
                f"{self.name} has no split {split}; it has {', '.join(sorted(splits))}, and parts "
                "such as train[:90%]."
            )
        if size == 0:
            raise DataError(f"split {split} of {self.name} is empty; choose another one.")
        return size

    def _not_prepared(self, builder):
        folder = self._data.data_dir or builder.data_dir
        return DataError(
            f"dataset={self.name} is not prepared in {folder}; add --download to let "
            "tensorflow-datasets fetch it, or give the folder that holds it with --data_dir."
        )

    def _prepared(self):
        """The builder with its files in place, downloading if that is allowed."""
        if self.name == "digits":
            from simclr_tf.data import digits

            return digits.prepared_builder(self._data.data_dir)
        builder = self._find()
        if builder.info.splits:
            return builder
        if not self._data.download:
            raise self._not_prepared(builder)
        try:
            builder.download_and_prepare()
        except Exception as error:  # any kind of network, archive or manual-download failure
            raise DataError(
                f"dataset={self.name} could not be downloaded and prepared in "
                f"{builder.data_dir} ({first_line(error)}); check the network, or give the "
                "folder that holds it with --data_dir."
            ) from error
        return builder

    def choice(self, which):
        """(split, tfds_reading.Part of it or None for all) of the images `which`; prepared only."""
        from simclr_tf.data import tfds_reading

        data = self._data
        splits = self._prepared().info.splits
        own_eval = data.eval_split or sizes.default_eval_split(self.name, splits)
        if own_eval:
            return own_eval if which == "eval" else data.train_split, None
        share = self._share()
        if not share and which == "train":
            return data.train_split, None
        return data.train_split, tfds_reading.Part(which, share, data.split_seed)

    def open(self, which):
        """A `Source`; see `sources.open_source`."""
        from simclr_tf.data import tfds_features, tfds_reading

        builder = self._prepared()
        info = self.info()
        split, part = self.choice(which)
        facts = Facts(
            name=self.name,
            num_examples=info.num_eval if which == "eval" else info.num_train,
            class_names=tfds_features.class_names(builder.info.features),
            fingerprint=fingerprint_of(info.fingerprint, which),
        )
        return tfds_reading.open_split(
            builder, split, part, facts, self._data.cache_dataset, bool(self._data.value_range)
        )
