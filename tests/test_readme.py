"""Every command of README.md: run with few steps, or planned where it needs a download."""

import os
import pathlib
import re
import shlex
import subprocess

import numpy as np
import pytest
from PIL import Image

from flags import preset_files
from flags.modes import MODES
from simclr_tf.__main__ import main

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
PYTHON_BLOCKS = [text for kind, text in BLOCKS if kind == "python"]

# flags that make a command small; those that the command gives itself stay as they are
SMALL = {
    "pretrain": [
        "--train_steps=1",
        "--warmup_epochs=0",
        "--train_batch_size=8",
        "--width_multiplier=0.125",
    ],
    "linear_eval": ["--train_epochs=1", "--train_batch_size=8", "--few_shot_draws=1"],
    "export": [],
    "report": [],
}


def execute(command, *more):
    """Runs `python -m simclr_tf ...` in this process, made small; returns the exit code."""
    words = shlex.split(command)
    assert words[1:3] == ["-m", "simclr_tf"], command
    arguments = words[3:]
    mode = re.search(r"--mode=(\w+)", command)
    names = {argument.split("=")[0] for argument in arguments}
    small = SMALL[mode.group(1)] if mode and "--help" not in arguments else []
    small = [flag for flag in [*small, *more] if flag.split("=")[0] not in names]
    return main([*arguments, *small])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `photos` and with the finished run of `make demo`, made small."""
    folder = tmp_path_factory.mktemp("readme")
    random = np.random.default_rng(0)
    for kind in ("cats", "dogs"):
        (folder / "photos" / kind).mkdir(parents=True)
        for i in range(8):
            pixels = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{i}.png")
    recipe = subprocess.run(
        ["make", "-n", "-o", "setup", "demo"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    before = os.getcwd()
    os.chdir(folder)
    try:
        for command in recipe.stdout.splitlines():
            assert execute(command) == 0, command
        for name in ("cifar10", "imagenet"):
            (folder / "runs" / name).symlink_to(folder / "runs" / "demo")
    finally:
        os.chdir(before)
    return folder


def test_make_demo_leaves_figures_a_model_and_a_picture(place):
    run = place / "runs" / "demo"
    for name in ("config.json", "metrics.jsonl", "results.json", "report/overview.png"):
        assert (run / name).stat().st_size > 0
    assert len(list((run / "saved_model").glob("*/saved_model.pb"))) == 1


@pytest.mark.parametrize("command", [line for line in COMMANDS if "simclr_tf" in line])
def test_a_command_runs_or_is_planned(command, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    if "--help" in command:
        with pytest.raises(SystemExit) as done:
            execute(command)
        assert done.value.code == 0
        return
    needs_download = re.search("cifar10|imagenet", command)
    more = ["--dry_run"] if needs_download else []
    more += ["--image_size=32"] if "image_dir" in command else []
    assert execute(command, *more) == 0
    if needs_download:
        assert "plan" in capsys.readouterr().out


@pytest.mark.parametrize("code", PYTHON_BLOCKS)
def test_python_runs(code, place, monkeypatch):
    monkeypatch.chdir(place)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    if "h" in names:
        assert names["h"].shape[0] == 4 and len(names["h"].shape) == 2
    if "logits" in names:
        assert names["logits"].shape == (4, 10)


def test_other_commands_are_targets_of_the_makefile():
    others = [line for line in COMMANDS if "simclr_tf" not in line]
    assert others == ["make demo", "make test"]


def test_the_tables_are_complete():
    for name in [*MODES, *preset_files.preset_names()]:
        assert f"`{name}`" in README
