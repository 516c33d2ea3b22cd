"""What a folder of lowered programs holds, and the arrays that its seeds stand for.

`manifest.json` lists the programs. Each is a file of serialized HLO, packed by gzip, and the arguments that it takes,
in their order. An argument is a shape, a dtype and a `fill`: how its values follow from a seed. Only
NumPy is needed here, so the machine that runs a program makes the same arrays as the one that lowered
it, and no array has to travel.

The values use the raw bits of Philox alone, which NumPy keeps the same in all its versions.
"""

import json
import os

import numpy as np

MANIFEST = "manifest.json"
FORMAT = 1


def write_manifest(folder, content):
    """Writes the manifest; `content` is a dict, see `lowered_step.lower`."""
    with open(os.path.join(folder, MANIFEST), "w") as file:
        json.dump({"format": FORMAT, **content}, file, indent=1)
        file.write("\n")


def read_manifest(folder):
    """The content of a folder's manifest.

    Raises:
        SystemExit: there is none, or it is of another format.
    """
    path = os.path.join(folder, MANIFEST)
    if not os.path.exists(path):
        raise SystemExit(f"{path} is missing; write the folder by benchmarks.lowered_step.")
    with open(path) as file:
        content = json.load(file)
    if content["format"] != FORMAT:
        raise SystemExit(
            f"{folder} has programs of format {content['format']}, this version reads {FORMAT}; "
            "lower them again."
        )
    return content


def values_of(argument):
    """The array of an argument of a program.

    Args:
        argument: {"shape": list of int, "dtype": name, "fill": one of
            {"kind": "constant", "value": number},
            {"kind": "range"}: 0, 1, 2, ...,
            {"kind": "bits", "seed": int}: every value of an unsigned integer equally likely,
            {"kind": "uniform", "low": float, "high": float, "seed": int}}.
    Returns:
        NumPy array.
    """
    shape = argument["shape"]
    dtype = np.dtype(argument["dtype"])
    fill = argument["fill"]
    kind = fill["kind"]
    if kind == "constant":
        return np.full(shape, fill["value"], dtype)
    count = int(np.prod(shape, dtype=np.int64))
    if kind == "range":
        return np.arange(count, dtype=dtype).reshape(shape)
    if kind == "bits":
        words = -(-count * dtype.itemsize // 8)
        return _raw(fill["seed"], words).view(dtype)[:count].reshape(shape)
    words = _raw(fill["seed"], -(-count // 2)).view(np.uint32)[:count]
    unit = (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)  # [0, 1)
    low, high = (np.float32(fill[name]) for name in ("low", "high"))
    return (low + (high - low) * unit).astype(dtype).reshape(shape)


def _raw(seed, words):
    """uint64 [words], little-endian whatever the machine."""
    return np.random.Philox(key=seed).random_raw(words).astype("<u8")


def summary_of(array):
    """Two numbers by which a result is compared: its mean and its root mean square."""
    array = np.asarray(array, np.float64)
    return [float(array.mean()), float(np.sqrt(np.square(array).mean()))]
