"""The recipe "Add a mode" of docs/contributing.md, carried out at run time."""

import importlib
import re

import pytest
from simclr_tf.flags.help import help_text

import simclr_tf.commands
from simclr_tf.__main__ import main
from simclr_tf.config import evaluation, modes
from simclr_tf.config.fields import Section, setting, setting_names
from tests.docs import pages


@pytest.fixture
def count(tmp_path, monkeypatch):
    """The mode of the recipe, registered and with its runner."""
    section = pages.read("docs/contributing.md").split("## Add a mode\n")[1].split("\n## ")[0]
    registration, runner = re.findall(r"^```python\n(.*?)^```$", section, re.S | re.M)
    places = {**vars(evaluation), **vars(modes), "Section": Section, "setting": setting}
    exec(registration, {**places, "setting_names": setting_names})
    (tmp_path / "count.py").write_text(runner)
    path = [*simclr_tf.commands.__path__, str(tmp_path)]
    monkeypatch.setattr(simclr_tf.commands, "__path__", path)
    importlib.invalidate_caches()
    yield
    del modes.MODES["count"]


def test_add_a_mode(count, capsys):
    assert main(["count", "--dataset=digits", "--largest=2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "plan: count" and len(said) == 5
    assert re.fullmatch(r"\d: \d+ images", said[2])
    assert said[-1] == "next: python -m simclr_tf pretrain --dataset=digits --model_dir=runs/first"
    assert main(["count", "--largest=0"]) == 2
    assert "largest=0 is not allowed: give at least 1" in capsys.readouterr().err
    assert main(["count", "--dry_run"]) == 0
    assert "images" not in capsys.readouterr().out
    assert "count           Count the images of each class." in help_text("")
    assert "--largest=3" in help_text("count") and "--split_seed" not in help_text("count")
    assert "--split_seed" in help_text("count", full=True)
