"""The index of a search: h of every image file of a folder, kept from one search to the next.

A file that did not change since (size and time of modification) keeps its row; the others are
embedded. An interrupted embedding goes on where it was.
"""

import dataclasses
import hashlib
import os
import typing

import numpy as np

from simclr_tf import phases
from simclr_tf.data.subset import subset
from simclr_tf.embedding import finished, stored, stream, tables
from simclr_tf.embedding.parts import Parts
from simclr_tf.names import shown
from simclr_tf.stack import tf

NAME = "index.npz"
_BLOCK = 1024


@dataclasses.dataclass(frozen=True)
class Update:
    """What has to be done for an index to be true again.

    Attributes:
        origin: int64 [n], for each image: which of the stores has its row, -1 for none.
        row: int64 [n], its row there.
    """

    origin: np.ndarray
    row: np.ndarray

    @property
    def missing(self):
        """int64 [m], ids of the images that have to be embedded."""
        return np.flatnonzero(self.origin < 0)


def plan(paths, states, stores):
    """Finds the rows that are still true.

    Args:
        paths: list of str, names of the images in order.
        states: finished.FileStates of them, or None where they are no files.
        stores: Stored that were made by this encoder; the first one that has a row gives it.
    Returns:
        Update.
    """
    origin = np.full(len(paths), -1, np.int64)
    row = np.zeros(len(paths), np.int64)
    for number, store in enumerate(stores):
        if store.mtime is None or states is None:
            continue
        at = {path: place for place, path in enumerate(store.paths.tolist())}
        places = np.array([at.get(path, -1) for path in paths], np.int64)
        same = (places >= 0) & (states.mtime >= 0) & (origin < 0)
        same &= (store.mtime[places] == states.mtime) if len(store.mtime) else False
        same &= (store.size[places] == states.size) if len(store.size) else False
        origin[same] = number
        row[same] = places[same]
    return Update(origin, row)


def embed_missing(source, extractor, update, states, made, folder, image_size):
    """Embeds the images without a row.

    Args:
        source: Source of all images; its quarantine lists those that cannot be used.
        extractor: evaluation.features.Extractor, images -> {"h": float [b, d]}.
        update: Update.
        states: finished.FileStates of all images, or None.
        made: see `job.made_by`.
        folder: of the parts, removed by the caller.
        image_size: int.
    Returns:
        Parts; ids count the missing images.
    """
    ids = update.missing
    digest = hashlib.sha256(repr(ids.tolist()).encode())
    if states is not None:
        for column in states.named(ids).values():
            digest.update(column.tobytes())
    state = {"encoder": repr(sorted(made.items())), "images": digest.hexdigest()}
    parts = Parts(folder, {"kind": "search"}, {**state, "fingerprint": source.fingerprint})
    with phases.phase("embed", len(ids), start=parts.next) as phase:
        none = stream.Sprites.of(len(ids), 0, image_size)
        stream.embed(subset(source, ids), extractor, parts, image_size, none, phase.reach)
    return parts


class Merged:
    """The rows of an index to be written: a table as of `tables.Table`.

    Args:
        paths: list of str, names of all images.
        states: finished.FileStates, or None.
        stores: as of `plan`.
        update: Update.
        parts: Parts of `embed_missing`.
        width: int, d.
    """

    def __init__(self, paths, states, stores, update, parts, width):
        self._paths = paths
        self._states = states
        self._stores = stores
        self._update = update
        self._parts = parts
        none = update.origin < 0
        found = [columns["id"] for _, columns in parts if len(columns.get("id", ()))]
        done = update.missing[np.concatenate(found)] if found else np.zeros(0, np.int64)
        usable = ~none
        usable[done] = True
        self._ids = np.flatnonzero(usable)
        self.num_new = len(done)
        self.num_rows = len(self._ids)
        self.longest = max((len(paths[at]) for at in self._ids), default=1) or 1
        self.columns = {"h": (np.dtype(np.float32), (width,))}
        if states is not None:
            self.columns.update(size=(np.dtype(np.int64), ()), mtime=(np.dtype(np.int64), ()))

    def blocks(self):
        """See `tables.Table.blocks`."""
        new = _Rows(self._parts, self.columns["h"][1][0])
        for start in range(0, self.num_rows, _BLOCK):
            ids = self._ids[start : start + _BLOCK]
            h = np.empty((len(ids), *self.columns["h"][1]), np.float32)
            origin = self._update.origin[ids]
            for number, store in enumerate(self._stores):
                if (origin == number).any():
                    h[origin == number] = store.h[self._update.row[ids[origin == number]]]
            h[origin < 0] = new.take(int((origin < 0).sum()))
            columns = {} if self._states is None else self._states.named(ids)
            yield [self._paths[at] for at in ids], {"h": h, **columns}


class _Rows:
    """h of parts, some rows after the others."""

    def __init__(self, parts, width):
        self._parts = (columns["h"] for _, columns in parts if len(columns.get("id", ())))
        self._left = np.zeros((0, width), np.float32)

    def take(self, count):
        """The next rows, float32 [count, d]."""
        while len(self._left) < count:
            self._left = np.concatenate([self._left, next(self._parts)])
        taken, self._left = self._left[:count], self._left[count:]
        return taken


@dataclasses.dataclass(frozen=True)
class Refreshed:
    """An index that is true.

    Attributes:
        rows: Stored.
        reused, embedded, unusable: numbers of images.
    """

    rows: stored.Stored
    reused: int
    embedded: int
    unusable: int


def refresh(
    source: typing.Any,
    names: typing.List[str],
    files: typing.List[str],
    extractor: typing.Any,
    made: typing.Dict[str, str],
    folder: str,
    given: typing.Optional[stored.Stored],
    image_size: int,
    width: int,
    scratch: str,
) -> Refreshed:
    """Brings the index of a folder up to date, and writes it if anything changed.

    Args:
        source: Source of all images.
        names: of the images, in order.
        files: their paths, [] for images in memory.
        extractor: evaluation.features.Extractor, images -> {"h": float [b, d]}.
        made: see `job.made_by`.
        folder: of the index, which this process holds. Images in memory get no index there.
        given: embeddings whose rows may be taken, made by this encoder; or None.
        image_size: int.
        width: int, d.
        scratch: local folder that outlives the rows.
    Raises:
        DataError: the index is damaged or cannot be written, or no image can be used.
    """
    # without files nothing tells what changed, so their rows do not take the place of an index
    path = os.path.join(folder if files else scratch, NAME)
    stores = []
    if tf.io.gfile.exists(path):
        before = stored.read(path, scratch)
        differs = before.differs(made)
        elsewhere = before.made.get("image_dir", "")
        if differs:
            print(f"{path} was made with other {differs}: making a new index", flush=True)
        elif elsewhere != made["image_dir"]:  # names, sizes and times may be the same by chance
            print(f"{path} is of the images of {shown(elsewhere)}: making a new index", flush=True)
        else:
            stores.append(before)
    stores += [given] if given is not None else []
    states = finished.states_of(files) if files else None
    update = plan(names, states, stores)
    missing = len(update.missing)
    quarantine = os.path.join(folder, "quarantine.txt")
    unfinished = os.path.join(folder, "unfinished")
    if tf.io.gfile.exists(quarantine) and not tf.io.gfile.exists(unfinished):
        tf.io.gfile.remove(quarantine)  # of an earlier search; all of these are tried again
    source.quarantine.attach(quarantine)
    parts = embed_missing(source, extractor, update, states, made, unfinished, image_size)
    table = Merged(names, states, stores, update, parts, width)
    if not table.num_rows:
        parts.remove()
    finished.refuse_empty(table.num_rows, source.num_examples, quarantine)
    changed = table.num_new or (update.origin > 0).any()
    if changed or not stores or table.num_rows != len(stores[0].paths):
        tables.write_npz(path, table, made)
        rows = stored.read(path, scratch)
    else:
        rows = stores[0]
    parts.remove()
    unusable = source.num_examples - table.num_rows
    return Refreshed(rows, source.num_examples - missing, table.num_new, unusable)
