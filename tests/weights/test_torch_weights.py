"""ResNets of PyTorch against its own outputs (tests/golden: PyTorch 2.13.0, float64)."""

import json
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest

from simclr_tf.errors import DataError
from simclr_tf.weights import comparing
from simclr_tf.weights.importing import import_weights
from simclr_tf.weights.torch_files import read_tensors

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden")
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def value_of(name, shape):
    """The weights of the golden outputs: a function of the name."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    leaf = name.split(".")[-1]
    if leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
        value = random.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        value = random.normal(0, 0.1, shape)
    else:
        value = random.normal(0, 1, shape) * np.sqrt(2 / np.prod(shape[1:]))
    return value.astype("float32")


def write_safetensors(path, tensors):
    """A .safetensors file, from its published description."""
    header = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, value in tensors.items():
        kind = {"float32": "F32", "float16": "F16", "int64": "I64"}[value.dtype.name]
        end = len(body) + value.nbytes
        header[name] = {"dtype": kind, "shape": value.shape, "data_offsets": [len(body), end]}
        body += value.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return str(path)


def resnet50(prefix=""):
    with open(os.path.join(GOLDEN, "torch_r50.json")) as file:
        shapes = json.load(file)
    return {prefix + name: value_of(name, shape) for name, shape in shapes.items()}


def narrow_resnet50(prefix=""):
    """The layout at a sixteenth of the width: fast, any values."""
    with open(os.path.join(GOLDEN, "torch_r50.json")) as file:
        shapes = json.load(file)
    small = {n: [d if d in (1, 3, 7, 10) else d // 16 for d in s] for n, s in shapes.items()}
    return {prefix + name: value_of(name, shape) for name, shape in small.items()}


def test_outputs_are_those_of_pytorch(tmp_path):
    """Every stage, 1e-5 relative, for an even and an odd image size."""
    tensors = resnet50("backbone.")
    tensors["backbone.bn1.num_batches_tracked"] = np.int64(7) * np.ones([], "int64")
    tensors["projection_head.layers.0.weight"] = np.zeros([4, 4], "float32")
    imported = import_weights(write_safetensors(tmp_path / "r50.safetensors", tensors))
    assert imported.matched == 267 and len(imported.unused) == 2
    assert imported.settings["resnet_depth"] == 50 and imported.settings["width_multiplier"] == 1
    want = dict(np.load(os.path.join(GOLDEN, "torch_r50.npz")))
    for tag, size, b in (("even", 64, 2), ("odd", 57, 1)):
        images = np.random.RandomState(size).uniform(size=(b, size, size, 3)).astype("float32")
        found = comparing.outputs_of(imported, images)
        assert len(found) == 8
        for key, value in found.items():
            name = f"{tag}_mean_{key}" if value.ndim == 4 else f"{tag}_{key}"
            value = value.mean((1, 2)) if value.ndim == 4 else value
            error = np.abs(value - want[name]).max() / np.abs(want[name]).max()
            assert error < 1e-5, (name, error)


def test_images_may_have_been_left_as_they_are(tmp_path):
    path = write_safetensors(tmp_path / "r50.safetensors", narrow_resnet50())
    plain = import_weights(path, input_norm="none").encoder
    standardised = import_weights(path).encoder
    images = np.random.default_rng(0).random([2, 40, 40, 3], np.float32)
    changed = ((images - MEAN) / DEVIATION).astype("float32")
    np.testing.assert_allclose(standardised(images), plain(changed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module.backbone.", "state_dict.backbone."])
def test_prefixes_are_found(prefix, tmp_path):
    path = write_safetensors(tmp_path / "r50.safetensors", narrow_resnet50(prefix))
    assert import_weights(path).settings["width_multiplier"] == 1 / 16


def test_numbered_layers_are_understood(tmp_path):
    """lightly's examples keep the network as nn.Sequential(*resnet.children())."""
    numbers = {"conv1": "0", "bn1": "1", **{f"layer{i}": str(i + 3) for i in range(1, 5)}}
    named = narrow_resnet50()
    numbered = {
        f"backbone.{numbers[name.split('.')[0]]}.{name.split('.', 1)[1]}": value
        for name, value in named.items()
        if not name.startswith("fc")
    }
    one = import_weights(write_safetensors(tmp_path / "a.safetensors", numbered))
    other = import_weights(write_safetensors(tmp_path / "b.safetensors", named))
    assert one.classifier is None and other.classifier.dense.units == 10
    for a, b in zip(one.encoder.get_weights(), other.encoder.get_weights()):
        np.testing.assert_array_equal(a, b)


def changed(change):
    tensors = narrow_resnet50()
    change(tensors)
    return tensors


def add_momentum_network(tensors):
    tensors.update(narrow_resnet50("momentum."))


def make_basic(tensors):
    for name in [name for name in tensors if "conv3" in name or "bn3" in name]:
        del tensors[name]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("layer2.1.bn2.running_var"), "lacks layer2.1.bn2.running_var"),
        (lambda t: t.pop("conv1.weight"), "holds no conv1.weight with layer1"),
        (lambda t: t.update({"layer1.0.se.fc": np.zeros([2], "float32")}), "layer1.0.se.fc"),
        (lambda t: t.update({"conv1.weight": np.zeros([4, 3, 3, 3], "float32")}), "a stem of"),
        (lambda t: t.update({"bn1.bias": np.zeros([5], "float32")}), "the network needs"),
        (lambda t: t.pop("layer3.5.conv1.weight"), "layer3.5.* no place|are no ResNet"),
        (add_momentum_network, "holds 2 networks; choose one with --source_prefix: '', 'mom"),
        (make_basic, "basic blocks"),
    ],
)
def test_other_networks_get_one_sentence(change, message, tmp_path):
    path = write_safetensors(tmp_path / "other.safetensors", changed(change))
    with pytest.raises(DataError, match=message) as caught:
        import_weights(path)
    assert "\n" not in str(caught.value)


def test_a_prefix_chooses_a_network(tmp_path):
    path = write_safetensors(tmp_path / "two.safetensors", changed(add_momentum_network))
    assert len(import_weights(path, prefix="momentum.").unused) == 267
    with pytest.raises(DataError, match="leave out --source_prefix"):
        import_weights(path, prefix="backbone.")


def test_files_of_torch_save_are_read_without_pytorch():
    """golden/torch_tensors.pth was written by PyTorch 2.13.0."""
    found = read_tensors(os.path.join(GOLDEN, "torch_tensors.pth"))
    t = np.arange(12, dtype="float32").reshape(3, 4)
    want = {"a": t, "b": t.T[1:], "c": t, "d": t, "nested.p": t[0], "e": np.int64(5)}
    assert sorted(found) == sorted(want)
    for name, value in want.items():
        np.testing.assert_array_equal(found[name], value)
    assert found["c"].dtype == "float16" and found["d"].dtype == "float32"


class Attack:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return os.mkdir, ("this_folder_must_not_appear",)


def test_nothing_in_a_pickle_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "bad.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": Attack()}, protocol=2))
    with pytest.raises(DataError, match="could run code; save only the tensors"):
        import_weights(str(tmp_path / "bad.pth"))
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"a": Attack()}, protocol=2))
    with pytest.raises(DataError, match="PyTorch before 1.6"):
        import_weights(str(tmp_path / "old.pth"))
    assert sorted(os.listdir(tmp_path)) == ["bad.pth", "old.pth"]


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_damaged_files_get_one_sentence(kind, tmp_path):
    if kind == "pth":
        with open(os.path.join(GOLDEN, "torch_tensors.pth"), "rb") as file:
            whole = file.read()
    else:
        path = write_safetensors(tmp_path / "whole.safetensors", narrow_resnet50())
        with open(path, "rb") as file:
            whole = file.read()
    noise = np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8).tobytes()
    cases = [whole[: len(whole) // 2], whole[:5], b"", noise, whole[:2] + noise]
    for number, content in enumerate(cases):
        path = tmp_path / f"case{number}.{kind}"
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"case{number}.*is damaged or is neither") as caught:
            import_weights(str(path))
        assert "\n" not in str(caught.value)
