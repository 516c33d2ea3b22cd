"""Hundreds of wrong flag values, drawn at random: one sentence each, and nothing is written."""

import os
import random
import string

import pytest

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.config import MODES

DRAWS = 320
WORDS = {bool: ("maybe", "2", ""), int: ("x", "", "1.5", "nan", "1e9", "0x"), float: ("x", "", "1,5", "--", "1.5.2")}  # fmt: skip
PLACES = {"checkpoint", "image_dir", "source", "eval_dir", "teacher", "runs", "query", "embeddings"}


def word(rng):
    """A word that is no name of anything."""
    return "".join(rng.choice(string.ascii_lowercase) for _ in range(9))


def wrong_values(rng, name, field):
    """Values that this setting must refuse, [] if every text is one."""
    kind = type(field.default)
    meta = field.metadata
    values = list(WORDS.get(kind, ()))
    if kind is float:
        values += ["nan", "inf", "-inf"]
    if kind in (int, float):
        if meta["minimum"] is not None:
            values.append(str(meta["minimum"] - rng.randint(1, 1000)))
        if meta["above"] is not None:
            values.append(str(meta["above"] - rng.choice([0, 1, 100])))
        if meta["maximum"] is not None:
            values.append(str(meta["maximum"] + rng.randint(1, 1000)))
    if (meta["allowed"] and kind is str) or meta["each_of"]:
        values.append(word(rng))
    if name in PLACES:
        values.append(f"missing/{word(rng)}")
    return values


def drawn_commands(rng):
    """(arguments, what is wrong) of commands that must be refused."""
    while True:
        mode = rng.choice(sorted(MODES))
        module = MODES[mode]
        given = {"model_dir": "run", "checkpoint": "run", "output": "out", "source": "run"}
        given.update(teacher="run", study="losses", runs="run", page="page", query="run")
        base = [f"--{key}={value}" for key, value in given.items() if key in module.settings]
        name = rng.choice(module.settings)
        values = wrong_values(rng, name, config.fields_of(module.config)[name][1])
        if rng.random() < 0.1:
            name = rng.choice(module.settings) + rng.choice("xyz")
            values = ["1"]
        if values:
            wrong = f"--{name}={rng.choice(values)}"
            kept = [flag for flag in base if not flag.startswith(f"--{name}=")]
            yield [f"--mode={mode}", *kept, wrong], wrong


@pytest.mark.slow
@pytest.mark.one_stack
def test_wrong_values_are_refused_in_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands = drawn_commands(random.Random(0))
    for (arguments, wrong), _ in zip(commands, range(DRAWS)):
        code = main(arguments)
        output = capsys.readouterr()
        assert code in (2, 3), (arguments, output)
        assert output.err.startswith("simclr_tf: ") and output.err.count("\n") == 1, arguments
        name = wrong[2:].partition("=")[0]
        assert name in output.err or name in PLACES, (arguments, output.err)
        assert os.listdir(tmp_path) == [], arguments
