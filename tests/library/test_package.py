"""`import simclr_tf`: quick, complete, and its functions keep their names beside the rooms'."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys

import pytest

import simclr_tf
from simclr_tf import config
from simclr_tf.config import MODES
from simclr_tf.library.calls import FUNCTIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def fresh(code):
    """Runs code in a new process; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_does_without_tensorflow():
    fresh(
        "import sys, simclr_tf\n"
        "simclr_tf.pretrain, simclr_tf.load, simclr_tf.views, dir(simclr_tf)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )


@pytest.mark.parametrize(
    "first, then",
    [
        ("simclr_tf.export", "from simclr_tf.export import card"),
        ("from simclr_tf.export import card", "simclr_tf.export"),
        ("import simclr_tf.export.card as card", "simclr_tf.export"),
        ("from simclr_tf import export", "import simclr_tf.export.card as card"),
    ],
)
def test_a_function_and_a_room_share_a_name(first, then):
    fresh(
        f"import inspect, simclr_tf\n{first}\n{then}\n"
        "assert inspect.isfunction(simclr_tf.export)\n"
        "assert simclr_tf.export.card is card and card.write_card\n"
        "from simclr_tf.report import sample\n"
        "assert inspect.isfunction(simclr_tf.report) and simclr_tf.report.sample is sample\n"
        "import simclr_tf.views\n"
        "assert inspect.isfunction(simclr_tf.views)\n"
    )


def test_type_checkers_see_every_public_name():
    tree = ast.parse((ROOT / "simclr_tf" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert sorted(seen) == simclr_tf.__all__
    for name, module in seen.items():
        assert getattr(importlib.import_module(module), name) is getattr(simclr_tf, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        simclr_tf.pretrian  # noqa: B018


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_signature_and_help_show_every_setting(mode):
    function = getattr(simclr_tf, mode)
    parameters = inspect.signature(function).parameters
    stand_in = {"image_dir", "dataset"} if "images" in parameters else set()
    fields = config.fields_of(MODES[mode].config)
    for name in set(MODES[mode].settings) - stand_in:
        assert name in parameters, name
        assert name in function.__doc__
        if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY and parameters[name].annotation in (str, int, float, bool):  # fmt: skip
            assert parameters[name].default == fields[name][1].default
    assert "--" not in function.__doc__ and "Returns:" in function.__doc__
    assert function.__doc__.splitlines()[0].endswith(".")
