"""What the files of somebody else may do: nothing that runs code, nothing that computes with NaN."""

import json
import os
import sys

import numpy as np
import pytest

from simclr_tf.__main__ import main
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.models.custom import build_custom
from simclr_tf.runs import restore, saved_models
from simclr_tf.runs.checkpoints import save_parts
from simclr_tf.runs.files import read_json
from tests.tiny_run import save_tiny_run

CODE = """
import pathlib
pathlib.Path({mark!r}).write_text("ran")
from tests.tiny_encoder import encoder
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """(run folder whose config.json names code and has no checksum, file that the code writes)."""
    monkeypatch.syspath_prepend(str(tmp_path))
    mark = tmp_path / "mark"
    (tmp_path / "foreign_code.py").write_text(CODE.format(mark=str(mark)))
    monkeypatch.delitem(sys.modules, "foreign_code", raising=False)
    run_dir = save_tiny_run(tmp_path, dataset="digits")
    path = os.path.join(run_dir, "config.json")
    content = read_json(path)
    content["settings"]["encoder"] = "foreign_code:encoder"
    with open(path, "w") as file:
        json.dump(content, file)
    return run_dir, mark


@pytest.mark.parametrize(
    "mode",
    ["knn", "linear_eval", "finetune", "distill", "probe", "transfer", "embed", "export", "report"],
)
def test_no_mode_runs_code_that_a_run_folder_names(foreign, tmp_path, mode, capsys):
    run_dir, mark = foreign
    given = {"report": "--model_dir=", "distill": "--teacher="}.get(mode, "--checkpoint=")
    flags = [given + run_dir]
    flags += ["--output=" + str(tmp_path / "out")] * (mode == "embed")
    flags += ["--datasets=digits"] * (mode == "transfer")
    flags += ["--dry_run"] * (mode not in ("report",))
    assert main([f"--mode={mode}", *flags]) == 2
    said = capsys.readouterr().err
    assert "'encoder' of the Python module 'foreign_code' would be imported and called" in said
    assert "--trust_code" in said and not mark.exists()


def test_trust_or_naming_the_same_code_lets_it_run(foreign, caplog):
    run_dir, mark = foreign
    other = {"encoder": "tests.tiny_encoder:encoder"}
    with pytest.raises(DataError, match="--encoder=tests.tiny_encoder:encoder differs"):
        restore.load_trained(run_dir, other)
    for options in ({"trust_code": True}, {"given": {"encoder": "foreign_code:encoder"}}):
        with pytest.raises(DataError, match="does not fit"):  # the checkpoint is of a ResNet
            restore.load_trained(run_dir, **options)
        assert mark.exists()
    assert "running 'encoder' of 'foreign_code'" in caplog.text


def test_a_saved_model_that_names_code_is_refused(tmp_path):
    manifest = {
        "format": 1, "settings": {"encoder": "os:system", "image_size": 8}, "dataset": {},
        "step": 1, "parts": ["encoder"], "variables": [], "checksum": "",
    }  # fmt: skip
    (tmp_path / "assets").mkdir()
    (tmp_path / saved_models.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(SettingsError, match="'system' of the Python module 'os' would be imported"):
        restore.load_trained(str(tmp_path))
    with pytest.raises(SettingsError, match="names code"):
        saved_models.load_exported(str(tmp_path))


@pytest.mark.parametrize("name", ["imagenet_utils", "layers", "__import__", "os.system", "resnet"])
def test_only_the_list_of_applications_counts(name):
    with pytest.raises(SettingsError, match="does not exist; keras.applications has .*ResNet50"):
        build_custom(f"applications:{name}", 32)


@pytest.mark.parametrize("value", [[], 3, {"a": 1}])
def test_an_encoder_that_is_no_text_is_refused(tmp_path, value):
    run_dir = save_tiny_run(tmp_path, dataset="digits")
    path = os.path.join(run_dir, "config.json")
    content = read_json(path)
    content["settings"]["encoder"] = value
    with open(path, "w") as file:
        json.dump(content, file)
    with pytest.raises(DataError, match="config.json"):
        restore.load_trained(run_dir)


def test_weights_that_are_nan_are_refused(tmp_path):
    run_dir = save_tiny_run(tmp_path, dataset="digits")
    trained = restore.load_trained(run_dir)
    kernel = trained.encoder.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.nan))
    parts = {"encoder": trained.encoder, "head": trained.head, "probe": trained.probe}
    save_parts(os.path.join(run_dir, "checkpoints"), 8, **parts)
    with pytest.raises(DataError, match="NaN or infinite, such as .* of the encoder.*earlier"):
        restore.load_trained(run_dir)
