"""The index of shards: where each record lies and what its label is.

It is built once, with a progress bar, and kept in a file. A shard whose name, size and time are
those of the stored index is not read again.
"""

import concurrent.futures
import dataclasses
import hashlib
import io
import json
import logging
import os
import threading
import time
import zipfile

import numpy as np
from tqdm.auto import tqdm

from simclr_tf import names
from simclr_tf.data.shards import entry, opening, parquets, patterns, tars, tfrecords
from simclr_tf.errors import DataError, UserError, first_line
from simclr_tf.files import is_remote, write_atomically
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)
_VERSION = 1
_READERS = {"tfrecord": tfrecords, "tar": tars, "parquet": parquets}
_ARRAYS = ("offsets", "lengths", "labels", "groups")
_AT_ONCE = 8  # shards that are indexed at the same time
_SAVE_SECONDS = 60.0  # between two savings of an unfinished index
_built = {}  # {(paths, stamps, keys): tuple of Shard}, of this process
_MOST_BUILT = 4


def find(text, keys, folder="", flag="shards"):
    """The index of the shards that a setting names.

    Args:
        text: the setting, see `patterns.shard_paths`.
        keys: entry.Keys.
        folder: where it is kept from one command to the next; "" for nowhere.
        flag: name of the setting.
    Returns:
        tuple of entry.Shard, sorted by path.
    Raises:
        DataError: a shard cannot be read, or they are of different formats.
    """
    stamps = {path: _stamp(path) for path in patterns.shard_paths(text, flag)}
    key = (tuple(stamps.items()), keys)
    if key not in _built:
        if len(_built) >= _MOST_BUILT:
            _built.pop(next(iter(_built)))
        _built[key] = _find(text, stamps, keys, folder)
    return _built[key]


def _find(text, stamps, keys, folder):
    place = os.path.join(folder, f"{_digest(text, keys)}.npz") if folder else ""
    known = {shard.path: shard for shard in _load(place, keys)} if place else {}
    done = {
        path: known[path]
        for path, stamp in stamps.items()
        if path in known and (known[path].size, known[path].mtime) == stamp
    }
    missing = [path for path in stamps if path not in done]
    if missing:
        _build(missing, stamps, keys, done, place)
    shards = tuple(done[path] for path in sorted(done))
    kinds = {shard.kind: shard.path for shard in shards}
    if len(kinds) > 1:
        (first, one), (second, other) = list(kinds.items())[:2]
        raise DataError(
            f"{one} is a {first} file and {other} a {second} file; give shards of one format."
        )
    return shards


def _build(missing, stamps, keys, done, place):
    """Indexes shards, a few at once, and saves what is there now and then."""
    saved = time.monotonic()
    stop = threading.Event()

    def one(path):
        return None if stop.is_set() else _index(path, *stamps[path], keys)

    bar = tqdm(total=len(missing), desc="index of the shards", unit="shard", mininterval=1.0)
    with bar, concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for shard in pool.map(one, missing):
                done[shard.path] = shard
                bar.update()
                if place and time.monotonic() - saved > _SAVE_SECONDS:
                    _save(place, done.values(), keys)
                    saved = time.monotonic()
        finally:
            stop.set()  # the others need not be read when one fails or the user stops it
    if place:
        _save(place, done.values(), keys)


def _stamp(path):
    """(bytes, time of the last change in nanoseconds) of a file."""
    try:
        if is_remote(path):
            about = tf.io.gfile.stat(path)
            return int(about.length), int(about.mtime_nsec)
        about = os.stat(path)
        return int(about.st_size), int(about.st_mtime_ns)
    except (OSError, tf.errors.OpError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}); check it.") from error


def _index(path, size, mtime, keys):
    """An entry.Shard, by reading the file."""
    try:
        with opening.opened(path) as file:
            head = file.read(512)
        if not size:
            kind, found = "", dict.fromkeys(_ARRAYS, np.zeros(0, np.int64))
        else:
            kind = opening.kind_of(names.shown(path), head)
            found = _READERS[kind].index(path, size, keys)
    except UserError:
        raise
    except (OSError, tf.errors.OpError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}); check it.") from error
    return entry.Shard(path=path, size=size, mtime=mtime, kind=kind, **found)


def _digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _save(place, shards, keys):
    """Writes the index; where that fails it is built again the next time, and a note says so."""
    shards = list(shards)
    about = [
        {
            name: value
            for name, value in vars(shard).items()
            if name not in _ARRAYS
        }
        | {name: len(getattr(shard, name)) for name in _ARRAYS}
        for shard in shards
    ]  # fmt: skip
    header = json.dumps({"version": _VERSION, "keys": dataclasses.astuple(keys), "shards": about})
    arrays = {name: np.concatenate([getattr(s, name) for s in shards]) for name in _ARRAYS}
    content = io.BytesIO()
    np.savez(content, header=np.frombuffer(header.encode(), np.uint8), **arrays)
    try:
        tf.io.gfile.makedirs(os.path.dirname(place))
        write_atomically(place, content.getvalue())
    except (DataError, tf.errors.OpError) as error:
        _LOG.warning("the index of the shards is not kept (%s)", first_line(error))


def _load(place, keys):
    """The shards of a stored index, () if there is none that can be used."""
    if not tf.io.gfile.exists(place):
        return ()
    try:
        with tf.io.gfile.GFile(place, "rb") as file:
            stored = np.load(io.BytesIO(file.read()), allow_pickle=False)
        header = json.loads(stored["header"].tobytes())
        if header["version"] != _VERSION or header["keys"] != list(dataclasses.astuple(keys)):
            return ()
        arrays = {name: stored[name] for name in _ARRAYS}
        return tuple(_shards_of(header["shards"], arrays))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, RecursionError, tf.errors.OpError) as error:  # fmt: skip
        _LOG.warning("the index %s is damaged and is built again (%s)", place, first_line(error))
        return ()


def _shards_of(about, arrays):
    """Shards from the parts of a stored index, checked."""
    if any(values.dtype != np.int64 or values.ndim != 1 for values in arrays.values()):
        raise ValueError("other types")
    begin = dict.fromkeys(_ARRAYS, 0)
    for one in about:
        parts = {}
        for name in _ARRAYS:
            end = begin[name] + int(one[name])
            parts[name] = arrays[name][begin[name] : end]
            begin[name] = end
        fields = {name: value for name, value in one.items() if name not in _ARRAYS}
        shard = entry.Shard(
            **{
                **fields,
                **parts,
                "texts": tuple(one["texts"]),
                "class_names": tuple(one["class_names"]),
            }  # fmt: skip
        )
        in_bytes = shard.kind != "parquet"
        ends = shard.offsets + shard.lengths
        sizes = {len(shard.offsets), len(shard.lengths), len(shard.labels)}
        if len(sizes) > 1 or shard.kind not in (*_READERS, ""):
            raise ValueError("parts of other sizes")
        if in_bytes and shard.records and (shard.offsets.min() < 0 or shard.lengths.min() < 0 or ends.max() > shard.size):  # fmt: skip
            raise ValueError("records outside their shard")
        yield shard
