"""Bad input that a mode finds: one sentence, the right exit code, nothing half-written."""

import os

import pytest
from PIL import Image

from simclr_tf.__main__ import main
from tests.tiny_run import SETTINGS, save_tiny_run

TINY = [f"--{name}={value}" for name, value in SETTINGS.items()]
DIGITS = ["--mode=pretrain", "--preset=none", *TINY]
DIGITS += ["--train_batch_size=8", "--train_steps=1", "--warmup_epochs=0"]


def refused(capsys, arguments):
    """(exit code, sentence) of a command that must not start."""
    code = main(arguments)
    said = capsys.readouterr().err
    sentences = [line for line in said.splitlines() if line.startswith("simclr_tf: ")]
    assert len(sentences) == 1 and "Traceback" not in said
    return code, sentences[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder with a checkpoint."""
    return save_tiny_run(tmp_path_factory.mktemp("trained"))


def folder_of_images(path, count):
    path.mkdir()
    for i in range(count):
        Image.new("RGB", (20, 20), (i, 0, 0)).save(path / f"{i}.png")


@pytest.mark.parametrize(
    "flags, code, words",
    [
        (["--dataset=cifar11"], 3, ["cifar11", "cifar10"]),
        (["--dataset=stl10", "--data_dir={tmp}/none"], 3, ["stl10", "download"]),
        (["--image_dir={tmp}/missing"], 3, ["missing"]),
        (["--image_dir={tmp}/empty"], 3, ["empty"]),
        (["--image_dir={tmp}/few"], 2, ["8", "3"]),
        (["--train_batch_size=1000000"], 2, ["1000000", "1437"]),
    ],
    ids=["unknown", "not downloaded", "missing folder", "empty folder", "few images", "batch"],
)
def test_unusable_data_are_refused_before_anything_is_written(tmp_path, capsys, flags, code, words):
    (tmp_path / "empty").mkdir()
    folder_of_images(tmp_path / "few", 3)
    flags = [flag.format(tmp=tmp_path) for flag in flags]
    names = {flag.split("=")[0] for flag in flags}
    others = [flag for flag in DIGITS if flag.split("=")[0] not in names]
    found, sentence = refused(capsys, [*others, *flags, f"--model_dir={tmp_path / 'run'}"])
    assert found == code, sentence
    plain = sentence.replace(",", "")
    assert all(word in plain for word in words), sentence
    assert not (tmp_path / "run").exists()


def test_a_batch_that_the_replicas_cannot_share_is_refused(tmp_path, capsys):
    flags = [flag for flag in DIGITS if "batch" not in flag]
    flags += ["--train_batch_size=9", "--strategy=mirrored", "--logical_cpus=4"]
    code, sentence = refused(capsys, [*flags, f"--model_dir={tmp_path / 'run'}"])
    assert code == 2 and "9" in sentence and "4" in sentence
    assert not (tmp_path / "run").exists()


def test_a_model_dir_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("a file, not a folder")
    code, sentence = refused(capsys, [*DIGITS, f"--model_dir={tmp_path / 'file' / 'run'}"])
    assert code in (2, 3) and "file" in sentence


def test_the_folder_of_another_run_is_refused_with_the_flags_that_differ(trained, capsys):
    before = sorted(os.listdir(trained))
    flags = [flag for flag in DIGITS if "proj_out_dim" not in flag]
    flags += ["--proj_out_dim=16", f"--model_dir={trained}"]
    code, sentence = refused(capsys, flags)
    assert code == 2 and "proj_out_dim" in sentence
    assert sorted(os.listdir(trained)) == before


@pytest.mark.parametrize("mode", ["linear_eval", "export"])
def test_a_folder_without_checkpoint_is_refused(mode, tmp_path, capsys):
    for place in (tmp_path, tmp_path / "nowhere"):
        code, sentence = refused(capsys, [f"--mode={mode}", f"--checkpoint={place}"])
        assert code == 3 and str(place) in sentence
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", ["linear_eval", "export"])
@pytest.mark.parametrize("flag", ["resnet_depth=50", "width_multiplier=0.5", "proj_out_dim=64"])
def test_a_checkpoint_of_another_architecture_is_refused(mode, flag, trained, capsys):
    before = sorted(os.listdir(trained))
    code, sentence = refused(capsys, [f"--mode={mode}", f"--checkpoint={trained}", f"--{flag}"])
    assert code in (2, 3) and flag.split("=")[0] in sentence
    assert sorted(os.listdir(trained)) == before


def test_a_report_of_nothing_is_refused(tmp_path, capsys):
    code, sentence = refused(capsys, ["--mode=report", f"--model_dir={tmp_path}"])
    assert code == 3 and str(tmp_path) in sentence
    assert os.listdir(tmp_path) == []
