"""A Keras file from elsewhere is data: ours is read, any other is refused in one sentence."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from simclr_tf.export import keras_file as writer
from simclr_tf.export import saved_model

from simclr_tf import config
from simclr_tf.errors import DataError
from simclr_tf.models import native
from simclr_tf.runs import restore
from simclr_tf.runs import saved_models as reader
from simclr_tf.stack import keras, keras_of_files
from simclr_tf.weights import keras_file
from tests import export_models as tiny

WEIGHTS = keras_file.WEIGHTS
STEM = "layers/conv2d/vars/0"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file of ours as it is after fine-tuning elsewhere: without facts of the run."""
    path = tmp_path_factory.mktemp("good") / "encoder.keras"
    settings = tiny.make_settings(image_size=16, width_multiplier=0.0625)
    about = saved_model.About(settings, 7)
    writer.write(str(path), *tiny.make_parts(settings), about, config.ExportSettings())
    return altered(path, path.parent / "tuned.keras", metadata=lambda found: found.pop("simclr_tf"))


def altered(path, target, config=None, metadata=None, weights=None, compress=False):
    """A copy in which functions have changed the JSON or the HDF5 file of the weights."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            change = {"config.json": config, "metadata.json": metadata}.get(name)
            if change is not None:
                found = json.loads(content)
                change(found)
                content = json.dumps(found).encode()
            if name == WEIGHTS and weights is not None:
                memory = io.BytesIO(content)
                with h5py.File(memory, "r+") as file:
                    weights(file)
                content = memory.getvalue()
            method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            new.writestr(name, content, method)
    return target


def layer(found, name):
    return next(one for one in found["config"]["layers"] if one["config"]["name"] == name)


def test_a_file_without_facts_of_the_run_tells_its_architecture(good):
    trained = restore.load_trained(str(good))
    assert (trained.step, trained.dataset["name"], trained.probe) == (0, "", None)
    wanted = {"resnet_depth": 10, "width_multiplier": 0.0625, "stem": "small", "image_size": 16}
    assert {name: trained.settings[name] for name in wanted} == wanted
    with pytest.raises(DataError, match="--resnet_depth=50 differs"):
        restore.load_trained(str(good), {"resnet_depth": 50})


@pytest.mark.parametrize(
    "changes",
    [
        {"first_shortcut": "identity", "stem_padding": 2, "input_norm": "cifar10"},
        {"image_size": 40, "pool_padding": "symmetric", "norm": "group", "image_channels": 4},
        {"sk_ratio": 0.0625, "se_ratio": 0.25, "width_multiplier": 0.3},
        {"norm": "layer", "proj_bn": "hidden", "num_proj_layers": 3},
        {"proj_head_mode": "linear", "batch_norm_decay": 0.5},
        {"resnet_depth": 50, "bottleneck_width": 2.0, "sk_ratio": 0.1, "se_ratio": 0.25},
    ],
)
def test_layers_tell_the_architecture(changes):
    settings = tiny.make_settings(**{"image_size": 16, **changes})
    encoder, head, probe = tiny.make_parts(settings)
    graph = native.draw("x", encoder, head, probe)
    layers = {
        node.name: keras_file._Stored(node.kind, node.settings, node.inputs, "")
        for node in graph.nodes
    }
    model = config.section_from(config.Model, keras_file._settings(layers))
    keras_file._check_size(model, layers, 10**9)
    parts = reader.build_named_parts({**settings, **vars(model)}, ("encoder", "head"), 0)
    again = native.draw("x", parts["encoder"], parts["head"], probe)
    for node, other in zip(graph.nodes, again.nodes):
        assert (node.name, node.kind, node.inputs) == (other.name, other.kind, other.inputs)
        assert node.settings == other.settings
        assert [one.shape for one in node.weights] == [one.shape for one in other.weights]
    assert len(graph.nodes) == len(again.nodes)


def test_the_image_size_of_a_model_with_another_name(good, tmp_path):
    def rename(found):
        found["config"]["name"] = "mine"

    path = str(altered(good, tmp_path / "renamed.keras", config=rename))
    assert restore.load_trained(path).settings["image_size"] == 32  # of the small stem
    assert restore.load_trained(path, {"image_size": 24}).settings["image_size"] == 24


def name_lambda(found):
    relu = layer(found, "stem_norm")
    relu["class_name"] = "Lambda"
    relu["config"]["function"] = ["code", None, None]


def change_setting(found):
    layer(found, "block_group2_block0_conv1")["config"]["strides"] = [1, 1]


def change_input(found):
    text = json.dumps(layer(found, "block_group1"))
    layer(found, "block_group1").update(
        json.loads(text.replace("block_group1_block0_add", "images"))
    )


def remove_layer(found):
    found["config"]["layers"].remove(layer(found, "block_group3_block0_conv2"))


def add_block(found):
    copy = json.loads(json.dumps(layer(found, "block_group1_block0_conv1")))
    copy["config"]["name"] = "block_group1_block1_conv1"
    found["config"]["layers"].append(copy)


def claim_more(found):
    for one in found["config"]["layers"]:
        if "filters" in one["config"]:
            one["config"]["filters"] *= 100


@pytest.mark.parametrize(
    "change, words",
    [
        (name_lambda, "layer stem_norm is a Lambda, not a BatchNormalization"),
        (change_setting, r"block_group2_block0_conv1 has strides=\[1, 1\], not \[2, 2\]"),
        (change_input, "layer block_group1 reads images, not block_group1_block0_add"),
        (remove_layer, "layer block_group3_block0_conv2 is missing"),
        (add_block, r"groups have \(2, 1, 1, 1\) blocks"),
        (claim_more, "holds fewer numbers than its layers need"),
        (lambda found: found.pop("config"), "is damaged or no file of Keras"),
        (lambda found: layer(found, "images")["config"].update(name="input"), "no encoder of ours"),
    ],
)
def test_another_network_is_refused(good, tmp_path, change, words):
    path = altered(good, tmp_path / "changed.keras", config=change)
    with pytest.raises(DataError, match=words):
        restore.load_trained(str(path))


def replaced(**how):
    """A change that replaces the first kernel; `how` may hold functions of the old one."""

    def change(file):
        old = file[STEM][()]
        del file[STEM]
        given = {key: value(old) if callable(value) else value for key, value in how.items()}
        file.create_dataset(STEM, **given)

    return change


def link_outside(file):
    del file[STEM]
    file[STEM] = h5py.ExternalLink("/etc/hostname", "/")


@pytest.mark.parametrize(
    "change, words",
    [
        (replaced(data=lambda old: old[:1]), r"holds layers/conv2d/vars/0 of shape \(1, 3, 3, 4\)"),
        (replaced(data=lambda old: old.astype("int8")), "int8; give the file from before it was"),
        (replaced(data=lambda old: old, chunks=True), "in a way that Keras never does"),
        (
            replaced(shape=(3, 3, 3, 4), dtype="f4", external=[("/etc/hostname", 0, 432)]),
            "in a way that Keras never does",
        ),
        (link_outside, "holds 0 arrays of the layer initial_conv, not 1"),
        (replaced(data=lambda old: old * np.nan), "NaN or infinite"),
    ],
)
def test_other_numbers_are_refused(good, tmp_path, change, words):
    path = altered(good, tmp_path / "changed.keras", weights=change)
    with pytest.raises(DataError, match=words):
        restore.load_trained(str(path))


def test_compressed_and_damaged_files_are_refused(good, tmp_path):
    path = altered(good, tmp_path / "compressed.keras", compress=True)
    with pytest.raises(DataError, match="compressed weights"):
        restore.load_trained(str(path))
    content = good.read_bytes()
    rng = np.random.default_rng(0)
    for number in range(20):
        broken = bytearray(content)
        if number % 2:
            del broken[rng.integers(1, len(broken)) :]
        else:
            for place in rng.integers(0, len(broken), 50):
                broken[place] ^= 1 << rng.integers(8)
        path = tmp_path / ("broken.keras" if number % 4 < 2 else "broken.h5")
        path.write_bytes(broken)
        with pytest.raises(DataError):
            keras_file.read(str(path))


@pytest.mark.parametrize("extension", [".keras", ".h5"])
def test_a_model_of_somebody_else_is_refused(tmp_path, extension):
    library = keras_of_files()
    image = library.Input([8, 8, 3])
    path = str(tmp_path / f"theirs{extension}")
    library.Model(image, library.layers.Dense(2)(library.layers.Flatten()(image))).save(path)
    with pytest.raises(DataError, match="holds no encoder of ours.*--encoder=package.module"):
        restore.load_trained(path)
    weights = str(tmp_path / "x.weights.h5")
    keras.Sequential([keras.layers.Dense(1, input_shape=[2])]).save_weights(weights)
    with pytest.raises(DataError, match="weights without their model"):
        restore.load_trained(weights)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"format": 99}, "format 99"),
        ({"settings": []}, "says no settings"),
        ({"settings": {"width_multiplier": 16.0}}, "fewer numbers than its layers need"),
        ({"settings": {"encoder": "os:system", "resnet_depth": 18}}, "is missing"),
        ({"settings": {"train_epochs": "many"}}, "says settings that cannot be"),
    ],
)
def test_wrong_facts_of_the_run_are_refused(good, tmp_path, changes, words):
    about = {"format": 1, "settings": {}, "dataset": {}, "step": 3}
    about["settings"] = {"image_size": 16}
    for name, value in changes.items():
        about[name] = {**about[name], **value} if isinstance(value, dict) else value
    path = altered(good, tmp_path / "x.keras", metadata=lambda found: found.update(simclr_tf=about))
    with pytest.raises(DataError, match=words):
        restore.load_trained(str(path))
