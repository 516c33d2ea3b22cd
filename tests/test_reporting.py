"""The last lines of a test run: what was tested, what was not, and why."""

import json
import types

import pytest

from tests import parts, reporting

pytestmark = pytest.mark.one_stack


def totals(stats, left_out=0, expression=""):
    option = types.SimpleNamespace(markexpr=expression, keyword="")
    plugin = reporting.Reporting(types.SimpleNamespace(option=option))
    plugin.stack = "2.15.1"
    plugin.left_out = left_out
    plugin.seconds.update({"tests/a.py::one": 2.0, "tests/a.py::two": 1.0, "tests/b.py::one": 5.0})
    return plugin.totals(stats)


def sentence(*arguments, **named):
    return reporting.sentence(totals(*arguments, **named))


def skipped(reason):
    return types.SimpleNamespace(longrepr=("tests/a.py", 3, f"Skipped: {reason}"))


def failed(nodeid):
    return types.SimpleNamespace(nodeid=nodeid)


def test_it_names_the_stack_and_counts():
    said = sentence({"passed": [1, 2], "failed": [failed("tests/a.py::two")]})
    assert said.startswith("TensorFlow 2.15.1, Python 3.")
    assert said.endswith(": 2 tests passed, of 2 files, 1 failed")


def test_it_says_what_was_skipped_and_why():
    said = sentence({"passed": [1], "skipped": [skipped("no ONNX"), skipped("no ONNX")]})
    assert said.endswith("; 2 skipped: no ONNX")


def test_it_says_what_was_left_out_and_how_to_run_it():
    said = sentence({}, left_out=7, expression="not slow")
    assert said.endswith("; 7 left out by 'not slow' (make test-all runs every test)")


def test_only_the_leader_of_several_processes_adds_to_the_totals(tmp_path):
    option = types.SimpleNamespace(collectonly=False, add_totals=str(tmp_path / "totals.json"))
    worker = reporting.Reporting(types.SimpleNamespace(option=option, workerinput={}))
    worker.pytest_terminal_summary(types.SimpleNamespace(stats={"passed": [1]}))
    assert not (tmp_path / "totals.json").exists()


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


def test_the_last_line_of_parts_is_that_of_all_files(tmp_path):
    path = tmp_path / "totals.json"
    first = {"passed": [1, 2], "failed": [failed("tests/a.py::two")], "skipped": [skipped("ONNX")]}
    second = {"passed": [1], "skipped": [skipped("jax"), skipped("ONNX")]}
    reporting.add_to_file({**totals(first, 3, "not slow"), "peak": 900.0}, path)
    reporting.add_to_file({**totals(second, 4, "not slow"), "peak": 800.0}, path)
    both = json.loads(path.read_text())
    assert both["peak"] == 900.0 and both["failed"] == ["tests/a.py::two"]
    said = reporting.sentence(both)
    assert ": 3 tests passed, of 4 files, 1 failed; 2 skipped: ONNX; 1 skipped: jax; " in said
    assert said.endswith("; 7 left out by 'not slow' (make test-all runs every test)")


def test_parts_hold_every_file_once_and_share_the_long_ones(monkeypatch, tmp_path):
    path = tmp_path / "seconds.txt"
    path.write_text("90 tests/long.py\n80 tests/longer.py\n1 tests/short.py\n")
    monkeypatch.setattr(reporting, "SECONDS", path)
    files = ["tests/short.py", "tests/long.py", "tests/new.py", "tests/longer.py"]
    assert parts.parts_of(files, 2) == [
        ["tests/long.py", "tests/new.py"],
        ["tests/longer.py", "tests/short.py"],
    ]


def test_a_part_that_fails_ends_no_other_and_one_that_breaks_does(monkeypatch, capsys):
    files = ["tests/a.py", "tests/b.py", "tests/c.py"]
    monkeypatch.setattr(parts, "test_files", lambda: files)
    for codes, ran, worst in (([1, 0, 5], 3, 1), ([0, 0, 0], 3, 0), ([0, 2], 2, 2)):
        left = list(codes)
        monkeypatch.setattr(
            parts.subprocess,
            "run",
            lambda command, cwd, left=left: types.SimpleNamespace(returncode=left.pop(0)),
        )
        assert parts.run(3, ["-q"]) == worst and not left
        assert capsys.readouterr().out.count("=== tests, part") == ran
