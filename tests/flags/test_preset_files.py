"""A preset in a file of the user: read as the presets of this package, and trusted with less."""

import os

import pytest
from simclr_tf.flags.parse import parse, settle

from simclr_tf import config
from simclr_tf.errors import SettingsError
from simclr_tf.stack import tf

pytestmark = pytest.mark.one_stack


def preset(folder, text):
    path = folder / "mine.flags"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_flags_of_the_command_win_over_those_of_the_file(tmp_path):
    path = preset(
        tmp_path, "# mine\n--mode=pretrain\n--temperature=0.3  # warm\n--crop_area_min=0.5\n"
    )
    mode, found, given = parse([f"--preset={path}", "--temperature=0.1", "--model_dir=x"])
    assert mode == "pretrain" and found.loss.temperature == 0.1
    assert found.views.crop_area_min == 0.5 and "crop_area_min" in given


def test_a_file_may_lie_on_an_object_store():
    with tf.io.gfile.GFile("ram://mine.flags", "w") as file:
        file.write("--temperature=0.3\n")
    settled = settle("pretrain", "ram://mine.flags", {"model_dir": "x"})
    assert settled.config.loss.temperature == 0.3


def test_the_sheet_of_views_takes_the_file_too(tmp_path):
    path = preset(tmp_path, "--temperature=0.3\n--crop_area_min=0.5\n")
    settled = settle("views", path, {"image_dir": "photos"})
    assert settled.config.views.crop_area_min == 0.5


@pytest.mark.parametrize(
    "line",
    [
        "--encoder=package.module:function",
        "--model_dir=/elsewhere",
        "--data_service=host:1",
        "--service_key=/key",
        "--loggers=wandb",
        "--image_dir=/elsewhere",
        "--trust_code=True",
        "--use_tpu=True",
        "--mode=linear_eval",
        "temperature=0.1",
        "--temperature",
    ],
)
def test_a_file_sets_no_place_no_address_and_no_code(tmp_path, line):
    with pytest.raises(SettingsError, match="mine.flags"):
        settle("pretrain", preset(tmp_path, f"--temperature=0.3\n{line}\n"), {"model_dir": "x"})


def test_a_file_that_is_missing_or_not_text_is_one_sentence(tmp_path):
    other = tmp_path / "binary.flags"
    other.write_bytes(bytes(range(256)))
    large = tmp_path / "large.flags"
    large.write_text("#" * 200_000)
    pipe = tmp_path / "pipe.flags"
    os.mkfifo(pipe)
    for path in (tmp_path / "none.flags", other, large, tmp_path, pipe, "ram://none.flags"):
        with pytest.raises(SettingsError, match="--preset="):
            settle("pretrain", f"{path}/" if path == tmp_path else str(path), {"model_dir": "x"})


def test_everything_that_a_tuning_writes_may_stand_in_a_file():
    from simclr_tf.flags.preset_files import _OF_FILES

    from simclr_tf.training import tuning

    start = config.build(config.Pretrain, {"stem": "small", "resnet_depth": 10})
    text = tuning.preset_text(start, {"flip": False, "temperature": 0.1}, {"seed"}, "title")
    names = {line[2:].partition("=")[0] for line in text.splitlines()[2:]}
    assert names <= _OF_FILES and {"flip", "temperature", "stem", "resnet_depth"} <= names
