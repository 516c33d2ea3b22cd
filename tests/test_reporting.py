"""The last lines of a test run: what was tested, what was not, and why."""

import types

import pytest

from tests import reporting

pytestmark = pytest.mark.one_stack


def sentence(stats, left_out=0, expression=""):
    option = types.SimpleNamespace(markexpr=expression, keyword="")
    plugin = reporting.Reporting(types.SimpleNamespace(option=option))
    plugin.stack = "2.15.1"
    plugin.left_out = left_out
    plugin.seconds.update({"tests/a.py::one": 2.0, "tests/a.py::two": 1.0, "tests/b.py::one": 5.0})
    return plugin._sentence(stats)


def skipped(reason):
    return types.SimpleNamespace(longrepr=("tests/a.py", 3, f"Skipped: {reason}"))


def test_it_names_the_stack_and_counts():
    said = sentence({"passed": [1, 2], "failed": [3]})
    assert said.startswith("TensorFlow 2.15.1, Python 3.")
    assert said.endswith(": 2 tests passed, of 2 files, 1 failed")


def test_it_says_what_was_skipped_and_why():
    said = sentence({"passed": [1], "skipped": [skipped("no ONNX"), skipped("no ONNX")]})
    assert said.endswith("; 2 skipped: no ONNX")


def test_it_says_what_was_left_out_and_how_to_run_it():
    said = sentence({}, left_out=7, expression="not slow")
    assert said.endswith("; 7 left out by 'not slow' (make test-all runs every test)")


def test_the_longest_files_come_first_and_new_ones_in_between(monkeypatch, tmp_path):
    path = tmp_path / "tests" / "seconds.txt"
    path.parent.mkdir()
    path.write_text("# header\n90 tests/long.py\n1 tests/short.py\n")
    monkeypatch.setattr(reporting, "SECONDS", path)
    names = ["tests/short.py::a", "tests/new.py::a", "tests/long.py::b", "tests/long.py::a"]
    items = [types.SimpleNamespace(nodeid=name) for name in names]
    reporting.longest_first(items)
    assert [item.nodeid for item in items] == [names[2], names[3], names[1], names[0]]
    for name in ("short", "long"):
        (tmp_path / "tests" / f"{name}.py").touch()
    reporting._record({"tests/short.py": 200.0})
    assert path.read_text().splitlines()[1:] == ["200 tests/short.py", "90 tests/long.py"]
