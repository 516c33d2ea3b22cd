"""Every command of README.md: run with few steps, or planned where it needs a download."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from simclr_tf.flags import preset_files

from simclr_tf.config import MODES

ROOT = pathlib.Path(__file__).resolve().parents[2]
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
        "--resnet_depth=10",
    ],
    "finetune": ["--train_steps=1", "--train_batch_size=8"],
    "views": ["--sheet_images=2"],
    "selftest": ["--checks=devices"],
    "probe": ["--probe_epochs=1", "--probe_tasks=rotation,label"],
    "linear_eval": ["--train_epochs=1", "--train_batch_size=8", "--few_shot_draws=1"],
}
RUN_ALL = """
import sys
from simclr_tf.__main__ import main
for arguments in map(str.split, sys.argv[1:]):
    try:
        code = main(arguments)
    except SystemExit as done:
        code = done.code
    assert code == 0, arguments
"""

WRITE_OFFICIAL = """
import os, simclr_tf
from simclr_tf.weights.official_names import write_official
encoder = simclr_tf.ResNet(18, 0.0625, stem="imagenet")
encoder.build((None, 64, 64, 3))
os.makedirs("release/saved_model")
prefix = "release/saved_model/model.ckpt-0"
write_official(prefix, encoder)
import tensorflow as tf
tf.compat.v1.train.update_checkpoint_state("release/saved_model", prefix)
"""


def python(folder, *arguments):
    """Runs a fresh Python in `folder`, as a user does, and returns what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def made_small(command, *more):
    """The arguments of `python -m simclr_tf ...` with few steps, as one string."""
    words = shlex.split(command)
    assert words[1:3] == ["-m", "simclr_tf"], command
    names = {word.split("=")[0] for word in words}
    mode = re.search(r"--mode=(\w+)", command)
    small = SMALL.get(mode.group(1), []) if mode and "--help" not in names else []
    return " ".join(
        [*words[3:], *(flag for flag in [*small, *more] if flag.split("=")[0] not in names)]
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `photos` and with the finished run of `make demo`, made small."""
    folder = tmp_path_factory.mktemp("readme")
    random = np.random.default_rng(0)
    for kind in ("cats", "dogs"):
        (folder / "photos" / kind).mkdir(parents=True)
        for i in range(10):
            pixels = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{i}.png")
    recipe = subprocess.run(
        ["make", "-n", "-o", "setup", "demo"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    python(folder, "-c", RUN_ALL, *[made_small(line) for line in recipe.stdout.splitlines()])
    for name in ("cifar10", "imagenet"):
        (folder / "runs" / name).symlink_to(folder / "runs" / "demo")
    return folder


def test_make_demo_leaves_figures_a_model_and_a_picture(place):
    run = place / "runs" / "demo"
    for name in ("config.json", "metrics.jsonl", "results.json", "report/overview.png"):
        assert (run / name).stat().st_size > 0
    assert len(list((run / "saved_model").glob("*/saved_model.pb"))) == 1


def test_the_commands_for_own_images_run(place):
    commands = [c for c in COMMANDS if "runs/photos" in c or "image_dir=photos" in c]
    assert len(commands) == 8
    small = ["--image_size=32"], []
    drawn = [re.search("--mode=(pretrain|views)", command) for command in commands]
    every = [made_small(c, *small[not found]) for c, found in zip(commands, drawn)]
    python(place, "-c", RUN_ALL, *every)  # one process: TensorFlow is imported once
    assert list((place / "runs" / "photos" / "saved_model").glob("*/saved_model.pb"))
    assert np.load(place / "runs" / "photos" / "embeddings" / "embeddings.npz")["h"].shape[0] == 20
    assert (place / "views.png").stat().st_size > 0


def test_official_weights_are_imported_and_exported(place):
    """With a small checkpoint in the place of a release; the data set of the preset is absent."""
    commands = [made_small(line) for line in COMMANDS if "runs/official" in line]
    assert [re.search(r"--mode=(\w+)", c).group(1) for c in commands] == [
        "import_weights", "linear_eval", "export",
    ]  # fmt: skip
    python(place, "-c", WRITE_OFFICIAL)
    said = python(place, "-c", RUN_ALL, commands[0], commands[1] + " --dry_run", commands[2])
    assert "0 missing" in said and "plan: linear_eval" in said
    assert list((place / "runs" / "official" / "converted").glob("0/official_tf2/*.index"))


def test_the_other_commands_are_planned_or_help(place):
    others = ("runs/photos", "image_dir=photos", "runs/official")
    commands = [c for c in COMMANDS if "simclr_tf" in c and not any(name in c for name in others)]
    helps = [command for command in commands if "--help" in command]
    checks = [command for command in commands if "--mode=selftest" in command]
    rest = [command for command in commands if command not in helps + checks]
    plans = [made_small(command, "--dry_run") for command in rest]
    assert all(re.search("cifar10|imagenet", plan) for plan in plans)
    said = python(place, "-c", RUN_ALL, *plans, *map(made_small, checks))
    assert len(re.findall("^plan: ", said, re.M)) == len(plans)
    assert "checks passed" in said
    for command in helps:
        assert "flags of --mode=" in python(place, *shlex.split(command)[1:])


@pytest.mark.parametrize("code", PYTHON_BLOCKS)
def test_python_runs(code, place):
    shape = re.search(r"# \[4, (\w+)\]\n*$", code)
    if shape:
        name = re.findall(r"^(\w+) = ", code, re.M)[-1]
        last = "1" if shape.group(1) == "d" else shape.group(1)
        code += f"\nassert len({name}.shape) == 2 and {name}.shape[0] == 4, {name}.shape\n"
        code += f"assert {name}.shape[1] % {last} == 0\n"
    python(place, "-c", code)


def test_other_commands_are_targets_of_the_makefile():
    others = [line for line in COMMANDS if "simclr_tf" not in line]
    assert others == ["make demo", "make test"]


def test_the_tables_are_complete():
    for name in [*MODES, *preset_files.preset_names()]:
        assert f"`{name}`" in README
