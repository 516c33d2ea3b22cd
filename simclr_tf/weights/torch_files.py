"""Tensors out of PyTorch files, without PyTorch and without running anything that is in them.

`.safetensors` is a JSON header and raw numbers. A file of `torch.save` is a zip of raw numbers and
a pickle; the unpickler here knows only dictionaries, numbers, texts and tensors, and refuses
every other object by name.
"""

import collections
import io
import json
import pickle
import struct
import zipfile

import numpy as np

from simclr_tf.errors import DataError
from simclr_tf.files import check_regular
from simclr_tf.stack import tf

_SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BF16": "<u2"}
_STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "BFloat16Storage": "<u2",
}  # fmt: skip
_DAMAGED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError,
    struct.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, pickle.UnpicklingError,
    MemoryError,
)  # fmt: skip


def read_tensors(path):
    """Every tensor of a file.

    Args:
        path: a .safetensors file, or one of `torch.save` (PyTorch 1.6 or newer). Any tf.io.gfile
            path.
    Returns:
        {name: array}; names inside nested dictionaries are joined by dots, as in
        `state_dict.backbone.conv1.weight`. bfloat16 becomes float32.
    Raises:
        DataError: the file is neither, is damaged, or holds other Python objects.
    """
    check_regular(path)
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content = file.read()
    except tf.errors.OpError as error:
        raise DataError(f"{path} cannot be read ({error.message}); check the path.") from error
    if content[:2] == b"\x80\x02":
        raise DataError(
            f"{path} is in the format of PyTorch before 1.6, a bare pickle; write it again with a "
            "newer PyTorch: torch.save(model.state_dict(), PATH)."
        )
    reader = _read_zip if content[:2] == b"PK" else _read_safetensors
    try:
        return reader(content)
    except DataError as error:
        raise DataError(f"{path} {error}") from error
    except _DAMAGED as error:
        reason = str(error).split("\n")[0][:100] or type(error).__name__
        raise DataError(
            f"{path} is damaged or is neither a .safetensors file nor one of torch.save "
            f"({reason}); copy it again."
        ) from error


def _widen(values, is_bfloat16):
    """bfloat16 numbers, read as uint16, are the upper halves of float32 numbers."""
    return (values.astype("<u4") << 16).view("<f4") if is_bfloat16 else values


def _read_safetensors(content):
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length].decode("utf-8"))
    body = content[8 + length :]
    found = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in _SAFETENSORS:
            continue
        begin, end = entry["data_offsets"]
        kind = np.dtype(_SAFETENSORS[entry["dtype"]])
        if end - begin != kind.itemsize * int(np.prod(entry["shape"])) or end > len(body):
            raise ValueError(f"{name} is cut off")
        values = np.frombuffer(body[begin:end], kind).reshape(entry["shape"])
        found[name] = _widen(values, entry["dtype"] == "BF16")
    return found


def _read_zip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it holds no data.pkl")
        folder = pickles[0][: -len("data.pkl")]
        order = folder + "byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise DataError("holds big-endian numbers; save it again on another machine.")
        loaded = _Unpickler(archive, folder, io.BytesIO(archive.read(pickles[0]))).load()
    found = {}
    _flatten(loaded, "", found)
    return found


def _flatten(value, name, found):
    if isinstance(value, np.ndarray):
        found[name] = value
    elif isinstance(value, dict):
        for key, item in value.items():
            _flatten(item, f"{name}.{key}" if name else str(key), found)


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors and plain containers; every other name in the pickle is refused."""

    def __init__(self, archive, folder, file):
        super().__init__(file)
        self.archive = archive
        self.folder = folder
        self.storages = {}
        self.known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
            ("torch", "Size"): tuple,
            **{("torch", name): name for name in _STORAGES},
        }

    def find_class(self, module, name):
        if (module, name) not in self.known:
            raise DataError(
                f"holds a Python object {module}.{name} beside its tensors, and loading such could "
                "run code; save only the tensors: torch.save(model.state_dict(), PATH), or "
                "safetensors."
            )
        return self.known[module, name]

    def persistent_load(self, pid):
        kind, storage, key, _, numel = pid
        if kind != "storage":
            raise ValueError(f"unknown reference {kind}")
        if key not in self.storages:
            content = self.archive.read(f"{self.folder}data/{key}")
            values = np.frombuffer(content, _STORAGES[storage])
            if len(values) < numel:
                raise ValueError(f"storage {key} is cut off")
            self.storages[key] = _widen(values, storage == "BFloat16Storage")
        return self.storages[key]


def _rebuild_tensor(storage, offset, size, stride, *_):
    """The view of a storage that a tensor is; refuses one that reaches outside."""
    reach = [(n - 1) * step for n, step in zip(size, stride)]
    last = offset + sum(reach)
    empty = 0 in size
    if min([offset, *size, *stride]) < 0 or len(size) != len(stride):
        raise ValueError("a tensor has negative sizes")
    if not empty and last >= len(storage):
        raise ValueError("a tensor reaches outside its storage")
    if empty:
        return np.zeros(size, storage.dtype)
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


def _rebuild_parameter(data, *_):
    return data
