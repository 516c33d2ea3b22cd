"""Embeddings on disk as they are searched: the tables of `--mode=embed`, and the index of a search.

Both are one kind of .npz file: path, h, size and mtime of the image files, and what made the rows.
"""

import dataclasses
import json
import os
import typing
import zipfile
import zlib

import numpy as np

from simclr_tf.embedding import tables
from simclr_tf.errors import DataError, SettingsError, first_line
from simclr_tf.files import check_regular, is_remote
from simclr_tf.stack import tf

# what NumPy, zipfile and pyarrow raise for a file with changed or missing bytes
_DAMAGED = (OSError, EOFError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
_DECIDES = {
    "encoder": "weights",
    "image_size": "image_size",
    "precision": "precision",
    "value_range": "value_range",
    "converts_profiles": "image_formats",
}


@dataclasses.dataclass(frozen=True)
class Stored:
    """Rows of embeddings on disk.

    Attributes:
        where: the file, for sentences.
        paths: str [n].
        h: float32 [n, d], mapped: read where and when it is used.
        size, mtime: int64 [n] of the image files, see `finished.FileStates`; or None.
        made: see `job.made_by`; {} for tables that do not say.
    """

    where: str
    paths: np.ndarray
    h: np.ndarray
    size: typing.Optional[np.ndarray] = None
    mtime: typing.Optional[np.ndarray] = None
    made: typing.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def differs(self, made):
        """What made these rows and differs, in words; "" if they are of the same encoder."""
        wrong = [word for name, word in _DECIDES.items() if self.made.get(name) != made[name]]
        return " and ".join(wrong)


def read(path, scratch):
    """The rows of a folder of `--mode=embed`, or of one .npz or .parquet file.

    Args:
        path: as the user gave it.
        scratch: local folder for what cannot be mapped where it is; must outlive the rows.
    Returns:
        Stored.
    Raises:
        SettingsError: it is neither, or pyarrow is missing.
        DataError: it is missing or damaged.
    """
    if tf.io.gfile.isdir(path):
        path = os.path.join(path, "embeddings.npz")
    if not tf.io.gfile.exists(path):
        raise DataError(f"{path} does not exist; write it with --mode=embed, or give another path.")
    check_regular(path)
    if not path.endswith(tables.SUFFIXES):
        raise SettingsError(
            f"embeddings={path} is neither a folder of --mode=embed nor a .npz or .parquet file; give one."
        )
    local = path
    if is_remote(path):
        local = os.path.join(scratch, os.path.basename(path))
        tf.io.gfile.copy(path, local, overwrite=True)
    parquet = path.endswith(".parquet")
    if parquet:
        tables.check_parquet()
    try:
        found = _read_parquet(local, path, scratch) if parquet else _read_npz(local, path)
        wrong = _what_is_wrong(found)
    except _DAMAGED as error:
        wrong = first_line(error)
    if wrong:
        raise DataError(f"{path} is damaged ({wrong}); remove it and embed the images again.")
    return found


def _what_is_wrong(found):
    """Why rows cannot be used, in words; "" if they can."""
    if found.h.ndim != 2 or found.h.dtype != np.float32 or found.paths.dtype.kind != "U":
        return "its columns are not path and h"
    columns = (found.paths, found.h, found.size, found.mtime)
    lengths = {len(column) for column in columns if column is not None}
    return "" if len(lengths) == 1 else "its columns have different lengths"


def _read_npz(local, where):
    with zipfile.ZipFile(local) as archive:
        names = set(archive.namelist())
        arrays = {}
        for name in {"path", "size", "mtime", "made"} & {name[:-4] for name in names}:
            with archive.open(name + ".npy") as member:  # checks the sum of the bytes too
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
        stored = archive.getinfo("h.npy").compress_type == zipfile.ZIP_STORED
        if not stored:  # of another program
            with archive.open("h.npy") as member:
                arrays["h"] = np.lib.format.read_array(member, allow_pickle=False)
    made = json.loads(str(arrays["made"])) if "made" in arrays else {}
    if not isinstance(made, dict):
        raise ValueError("made is no JSON object")
    h = tables.mapped(local, "h") if stored else np.asarray(arrays["h"], np.float32)
    return Stored(where, arrays["path"], h, arrays.get("size"), arrays.get("mtime"), made)


def _read_parquet(local, where, scratch):
    """Rows of a .parquet; h goes to a file of the scratch folder, so memory holds one batch."""
    import pyarrow
    import pyarrow.parquet

    paths = []
    try:
        with pyarrow.parquet.ParquetFile(local) as file:
            width = file.schema_arrow.field("h").type.list_size
            rows = file.metadata.num_rows
            name = os.path.join(scratch, "h.npy")
            h = np.lib.format.open_memmap(name, "w+", np.float32, (rows, width)) if rows else np.zeros((0, width), np.float32)  # fmt: skip
            for batch in file.iter_batches(1024, columns=["path", "h"]):
                start = len(paths)
                paths += batch.column("path").to_pylist()
                values = batch.column("h").flatten().to_numpy(zero_copy_only=False)
                h[start : len(paths)] = values.reshape(-1, width)
    except (pyarrow.ArrowException, AttributeError) as error:
        raise ValueError(first_line(error)) from error
    return Stored(where, np.array(paths, "U"), h)
