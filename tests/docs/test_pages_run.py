"""Every command and snippet of README.md and docs/ is run, with tiny settings, in one folder."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests import forking
from tests.docs.pages import PAGES, ROOT, blocks

pytestmark = [pytest.mark.slow, pytest.mark.current_stack]

# flags that make a command small; those that the command gives itself stay as they are
NET = ["--width_multiplier=0.0625", "--resnet_depth=10"]
LENGTH = ["--train_steps=3", "--warmup_epochs=0", "--train_batch_size=8"]
SMALL = {
    "pretrain": [*LENGTH, *NET, "--image_size=32"],
    "finetune": ["--train_steps=1", "--train_batch_size=8"],
    "distill": [
        "--train_steps=1",
        "--train_batch_size=8",
        "--warmup_epochs=0",
        "--baselines=False",
        "--export_formats=",
    ],
    "views": ["--sheet_images=2", "--image_size=16"],
    "selftest": ["--checks=devices"],
    "probe": ["--probe_epochs=1", "--probe_tasks=rotation"],
    "tune": [
        "--tune_trials=2",
        "--tune_steps=2",
        "--temperature=0.2",
        "--train_batch_size=8",
        *NET,
        "--image_size=16",
    ],
    "linear_eval": [
        "--train_epochs=1",
        "--train_batch_size=8",
        "--few_shot_draws=1",
        "--linear_form=paper",
    ],
    "transfer": ["--train_batch_size=8"],
}
# commands of which only the plan is made here, and where their like is run
RUN_ELSEWHERE = {
    "--encoder=applications:MobileNetV3Small": "test_distill.py",
    "--checkpoint=runs/packed": "test_shards.py",
    "--model_dir=runs/mine": "README.md; a run of three steps needs no minutes",
    "--model_dir=runs/digits": "make demo",
}

# Run in each process first. A graph of some steps is not worth optimizing, and a page of a report
# shows the same with few images.
QUICK = """
import simclr_tf.report.run_page as page
from simclr_tf.stack import tf
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
page.MAP, page.BANK, page.PAIRS = 30, 30, 8
"""
# The commands of README.md measure a step; those of the other pages believe them.
PACE = """
from simclr_tf.training import auto
auto._measure = lambda *arguments: auto.Pace(first=1.0, step=0.01)
"""
COMMAND = """
import sys
from simclr_tf.__main__ import main
sys.exit(main({}))
"""


def simple_settings(flags):
    """{name: value} of flags such as --train_steps=3."""
    pairs = [flag.lstrip("-").split("=") for flag in flags]
    return {name: float(value) if "." in value else int(value) for name, value in pairs}


ELSEWHERE = ("make ", ". ", "python -m pytest", "python -m benchmarks")  # see test_pages.py

WRITE_OFFICIAL = """
import os, simclr_tf
from simclr_tf.stack import tf
from simclr_tf.weights.official_names import write_official
encoder = simclr_tf.ResNet(18, 0.0625, stem="imagenet")
encoder.build((None, 64, 64, 3))
os.makedirs("release/saved_model")
prefix = "release/saved_model/model.ckpt-0"
write_official(prefix, encoder)
tf.compat.v1.train.update_checkpoint_state("release/saved_model", prefix)
"""


SMALL_PRETRAINING = """
import simclr_tf
whole = simclr_tf.pretrain
def small(*arguments, **settings):
    return whole(*arguments, **(settings if "train_steps" in settings else {**SMALL, **settings}))
simclr_tf.pretrain = small
""".replace("SMALL", repr(simple_settings(SMALL["pretrain"])))


def made_small(line, *more):
    """The arguments of a command of simclr_tf, with few steps."""
    words = shlex.split(line)
    words = words[1:] if words[0] == "simclr-tf" else words[3:]
    names = {word.split("=")[0] for word in words}
    helps = names & {"--help", "--helpfull", "--version"}
    small = [] if helps else SMALL.get(words[0].replace("--mode=", ""), [])
    return [*words, *(flag for flag in [*small, *more] if flag.split("=")[0] not in names)]


def with_shapes_checked(code):
    """A snippet whose comments such as `# [4, d]` are assertions."""
    lines = []
    for line in code.splitlines():
        shape = re.fullmatch(r"(\w+) = .*# \[4, (\w+)\]", line)
        lines.append(line)
        if shape:
            name, last = shape.groups()
            lines.append(f"assert {name}.shape[0] == 4 and len({name}.shape) == 2, {name}.shape")
            if last.isdigit():
                lines.append(f"assert {name}.shape[1] == {last}, {name}.shape")
    return "\n".join(lines)


class Place:
    """A folder in which the blocks of the pages are run, each command once."""

    def __init__(self, folder, launcher):
        self.folder = folder
        self.launcher = launcher
        self.done = set()
        self.before = QUICK

    def run(self, work):
        """Runs the arguments of a command, or code, in a process of its own; returns its output."""
        said = self.folder / "said.txt"
        code = work if isinstance(work, str) else COMMAND.format(work)
        code = f"exec({self.before!r}, {{}})\n{code}"
        assert self.launcher.run(code, said) == 0, f"{work}\n{said.read_text()[-3000:]}"
        return said.read_text()

    def run_page(self, page):
        for block in blocks(page):
            if block.language == "python" and block.mark != "not run":
                code = with_shapes_checked(block.text)
                self.run(SMALL_PRETRAINING + code if "simclr_tf.pretrain(" in code else code)
            if block.language == "sh" and block.mark in ("", "plan only"):
                for line in block.commands:
                    if not line.startswith(ELSEWHERE) and line not in self.done:
                        plan = block.mark or RUN_ELSEWHERE.keys() & set(line.split())
                        more = ["--dry_run"] if plan else []
                        said = self.run(made_small(line, *more))
                        assert not more or "plan: " in said, line
                        self.done.add(line)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder after a reader has followed README.md: `photos`, `runs/demo`, `runs/photos`."""
    folder = tmp_path_factory.mktemp("pages")
    random = np.random.default_rng(0)
    for kind in ("cats", "dogs"):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{number}.png")
    Image.fromarray(pixels).save(folder / "cat.jpg")
    make = ["make", "-n", "-o", "setup", "demo", f"VENV={sys.prefix}"]
    recipe = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True)
    with forking.Launcher(folder) as launcher:
        place = Place(folder, launcher)
        for line in recipe.stdout.splitlines():
            words = shlex.split(line)
            if words[2] != "simclr_tf":  # writes the photographs
                run = f"import runpy, sys; sys.argv = {words[2:]}; runpy.run_module({words[2]!r}, run_name='__main__')"  # fmt: skip
                place.run(run)
            elif "_photographs/" not in line:
                place.run(made_small(line))
            elif "--mode=pretrain" in words:  # README.md trains on a folder, and measures that
                place.run(made_small(line, "--dry_run"))
        place.run(WRITE_OFFICIAL)
        for name in ("cifar10", "imagenet"):
            (folder / "runs" / name).symlink_to(folder / "runs" / "demo")
        place.run_page("README.md")
        place.before = QUICK + PACE
        yield place


def test_make_demo_leaves_figures_a_model_and_a_picture(place):
    photographs = place.folder / "runs" / "demo_photographs"
    assert len(list(photographs.glob("images/*/*.png"))) == 500
    run = place.folder / "runs" / "demo"
    for name in ("config.json", "metrics.jsonl", "results.json", "report/overview.png"):
        assert (run / name).stat().st_size > 0
    assert len(list((run / "saved_model").glob("*/saved_model.pb"))) == 1


def test_the_commands_for_own_images_leave_a_model(place):
    assert list((place.folder / "runs" / "photos" / "saved_model").glob("*/saved_model.pb"))


OTHERS = [page for page in PAGES[1:] if page != "docs/elsewhere.md"]  # see test_elsewhere.py


@pytest.mark.parametrize("page", OTHERS)
def test_every_command_and_snippet_runs(page, place):
    place.run_page(page)
