"""Images become TFRecord shards: seeded order, one file after the other, resumable.

Each record is a tf.train.Example with the keys of ImageNet's records on TPUs: image/encoded (the
bytes of the file, unchanged), image/filename, and with labels image/class/label (from 0) and
image/class/text.
"""

import concurrent.futures
import dataclasses
import itertools
import json
import os
import typing

from tqdm.auto import tqdm

from simclr_tf import names
from simclr_tf.data import order, stacks
from simclr_tf.data.shards import tfrecords
from simclr_tf.data.shards.shard_set import MANIFEST
from simclr_tf.errors import DataError, SettingsError, first_line
from simclr_tf.files import remove_leftovers, write_atomically, writing
from simclr_tf.stack import tf
from simclr_tf.version import __version__

_FORMAT = 1
_READERS = 8  # files that are read at the same time
_AT_ONCE = 64  # images that wait in memory for the writer


@dataclasses.dataclass(frozen=True)
class Packing:
    """What is written.

    Attributes:
        sources: {"train": Source, "validation": Source or absent}.
        fingerprint: of the images.
        name: of the images, for people.
        output: folder of the shards.
        images_per_shard, seed: the order of the images follows from them.
    """

    sources: typing.Dict[str, typing.Any]
    fingerprint: str
    name: str
    output: str
    images_per_shard: int
    seed: int

    def __post_init__(self):
        for source in self.sources.values():
            if source.channels != stacks.RGB:
                raise SettingsError(
                    f"{names.shown(self.name)} holds images of {source.channels} channels, and "
                    "shards hold images of 3; train on the folder by --image_dir."
                )

    def shards(self):
        """[(file name, split, first place, end)] of every shard."""
        found = []
        for split, source in self.sources.items():
            total = -(-source.num_examples // self.images_per_shard)
            for number in range(total):
                begin = number * self.images_per_shard
                end = min(begin + self.images_per_shard, source.num_examples)
                found.append((f"{split}-{number:05d}-of-{total:05d}", split, begin, end))
        return found


def pack(packing):
    """Writes the shards that are not there yet, and the manifest.

    Args:
        packing: Packing.
    Returns:
        the content of the manifest.
    Raises:
        SettingsError: the folder holds shards of other images or settings.
        DataError: it cannot be written, or no image can be read.
    """
    path = os.path.join(packing.output, MANIFEST)
    manifest = _begun(packing, path)
    done = {one["name"]: one for one in manifest["shards"]}
    images = sum(source.num_examples for source in packing.sources.values())
    bar = tqdm(total=images, desc="pack", unit="image", mininterval=1.0)
    with bar, concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        for name, split, begin, end in packing.shards():
            target = os.path.join(packing.output, name)
            if name not in done or _size(target) != done[name]["bytes"]:
                done[name] = _write_shard(packing, target, split, begin, end, pool, manifest)
                manifest["shards"] = [done[key] for key in sorted(done)]
                _save(path, manifest)
            bar.update(end - begin)
    if not any(one["records"] for one in manifest["shards"]):
        raise DataError(f"no image of {names.shown(packing.name)} can be read; check the folder.")
    manifest["complete"] = True
    _save(path, manifest)
    return manifest


def _begun(packing, path):
    """The manifest of a packing that was begun, or a new one."""
    identity = {
        "format": _FORMAT,
        "fingerprint": packing.fingerprint,
        "images_per_shard": packing.images_per_shard,
        "seed": packing.seed,
    }
    try:
        tf.io.gfile.makedirs(packing.output)
        remove_leftovers(packing.output)
        inside = tf.io.gfile.listdir(packing.output)
        if MANIFEST in inside:
            return _resumed(packing, path, identity)
    except tf.errors.OpError as error:
        raise DataError(f"cannot write {packing.output} ({first_line(error)}); choose another --output.") from error  # fmt: skip
    if inside:
        raise SettingsError(
            f"{packing.output} is not empty and holds no {MANIFEST}; give a new folder as --output."
        )
    class_names = list(packing.sources["train"].class_names)
    manifest = {
        **identity,
        "made_by": f"simclr_tf {__version__}",
        "images": names.shown(packing.name),
        "class_names": [names.as_text(name) for name in class_names],
        "keys": {"image": tfrecords.IMAGE, "label": tfrecords.LABEL},
        "complete": False,
        "shards": [],
        "left_out": [],
    }
    _save(path, manifest)
    return manifest


def _resumed(packing, path, identity):
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            manifest = json.loads(file.read())
        fits = isinstance(manifest["shards"], list) and isinstance(manifest["left_out"], list)
        stored = {name: manifest[name] for name in identity}
    except (ValueError, KeyError, TypeError, RecursionError):
        fits, stored = False, None
    if not fits:
        raise DataError(f"{path} is damaged; remove the folder, or give another --output.")
    if stored != identity:
        pairs = ", ".join(f"{n} {identity[n]} (was {stored[n]})" for n in identity if stored[n] != identity[n])  # fmt: skip
        raise SettingsError(
            f"{packing.output} holds shards of other images or settings: {pairs}; repeat the old "
            "command to go on, or give another --output."
        )
    return manifest


def _save(path, manifest):
    write_atomically(path, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def _size(path):
    """Bytes of a file, -1 if it is not there."""
    return int(tf.io.gfile.stat(path).length) if tf.io.gfile.exists(path) else -1


def _write_shard(packing, target, split, begin, end, pool, manifest):
    """Writes one shard; returns what the manifest says of it."""
    source = packing.sources[split]
    places = tf.range(begin, end, dtype=tf.int64)
    ids, _ = order.shuffled_ids(places, source.num_examples, packing.seed)
    root = _common_folder(source)
    records = 0
    with writing(target) as temporary, tf.io.TFRecordWriter(temporary) as writer:
        numbers = iter(ids.numpy().tolist())
        while chunk := list(itertools.islice(numbers, _AT_ONCE)):
            for number, (image, reason) in zip(chunk, pool.map(lambda n: _read(source, n), chunk)):
                name = names.as_text(source.names(number, number + 1)[0])
                if reason is not None:
                    manifest["left_out"].append({"name": names.shown(name), "reason": names.shown(reason)})  # fmt: skip
                    continue
                writer.write(_record(image, int(source.labels[number]), name[len(root) :], source))
                records += 1
        writer.close()  # before the file gets its name
    return {"name": os.path.basename(target), "records": records, "bytes": _size(target)}


def _read(source, number):
    """(encoded image, None) or (None, why it cannot be read)."""
    reference, _ = source.fetch(tf.constant(number, tf.int64))
    image, reason = source.encoded(reference.numpy())
    return (None, "empty file") if reason is None and not image else (image, reason)


def _common_folder(source):
    """What the names of all images begin with, up to a slash: ids are sorted by name."""
    ends = [source.names(0, 1)[0], source.names(source.num_examples - 1, source.num_examples)[0]]
    common = os.path.commonprefix([names.as_text(name) for name in ends])
    return common[: common.rfind("/") + 1]


def _record(image, label, name, source):
    def texts(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {tfrecords.IMAGE: texts(image), "image/filename": texts(name.encode())}
    if label >= 0:
        features[tfrecords.LABEL] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
        features["image/class/text"] = texts(names.as_text(source.class_names[label]).encode())
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(
        deterministic=True
    )
