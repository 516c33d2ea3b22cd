"""Tensors out of PyTorch files, without PyTorch and without running anything that is in them.

`.safetensors` is a JSON header and raw numbers. A file of `torch.save` is a zip of raw numbers and
a pickle. The unpickler here makes only dictionaries, lists, numbers, texts and tensors. It imports
nothing: an object of any other class becomes an empty place holder, which is named and left out. A
file whose objects are there to run code is refused.
"""

import collections
import io
import json
import math
import pickle
import struct
import zipfile
from typing import Dict, NamedTuple, Tuple

import numpy as np

from simclr_tf import names
from simclr_tf.errors import DataError
from simclr_tf.files import read_bytes

_SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BF16": "<u2"}
_STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "BFloat16Storage": "<u2",
}  # fmt: skip
# loading a pickle that names one of these runs what its author chose
_RUNS_CODE = {
    "os", "posix", "nt", "subprocess", "sys", "importlib", "runpy", "pty", "socket", "shutil",
    "ctypes", "code", "commands", "pickle", "_pickle", "marshal", "timeit", "pip", "webbrowser",
    "urllib", "requests",
}  # fmt: skip
_BUILTINS = ("builtins", "__builtin__")
_BUILTINS_RUN_CODE = {"eval", "exec", "execfile", "compile", "open", "__import__", "input"}
_MOST_EXPANDED = 1 << 24  # elements of a tensor that repeats those of its storage
_DAMAGED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError,
    struct.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, pickle.UnpicklingError,
    MemoryError,
)  # fmt: skip


class TorchFile(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: {name: array}; names inside nested dictionaries are joined by dots, as in
            `state_dict.backbone.conv1.weight`. bfloat16 becomes float32.
        skipped: other Python objects, which were not made, as "name (class)".
    """

    tensors: Dict[str, np.ndarray]
    skipped: Tuple[str, ...]


def read_file(path):
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
    content = read_bytes(path)
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
        found[names.shown(name)] = _widen(values, entry["dtype"] == "BF16")
    return TorchFile(found, ())


def _read_zip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise DataError("holds compressed entries, which torch.save never writes; unpack and zip it again without compression.")  # fmt: skip
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it holds no data.pkl")
        folder = pickles[0][: -len("data.pkl")]
        order = folder + "byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise DataError("holds big-endian numbers; save it again on another machine.")
        loaded = _Unpickler(archive, folder, io.BytesIO(archive.read(pickles[0]))).load()
    tensors = {}
    skipped = []
    _flatten(loaded, "", tensors, skipped)
    return TorchFile(tensors, tuple(skipped))


def _flatten(value, name, tensors, skipped):
    if isinstance(value, np.ndarray):
        tensors[name] = value
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = names.shown(str(key))  # whoever wrote the file chose it
            _flatten(item, f"{name}.{inner}" if name else inner, tensors, skipped)
    elif isinstance(value, _Skipped):
        skipped.append(f"{name or 'the file'} ({value.kind})")
    elif isinstance(value, type) and issubclass(value, _Skipped):
        skipped.append(f"{name or 'the file'} ({value.kind})")
    elif isinstance(value, (list, tuple)):
        inside = [item for item in value if isinstance(item, _Skipped)]
        if inside:
            skipped.append(f"{name} ({inside[0].kind})")


class _Skipped:
    """Stands for an object of a class that is not known here; keeps nothing, does nothing."""

    kind = ""

    def __init__(self, *args, **kwargs):
        del args, kwargs

    def __new__(cls, *args, **kwargs):
        del args, kwargs
        return super().__new__(cls)

    def __setstate__(self, state):
        del state

    def __setitem__(self, key, value):
        del key, value

    def __call__(self, *args, **kwargs):
        del args, kwargs
        return self

    def extend(self, items):
        """For pickles of lists' subclasses."""
        del items

    append = add = extend


def _place_holder(module, name):
    return type("Skipped", (_Skipped,), {"kind": names.shown(f"{module}.{name}")})


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors and plain containers; every other class becomes a place holder."""

    def __init__(self, archive, folder, file):
        super().__init__(file)
        self.archive = archive
        self.folder = folder
        self.storages = {}
        self.known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
            ("collections", "defaultdict"): _plain_dictionary,
            ("torch", "Size"): tuple,
            **{("torch", name): name for name in _STORAGES},
        }

    def find_class(self, module, name):
        if (module, name) in self.known:
            return self.known[module, name]
        calls = module in _BUILTINS and name in _BUILTINS_RUN_CODE
        if calls or module.split(".")[0] in _RUNS_CODE:
            raise DataError(
                f"would make PyTorch call {names.shown(f'{module}.{name}')} while it is loaded, which "
                "could run code; "
                "do not load it anywhere, and ask for a file of tensors: "
                "torch.save(model.state_dict(), PATH), or safetensors."
            )
        return _place_holder(module, name)

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
    elements = math.prod(size)
    if min([offset, *size, *stride]) < 0 or len(size) != len(stride):
        raise ValueError("a tensor has negative sizes")
    if not empty and last >= len(storage):
        raise ValueError("a tensor reaches outside its storage")
    if elements > max(len(storage), _MOST_EXPANDED):
        raise ValueError("a tensor has more elements than its storage")
    if empty:
        return np.zeros(size, storage.dtype)
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


def _rebuild_parameter(data, *_):
    return data


def _plain_dictionary(*_):
    return {}
