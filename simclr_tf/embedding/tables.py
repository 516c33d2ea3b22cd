"""Parts -> one .npz and one .parquet, streamed: in memory is one part at a time."""

import io
import json
import zipfile

import numpy as np

from simclr_tf.errors import SettingsError
from simclr_tf.files import writing
from simclr_tf.stack import tf

SUFFIXES = (".npz", ".parquet")
VECTORS = ("h", "z")


class Table:
    """What the parts hold together: rows of path, h and, if it was asked for, z.

    Attributes:
        columns: {name: (dtype, shape)} of h and z; empty without rows.
        num_rows: images embedded.
        longest: characters of the longest path.
    """

    def __init__(self, parts, names, states=None):
        """
        Args:
            parts: Parts.
            names: function (start, stop) -> list of str, the paths of images by id.
            states: finished.FileStates of the image files by id, or None where there are none.
        """
        self._parts = parts
        self._names = names
        self._states = states
        self.columns = {}
        self.num_rows = 0
        self.longest = 1
        for paths, columns in self.blocks():
            self.num_rows += len(paths)
            self.longest = max(self.longest, *map(len, paths))
            self.columns = {name: (rows.dtype, rows.shape[1:]) for name, rows in columns.items()}

    def blocks(self):
        """Yields (paths list of str, {"h": float32 [m, d], "size": ...}) of every part with rows."""
        for start, columns in self._parts:
            ids = columns.get("id", ())
            if len(ids):
                paths = self._names(start, int(columns["next"]))
                chosen = {name: columns[name] for name in VECTORS if name in columns}
                if self._states is not None:
                    chosen.update(self._states.named(ids))
                yield [paths[i - start] for i in ids], chosen


def write_npz(path, table, made=None):
    """Writes arrays path (fixed-width unicode), h and z that `np.load` reads.

    The arrays are stored without compression, so `mapped` can use them without reading them.

    Args:
        path: of the file.
        table: Table.
        made: dict of text that says what made the rows; it is stored as JSON.
    """
    kinds = {"path": (np.dtype(f"<U{table.longest}"), ()), **table.columns}
    with writing(path) as temporary, _Pipe(temporary) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, (dtype, shape) in kinds.items():
                with archive.open(name + ".npy", "w", force_zip64=True) as member:
                    header = {"descr": dtype.str, "fortran_order": False}
                    header["shape"] = (table.num_rows, *shape)
                    np.lib.format.write_array_header_2_0(member, header)
                    for paths, columns in table.blocks():
                        rows = paths if name == "path" else columns[name]
                        member.write(np.asarray(rows, dtype).tobytes())
            if made is not None:
                with archive.open("made.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.array(json.dumps(made, sort_keys=True)))


class _Pipe(io.RawIOBase):
    """A file that is only written on, not back in, as object stores want it; of tf.io.gfile."""

    def __init__(self, path):
        self._file = tf.io.gfile.GFile(path, "wb")
        self._at = 0

    def writable(self):
        return True

    def write(self, content):
        content = bytes(content)
        self._file.write(content)
        self._at += len(content)
        return len(content)

    def tell(self):
        return self._at

    def close(self):
        self._file.close()
        super().close()


def mapped(path, name):
    """An array of a local .npz of `write_npz`, memory-mapped: read where and when it is used."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        file.seek(archive.getinfo(name + ".npy").header_offset + 26)  # lengths of name and extra
        lengths = np.frombuffer(file.read(4), "<u2")
        file.seek(int(lengths.sum()), 1)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        if not shape[0]:
            return np.zeros(shape, dtype)
        return np.memmap(path, dtype, "r", file.tell(), shape)


def check_parquet():
    """Raises SettingsError if pyarrow is missing or does not fit the installed NumPy."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"embeddings.parquet needs pyarrow, which cannot be loaded ({error}); install the one "
            "of requirements.txt, or give an --output that ends in .npz."
        ) from error


def write_parquet(path, table):
    """Writes columns path (text), h and z (fixed-size lists of float32)."""
    import pyarrow
    import pyarrow.parquet

    fields = [("path", pyarrow.string())]
    vectors = [name for name in table.columns if name in VECTORS]
    for name in vectors:
        fields.append((name, pyarrow.list_(pyarrow.float32(), table.columns[name][1][0])))
    schema = pyarrow.schema(fields)
    with writing(path) as temporary, _Pipe(temporary) as file:
        sink = pyarrow.PythonFile(file, mode="w")
        with pyarrow.parquet.ParquetWriter(sink, schema, use_dictionary=False) as writer:
            for paths, columns in table.blocks():
                arrays = [pyarrow.array(paths, pyarrow.string())]
                for name in vectors:
                    values = pyarrow.array(columns[name].ravel())
                    arrays.append(pyarrow.FixedSizeListArray.from_arrays(values, columns[name].shape[1]))  # fmt: skip
                writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
