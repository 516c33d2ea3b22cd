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
from simclr_tf.stack import tf
from simclr_tf.weights import comparing
from simclr_tf.weights.importing import import_weights
from simclr_tf.weights.official import Choices
from simclr_tf.weights.torch_files import read_file

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


def add_a_block(tensors):
    block = {name: value for name, value in tensors.items() if name.startswith("layer4.2.")}
    tensors.update({name.replace("layer4.2.", "layer4.3."): v for name, v in block.items()})


def group_convolutions(tensors):
    for name in [name for name in tensors if name.endswith("conv2.weight")]:
        tensors[name] = tensors[name][:, ::4]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("layer2.1.bn2.running_var"), "lacks layer2.1.bn2.running_var"),
        (lambda t: t.pop("conv1.weight"), "holds no conv1.weight with layer1"),
        (lambda t: t.update({"layer1.0.se.fc": np.zeros([2], "float32")}), "layer1.0.se.fc"),
        (
            lambda t: t.update({"conv1.weight": np.zeros([4, 3, 3, 3], "float32")}),
            "--stem_padding=2",
        ),
        (lambda t: t.update({"conv1.weight": np.zeros([4, 3, 4, 4], "float32")}), "stem of 4x4"),
        (lambda t: t.update({"conv1.weight": np.zeros([4, 1, 7, 7], "float32")}), "1 channels"),
        (lambda t: t.update({"bn1.bias": np.zeros([5], "float32")}), "the network needs"),
        (lambda t: t.pop("layer3.5.conv1.weight"), "layer3.5.* no place"),
        (add_momentum_network, "holds 2 networks; choose one with --source_prefix: '', 'mom"),
        (add_a_block, r"groups of \(3, 4, 6, 4\) bottleneck blocks"),
        (group_convolutions, r"grouped convolutions \(4 groups\), as in ResNeXt"),
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


def tensors_of(*, blocks, inner, stem=7, filters=8, shortcut="downsample", bottleneck=False):
    """Random weights of a ResNet under the names of torchvision; `inner` is a factor."""
    shapes = {"conv1.weight": [filters, 3, stem, stem]}
    norms = {"bn1": filters}
    channels = filters
    for group, count in enumerate(blocks):
        for block in range(count):
            path = f"layer{group + 1}.{block}"
            width = int(filters * 2**group * inner)
            out = filters * 2**group * (4 if bottleneck else 1)
            kernels = [(width, channels, 3), (out, width, 3)]
            if bottleneck:
                kernels = [(width, channels, 1), (width, width, 3), (out, width, 1)]
            for i, (a, b, side) in enumerate(kernels, start=1):
                shapes[f"{path}.conv{i}.weight"] = [a, b, side, side]
                norms[f"{path}.bn{i}"] = a
            if block == 0 and (group or channels != out):
                shapes[f"{path}.{shortcut}.0.weight"] = [out, channels, 1, 1]
                norms[f"{path}.{shortcut}.1"] = out
            channels = out
    for name, count in norms.items():
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{leaf}"] = [count]
    return {name: value_of(name, shape) for name, shape in shapes.items()}


def reference(tensors, images, *, padding, pools, shortcut):
    """h of PyTorch's ResNet in float64, from its published structure."""

    def convolve(x, name, strides, pad):
        kernel = np.float64(tensors[f"{name}.weight"]).transpose(2, 3, 1, 0)
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return tf.nn.conv2d(x, kernel, strides, "VALID")

    def normalize(x, name):
        value = {leaf: np.float64(tensors[f"{name}.{leaf}"]) for leaf in ("weight", "bias")}
        mean = np.float64(tensors[f"{name}.running_mean"])
        variance = np.float64(tensors[f"{name}.running_var"])
        return (x - mean) / np.sqrt(variance + 1e-5) * value["weight"] + value["bias"]

    x = (np.float64(images) - MEAN) / DEVIATION
    x = tf.nn.relu(normalize(convolve(x, "conv1", 2 if pools else 1, padding), "bn1"))
    if pools:
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        x = tf.nn.max_pool2d(x, 3, 2, "VALID")
    for group in range(1, 5):
        block = 0
        while f"layer{group}.{block}.conv1.weight" in tensors:
            path = f"layer{group}.{block}"
            strides = 2 if group > 1 and block == 0 else 1
            y = x
            if f"{path}.{shortcut}.0.weight" in tensors:
                y = normalize(
                    convolve(x, f"{path}.{shortcut}.0", strides, 0), f"{path}.{shortcut}.1"
                )
            three = f"{path}.conv3.weight" in tensors
            for i in (1, 2, 3) if three else (1, 2):
                side = tensors[f"{path}.conv{i}.weight"].shape[-1]
                step = strides if i == (2 if three else 1) else 1
                x = normalize(convolve(x, f"{path}.conv{i}", step, side // 2), f"{path}.bn{i}")
                x = x if i == (3 if three else 2) else tf.nn.relu(x)
            x = tf.nn.relu(x + y)
            block += 1
    return tf.reduce_mean(x, [1, 2]).numpy()


NETWORKS = {
    "basic": dict(blocks=(2, 2, 2, 2), inner=1),
    "wide": dict(blocks=(3, 4, 6, 3), inner=2, bottleneck=True),
    "small": dict(blocks=(1, 1, 1, 1), inner=1, stem=3, shortcut="shortcut"),
    "solo": dict(blocks=(2, 2, 2, 2), inner=1, stem=3),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_other_resnets_of_pytorch_give_its_outputs(kind, tmp_path):
    layout = NETWORKS[kind]
    tensors = tensors_of(**layout)
    padding = 2 if kind == "solo" else 1
    path = write_safetensors(tmp_path / "net.safetensors", tensors)
    choices = Choices(stem_padding=padding if kind == "solo" else None)
    encoder = import_weights(path, choices=choices).encoder
    images = np.random.default_rng(1).random([2, 33, 33, 3], np.float32)
    pools = layout.get("stem", 7) == 7
    want = reference(
        tensors, images, padding=3 if pools else padding, pools=pools,
        shortcut=layout.get("shortcut", "downsample"),
    )  # fmt: skip
    assert np.abs(encoder(images) - want).max() < 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("first, shortcut", [(2, "shortcut"), (3, "downsample"), (4, "downsample")])
def test_every_numbering_is_told_apart(first, shortcut, tmp_path):
    named = tensors_of(blocks=(1, 1, 1, 1), inner=1, stem=3, shortcut=shortcut)
    numbers = {"conv1": "0", "bn1": "1", **{f"layer{i + 1}": str(first + i) for i in range(4)}}
    numbered = {
        f"net.{numbers[name.split('.')[0]]}.{name.split('.', 1)[1]}": value
        for name, value in named.items()
    }
    choices = Choices(stem_padding=1)
    one = import_weights(write_safetensors(tmp_path / "a.safetensors", numbered), choices=choices)
    other = import_weights(write_safetensors(tmp_path / "b.safetensors", named), choices=choices)
    for a, b in zip(one.encoder.get_weights(), other.encoder.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_objects_beside_tensors_are_named_and_left_out():
    """golden/torch_objects.pth was written by PyTorch 2.14.1 and OmegaConf 2.4.0."""
    found, skipped = read_file(os.path.join(GOLDEN, "torch_objects.pth"))
    assert list(found) == ["model.w"] and found["model.w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [name.split()[0] for name in skipped] == [
        "args", "best", "history", "hyper_parameters", "dtype",
    ]  # fmt: skip
    assert "args (argparse.Namespace)" in skipped
    assert "hyper_parameters (omegaconf.dictconfig.DictConfig)" in skipped


def write_pickle(path, value, size=0):
    with zipfile.ZipFile(
        path, "w", zipfile.ZIP_DEFLATED if size else zipfile.ZIP_STORED
    ) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=2))
        if size:
            archive.writestr("archive/data/0", b"0" * size)
    return str(path)


class Unknown:
    """A class of somebody's program, with state, as in torch.save(model)."""

    def __init__(self):
        self.weights = [1, 2]


def test_a_pickled_model_is_not_made(tmp_path):
    path = write_pickle(tmp_path / "model.pth", Unknown())
    with pytest.raises(DataError, match="inside Python objects .*Unknown.*state_dict"):
        import_weights(path)


def test_names_in_a_file_cannot_reach_the_terminal(tmp_path):
    odd = "a\n\x1b[31m"
    found = read_file(write_pickle(tmp_path / "odd.pth", {odd: Unknown()}))
    assert found.skipped[0].startswith(r"a\n\x1b[31m (")
    path = write_safetensors(tmp_path / "odd.safetensors", {odd: np.zeros([1], "float32")})
    assert list(read_file(path).tensors) == [r"a\n\x1b[31m"]
    with pytest.raises(DataError) as caught:
        import_weights(path)
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_unpacks_to_more_than_it_has_is_refused(tmp_path):
    path = write_pickle(tmp_path / "bomb.pth", {}, size=1 << 20)
    with pytest.raises(DataError, match="compressed entries"):
        import_weights(path)


def test_files_of_torch_save_are_read_without_pytorch():
    """golden/torch_tensors.pth was written by PyTorch 2.13.0."""
    found, skipped = read_file(os.path.join(GOLDEN, "torch_tensors.pth"))
    assert not skipped
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
    with pytest.raises(DataError, match="call .*mkdir .*could run code"):
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
