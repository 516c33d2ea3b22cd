"""`--shards`: which records train, which evaluate, and what their classes are."""

import dataclasses
import hashlib
import json
import os

import numpy as np

from simclr_tf import names
from simclr_tf.data.holdout import held_out, share_of
from simclr_tf.data.info import Facts, SourceInfo, fingerprint_of
from simclr_tf.data.shards import entry, index
from simclr_tf.data.shards.source import ShardSource
from simclr_tf.errors import DataError, SettingsError, first_line
from simclr_tf.stack import tf

MANIFEST = "manifest.json"
_MOST_MANIFEST = 2**26  # bytes


@dataclasses.dataclass(frozen=True)
class _Part:
    """The records of one setting of shards, with labels as numbers of the common classes."""

    shards: tuple
    labels: np.ndarray

    @property
    def records(self):
        return len(self.labels)

    def fingerprint(self):
        """Depends on names without folders, sizes of records, and labels."""
        digest = hashlib.sha256()
        for shard in self.shards:
            digest.update(f"{os.path.basename(shard.path)}:{shard.records}:".encode("utf-8", "surrogateescape"))  # fmt: skip
            digest.update(shard.lengths.astype("<i8").tobytes())
        digest.update(self.labels.astype("<i4").tobytes())
        return digest.hexdigest()[:16]


class ShardSet:
    """The shards of a config.Data and how they are split."""

    def __init__(self, data):
        self._data = data
        self.name = data.shards
        if data.eval_split or data.train_split != "train":
            raise SettingsError(
                "shards have no splits with names; leave out --train_split and --eval_split, and "
                "name shards to evaluate on by --eval_shards."
            )
        self._parts = None

    def _read(self):
        """({"train": _Part, "eval": _Part or None}, class names)."""
        if self._parts is None:
            data = self._data
            keys = entry.Keys(data.shard_image_key, data.shard_label_key)
            found = {"train": index.find(data.shards, keys, data.shard_index)}
            if data.eval_shards:
                found["eval"] = index.find(data.eval_shards, keys, data.shard_index, "eval_shards")
            self._parts = _with_classes(found, data.shard_label_offset)
        return self._parts

    def _chosen(self, which):
        """(_Part, bool [n]: which of its records belong to the images `which`)."""
        parts, _ = self._read()
        if "eval" in parts:
            part = parts[which]
            return part, np.ones(part.records, bool)
        out = held_out(parts["train"].labels, self._data.eval_fraction, self._data.split_seed)
        return parts["train"], out == (which == "eval")

    def info(self):
        """`SourceInfo`; see `sources.describe`."""
        parts, class_names = self._read()
        train, trained = self._chosen("train")
        evaluated, chosen = self._chosen("eval")
        if not trained.any():
            raise DataError(f"shards={names.shown(self.name)} hold no record; give others.")
        num_eval = int(chosen.sum())
        labels = train.labels[trained]
        sizes = np.bincount(labels[labels >= 0], minlength=len(class_names))
        unlabelled = int((evaluated.labels[chosen] < 0).sum()) if class_names else 0
        empty = sum(not shard.records for part in parts.values() for shard in part.shards)
        notes = (f"{empty:,} of the shards hold no record",) if empty else ()
        return SourceInfo(
            name=self.name,
            num_train=int(trained.sum()),
            num_eval=num_eval,
            num_classes=len(class_names),
            train_split=f"{len(train.shards):,} shards",
            eval_split=self._data.eval_shards or f"{num_eval:,} records, held out",
            prepared=True,
            fingerprint=self._fingerprint(trained),
            classes=tuple(zip(class_names, sizes.tolist())),
            no_labels="" if class_names else "their records have none that could be read",
            unlabelled_eval=f"{unlabelled:,} evaluation records have no label"
            if unlabelled
            else "",  # fmt: skip
            held_out=self._held_out_in_words(num_eval, train.records, bool(class_names)),
            notes=notes,
        )

    def _fingerprint(self, trained):
        parts, class_names = self._read()
        return fingerprint_of(
            *(f"{which}:{part.fingerprint()}" for which, part in sorted(parts.items())),
            self._data.shard_image_key,
            *class_names,
            hashlib.sha256(trained.tobytes()).hexdigest(),
        )

    def _held_out_in_words(self, count, total, has_labels):
        if self._data.eval_shards:
            return f"{count:,} images of {self._data.eval_shards}"
        share = share_of(self._data.eval_fraction, has_labels)
        if share:
            return f"{count:,} of {total:,} images to measure on ({share:g}, by seed)"
        if self._data.eval_fraction == 0:
            return "nothing (--eval_fraction=0)"
        return "nothing: without labels every image trains"

    def open(self, which):
        """A `Source`; see `sources.open_source`."""
        part, chosen = self._chosen(which)
        _, trained = self._chosen("train")
        return self._source(part, np.flatnonzero(chosen), fingerprint_of(self._fingerprint(trained), which))  # fmt: skip

    def whole(self):
        """A `Source` of every record of `shards`."""
        part = self._read()[0]["train"]
        return self._source(part, np.arange(part.records), part.fingerprint())

    def _source(self, part, records, fingerprint):
        facts = Facts(
            name=self.name,
            num_examples=len(records),
            class_names=self._read()[1],
            fingerprint=fingerprint,
        )
        return ShardSource(
            facts, part.shards, records, part.labels[records], self._data.shard_image_key
        )


def _with_classes(found, offset):
    """({which: _Part}, class names) of {which: tuple of Shard}.

    Labels are numbers less the offset, below 0 for none; or texts, whose sorted names are the
    classes.
    """
    shards = [shard for part in found.values() for shard in part]
    if any(shard.texts for shard in shards):
        class_names, labels = _of_texts(found)
    else:
        class_names, labels = _of_numbers(found, shards, offset)
    return {which: _Part(found[which], labels[which]) for which in found}, class_names


def _of_texts(found):
    def texts_of(shard):
        if shard.texts:
            return shard.texts, shard.labels
        values = np.unique(shard.labels[shard.labels >= 0])
        places = np.searchsorted(values, shard.labels)
        return tuple(map(str, values)), np.where(shard.labels < 0, -1, places)

    coded = {which: [texts_of(shard) for shard in part] for which, part in found.items()}
    every = sorted({text for part in coded.values() for texts, _ in part for text in texts})
    if len(every) > entry.MOST_LABEL + 1:
        raise DataError(
            f"the labels of the shards are {len(every):,} different texts, of which "
            f"{entry.MOST_LABEL + 1:,} can be classes; name another key by --shard_label_key."
        )
    place = {text: number for number, text in enumerate(every)}
    labels = {}
    for which, part in coded.items():
        columns = [np.zeros(0, np.int64)]
        for texts, codes in part:
            numbers = np.asarray([*(place[text] for text in texts), -1], np.int64)  # -1 is the last
            columns.append(numbers[codes])
        labels[which] = np.concatenate(columns).astype(np.int32)
    return tuple(every), labels


def _of_numbers(found, shards, offset):
    labels = {}
    for which, part in found.items():
        values = np.concatenate([np.zeros(0, np.int64), *(shard.labels for shard in part)])
        values = np.where(values < 0, -1, values - offset)
        if len(values) and values.max() > entry.MOST_LABEL:
            raise DataError(
                f"the shards have the label {values.max():,}, and classes are numbers up to "
                f"{entry.MOST_LABEL:,}; name another key by --shard_label_key, or subtract a number "
                "by --shard_label_offset."
            )
        labels[which] = np.maximum(values, -1).astype(np.int32)
    count = max((int(values.max()) + 1 for values in labels.values() if len(values)), default=0)
    stored = _stored_names(shards) if count and not offset else ()
    class_names = stored if len(stored) >= count else tuple(map(str, range(count)))
    return class_names, labels


def _stored_names(shards):
    """The class names that all Parquet shards or a manifest of `--mode=pack` tell, else ()."""
    told = {shard.class_names for shard in shards if shard.records}
    if told == {()}:
        return _manifest_names(os.path.dirname(shards[0].path))
    return told.pop() if len(told) == 1 else ()


def _manifest_names(folder):
    path = os.path.join(folder, MANIFEST)
    try:
        if not tf.io.gfile.exists(path) or tf.io.gfile.stat(path).length > _MOST_MANIFEST:
            return ()
        with tf.io.gfile.GFile(path, "rb") as file:
            found = json.loads(file.read())
        found = found.get("class_names") if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        return ()
    except (OSError, tf.errors.OpError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}); check it.") from error
    if not isinstance(found, list) or len(found) > entry.MOST_LABEL + 1:
        return ()
    return tuple(name[: entry.MOST_TEXT] for name in found) if all(isinstance(name, str) for name in found) else ()  # fmt: skip
