"""Truncated, corrupted and foreign files: one sentence and exit code 3, from every mode."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.commands import export as export_run
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.stack import tf
from simclr_tf.weights.official_names import official_variables
from tests.official_weights import make_release, save_release
from tests.tiny_run import save_tiny_run

READERS = ["linear_eval", "knn", "export"]
MISSING = "resnet/block_group2/residual_block_1/batch_norm_relu_6/sync_batch_normalization_6/gamma"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with `run` (its export below it), `release` and `lacking` (a variable)."""
    folder = tmp_path_factory.mktemp("good")
    run = save_tiny_run(folder)
    export_run.run(config.build(config.Export, {"checkpoint": run}), frozenset({"checkpoint"}))
    model = config.Model(resnet_depth=10, width_multiplier=0.0625)
    encoder = build_encoder(model, 16)
    networks = encoder, build_head(model, encoder.feature_dim), LinearClassifier(5)
    networks[2](tf.zeros([1, encoder.feature_dim]))
    assert MISSING in official_variables(*networks)
    release = make_release(networks, 0)
    save_release(release, networks, str(folder / "release"))
    save_release(release, networks, str(folder / "lacking"), without=MISSING)
    return folder


def refused(capsys, *flags):
    """The sentence of a command that must end with exit code 3."""
    code = main(list(flags))
    said = capsys.readouterr().err
    sentences = [line for line in said.splitlines() if line.startswith("simclr_tf: ")]
    assert code == 3 and len(sentences) == 1 and "Traceback" not in said, (code, said)
    return sentences[0]


def refused_everywhere(capsys, path, place, modes=("knn",), also_as_source=True):
    for mode in modes:
        flags = [f"--checkpoint={path}", f"--model_dir={place / 'out'}", "--strategy=default"]
        assert str(path) in refused(capsys, f"--mode={mode}", *flags)
    if also_as_source:
        flags = [f"--source={path}", f"--model_dir={place / 'out'}"]
        assert str(path) in refused(capsys, "--mode=import_weights", *flags)
    assert not (place / "out" / "config.json").exists()


def noise(count=5000):
    return np.random.default_rng(0).integers(0, 256, count, dtype=np.uint8).tobytes()


def cut(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def flip(path):
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(bytes(whole))


@pytest.mark.parametrize("content", [noise(), b"", pickle.dumps({"a": [1.0]}), b"PK\x03\x04"])
def test_a_single_file_of_something(content, tmp_path, capsys):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    refused_everywhere(capsys, path, tmp_path, READERS)


def test_an_empty_folder_and_one_of_other_files(tmp_path, capsys):
    for name in ("empty", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "saved_model.pb").write_bytes(noise())
    (tmp_path / "other" / "checkpoint").write_bytes(noise(100))
    for name in ("empty", "other"):
        refused_everywhere(capsys, tmp_path / name, tmp_path, READERS)


def test_a_saved_model_of_another_network(tmp_path, capsys):
    module = tf.Module()
    module.kernel = tf.Variable(tf.zeros([3, 3]), name="dense/kernel")
    tf.saved_model.save(module, str(tmp_path / "foreign"))
    refused_everywhere(capsys, tmp_path / "foreign", tmp_path)


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_release_that_lacks_a_variable(good, tmp_path, capsys):
    refused_everywhere(capsys, good / "lacking", tmp_path)
    flags = [f"--source={good / 'lacking'}", f"--model_dir={tmp_path / 'out'}"]
    assert "the source holds" in refused(capsys, "--mode=import_weights", *flags)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", ["variables.index", "variables.data-00000-of-00001"])
@pytest.mark.parametrize("kind", ["release", "export"])
def test_a_damaged_saved_model(kind, name, damage, good, tmp_path, capsys):
    source = good / "release" if kind == "release" else good / "run" / "saved_model" / "7"
    path = tmp_path / "model"
    shutil.copytree(source, path)
    damage(path / "variables" / name)
    refused_everywhere(capsys, path, tmp_path, also_as_source=kind == "release")


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", ["ckpt-7.index", "ckpt-7.data-00000-of-00001"])
def test_a_damaged_run(name, damage, good, tmp_path, capsys):
    shutil.copytree(good / "run", tmp_path / "run", ignore=shutil.ignore_patterns("saved_model"))
    damage(tmp_path / "run" / "checkpoints" / name)
    refused_everywhere(capsys, tmp_path / "run", tmp_path, also_as_source=False)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"settings": {}, "dataset": 3}', '{"settings": 3}', "20", "19"]
)
def test_a_damaged_config(text, good, tmp_path, capsys):
    shutil.copytree(good / "run", tmp_path / "run", ignore=shutil.ignore_patterns("saved_model"))
    path = tmp_path / "run" / "config.json"
    if text in ("20", "19"):  # the checksum does not fit, or there is none
        stored = json.loads(path.read_text())
        stored["settings"]["resnet_depth"] = int(text)
        if text == "19":
            del stored["file_checksum"]
        text = json.dumps(stored)
    path.write_text(text)
    refused_everywhere(capsys, tmp_path / "run", tmp_path, also_as_source=False)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "settings": {}}'])
def test_a_damaged_manifest(text, good, tmp_path, capsys):
    path = tmp_path / "model"
    shutil.copytree(good / "run" / "saved_model" / "7", path)
    (path / "assets" / "settings.json").write_text(text)
    refused_everywhere(capsys, path, tmp_path, also_as_source=False)
    assert sorted(os.listdir(tmp_path)) == ["model"]
