"""Run folders and SavedModels of earlier versions are read, and the next format has its way."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from simclr_tf.errors import DataError
from simclr_tf.runs import restore, run_folder, saved_models
from simclr_tf.runs.files import read_json

OLD = pathlib.Path(__file__).resolve().parents[1] / "golden" / "run_format_1"
EXPECTED = json.loads((OLD / "expected.json").read_text())  # written by the version of the folder
IMAGE = np.linspace(0, 1, 8 * 8 * 3, dtype=np.float32).reshape(1, 8, 8, 3)
WAYS = {"checkpoint": "", "saved_model/24": "saved_model/24"}


@pytest.fixture
def old(tmp_path):
    """A copy of the run folder of format 1."""
    return shutil.copytree(OLD, tmp_path / "run")


def h_of(trained):
    return trained.encoder(IMAGE, training=False).numpy()[0]


@pytest.mark.parametrize("way", WAYS)
def test_format_1_gives_the_numbers_that_it_gave(old, way):
    trained = restore.load_trained(str(old / WAYS[way]))
    assert trained.step == EXPECTED[way]["step"]
    np.testing.assert_allclose(h_of(trained), EXPECTED[way]["h"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_a_change_of_the_format(old, way, monkeypatch):
    """The recipe of docs/contributing.md: format 2 renames a setting that format 1 calls `depth`."""
    module = {"checkpoint": run_folder}.get(way, saved_models)
    path = old / ("config.json" if module is run_folder else f"{way}/{saved_models.MANIFEST}")
    content = json.loads(path.read_text())
    del content["file_checksum"]
    content["settings"]["depth"] = content["settings"].pop("resnet_depth")
    path.write_text(json.dumps(content))

    def from_1(content):
        settings = dict(content["settings"])
        settings["resnet_depth"] = settings.pop("depth")
        return {**content, "settings": settings}

    monkeypatch.setattr(module, "FORMAT", 2)
    monkeypatch.setattr(module, "UPGRADES", {1: from_1})
    np.testing.assert_allclose(
        h_of(restore.load_trained(str(old / WAYS[way]))), EXPECTED[way]["h"], rtol=1e-4, atol=1e-5
    )
    if module is run_folder:
        stored = run_folder.read_config(str(old / "config.json"))
        assert stored["format"] == 2 and stored["settings"]["resnet_depth"] == 10
        folder = run_folder.RunFolder(str(old))
        assert folder.claim("pretrain", stored["settings"], (), stored["dataset"])
        assert read_json(str(old / "config.json"))["format"] == 2  # a resumed run writes today's


@pytest.mark.parametrize("number", [0, 2, "1", True, None])
def test_a_format_that_nobody_knows_is_refused(old, number):
    for name in ("config.json", os.path.join("saved_model", "24", saved_models.MANIFEST)):
        content = json.loads((old / name).read_text())
        del content["file_checksum"]
        (old / name).write_text(json.dumps({**content, "format": number}))
    for way in WAYS.values():
        with pytest.raises(DataError, match=f"has format {number}, this version .* reads 1 to 1"):
            restore.load_trained(str(old / way))
