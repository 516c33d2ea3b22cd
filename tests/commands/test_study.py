"""`--mode=study`: every study is planned; one is run, killed, shared and tabulated."""

import json
import math

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import study, study_rows, study_workers
from simclr_tf.errors import DivergedError, PreemptedError, SettingsError
from simclr_tf.runs.files import read_json
from simclr_tf.studies import figure, registry, table
from simclr_tf.studies.plan import Finding, Measure, Plan, Row, Study

SCALES = ("tiny", "small", "paper")


def works(scale, digits=True, **values):
    values = {"study": "all", "model_dir": "runs/studies", "scale": scale, **values}
    settings = config.build(config.Study, values)
    return [
        study_rows.Work(settings, frozenset(values), registry.make_scale(scale, digits), one)
        for one in registry.STUDIES.values()
    ]


def test_the_names_of_the_settings_are_those_of_the_registry():
    assert tuple(registry.STUDIES) == config.evaluation.STUDIES


@pytest.mark.one_stack
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("digits", [True, False])
def test_every_row_of_every_study_is_a_run_with_settings_that_exist(scale, digits):
    folders = set()
    for work in works(scale, digits):
        assert work.plan.rows and work.plan.findings, work.study.name
        for task in work.tasks:
            kind = study_rows._RUNNERS[task.row.mode][0]
            built = config.flatten(config.build(kind, task.settings))
            assert set(task.row.settings) <= set(built), task.row.name
            assert task.folder not in folders
            folders.add(task.folder)
            for measure in task.row.cells.values():
                if measure.mode:
                    values = {**task.scale.evaluation.get(measure.mode, {}), **measure.settings}
                    config.build(study_rows._RUNNERS[measure.mode][0], values)
        places = set(work.plan.places)
        assert sum(len(row.cells) for row in work.plan.rows) == len(places)
        for finding in work.plan.findings:
            assert {*finding.better, *finding.worse} <= places, finding.sentence


@pytest.mark.one_stack
def test_the_papers_tables_are_whole():
    numbers = {name: one.paper for name, one in registry.STUDIES.items()}
    assert len(numbers["augmentation_pairs"]) == 49
    assert numbers["augmentation_pairs"]["crop", "color"] == 56.3
    # the mean of a row is printed beside the paper's figure
    row = [numbers["augmentation_pairs"]["noise", one] for one in registry._PAIRS]
    assert np.mean(row) == pytest.approx(15.5, abs=0.1)
    assert numbers["batch_epochs"]["4096", "100 linear"] == 64.6
    assert len(numbers["batch_epochs"]) == 48 and len(numbers["transfer"]) == 24
    assert numbers["temperature"]["unit length, 0.1", "top-1"] == 64.4
    paper = registry.make_scale("paper", False)
    for name in ("augmentation_pairs", "losses", "temperature", "projection_head"):
        assert set(numbers[name]) <= set(registry.STUDIES[name].make(paper).places), name


@pytest.mark.one_stack
def test_intervals_and_verdicts_are_those_of_student():
    a, b = ("a", "x"), ("b", "x")
    values = {a: {0: 70.0, 1: 72.0, 2: 71.0}, b: {0: 60.0, 1: 61.0, 2: 62.0}}
    mean, half = table.mean_and_interval(list(values[a].values()))
    assert mean == 71.0 and half == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    gained = table.difference(Finding("a beats b", (a,), (b,)), values)
    assert gained[0] == 10.0 and table.verdict(*gained) == "shows"
    assert table.verdict(*table.difference(Finding("", (b,), (a,)), values)) == "the opposite shows"
    assert table.verdict(1.0, 2.0) == table.UNDECIDED
    assert table.verdict(1.0, None) == "yes, by one seed"
    values[a].pop(2)  # a seed counts where it has both cells
    assert table.difference(Finding("", (a,), (b,)), values)[0] == pytest.approx(10.5)
    assert table.difference(Finding("", (a,), (("c", "x"),)), values) is None


@pytest.mark.one_stack
def test_shards_share_the_runs_and_processes_share_a_shard():
    values = {"study": "losses,transfer", "model_dir": "runs/s", "shard": "2/3", "processes": 2}
    settings = config.build(config.Study, {**values, "seeds": 3})
    lines = study_workers.commands(settings, frozenset({*values, "seeds"}), ("losses", "transfer"))
    assert [line[-1] for line in lines] == ["--shard=3/6", "--shard=4/6"]
    for line in lines:
        assert "--study=losses,transfer" in line and "--model_dir=runs/s" in line
        assert "--seeds=3" in line and not [word for word in line if "processes" in word]
    for bad in ("0/2", "3/2", "a/b", "2", "1/0"):
        with pytest.raises(SettingsError, match="give i/n with i from 1 to n"):
            config.build(config.Study, {"shard": bad})
    memory = config.build(config.Study, {"image_dir": "memory://0123456789abcdef", "processes": 2})
    with pytest.raises(SettingsError, match="cannot share images in memory"):
        study_workers.commands(memory, frozenset(), ("losses",))


def small(scale):
    """Two rows of one step, which read the same figure of the run and of an evaluation."""
    main = Measure("linear_eval", ("few_shot", "1"))
    own = Measure("", ("entropy",), percent=False)
    rows = tuple(
        Row(f"t{value:g}", {"temperature": value}, {(f"{value:g}", "top-1"): main, (f"{value:g}", "entropy"): own})
        for value in (0.1, 1.0)
    )  # fmt: skip
    return Plan(rows, (Finding("warm is better", (("1", "top-1"),), (("0.1", "top-1"),)),))


SMALL = {
    "image_size": 16, "resnet_depth": 10, "width_multiplier": 0.0625, "proj_out_dim": 8,
    "train_steps": 1, "train_batch_size": 8, "warmup_epochs": 0.0, "use_blur": False,
    "effective_rank_steps": 0, "lineareval_while_pretraining": False,
}  # fmt: skip


@pytest.fixture
def minimal(monkeypatch):
    """The study `losses` with two rows of one step."""
    one = Study("losses", "Two temperatures", "Table 5", small, {("0.1", "top-1"): 64.4})
    monkeypatch.setitem(registry.STUDIES, "losses", one)
    monkeypatch.setitem(registry._PRETRAIN, "tiny", SMALL)
    monkeypatch.setattr(registry, "_DIGITS", {})
    linear = {"linear_form": "fast", "baselines": False, "few_shot_draws": 1}
    monkeypatch.setitem(registry._LINEAR, "tiny", linear)


def start(folder, **values):
    values = {"study": "losses", "model_dir": str(folder), "strategy": "default", **values}
    return study.run(config.build(config.Study, values), frozenset(values))


@pytest.mark.slow
@pytest.mark.current_stack
def test_a_study_survives_a_kill_and_ends_with_table_and_picture(
    minimal, tmp_path, monkeypatch, capsys
):
    first = start(tmp_path, shard="1/2")["losses"]  # the table says what is missing
    assert (first["runs"], first["runs_done"]) == (2, 1)
    assert "2 of 4 figures are missing" in (tmp_path / "losses" / "results.md").read_text()
    assert (tmp_path / "losses" / "t0.1" / "seed0" / "checkpoints").is_dir()

    def killed(config, given):
        raise PreemptedError("stopped")

    whole = study_rows._RUNNERS["linear_eval"]
    monkeypatch.setitem(study_rows._RUNNERS, "linear_eval", (whole[0], killed))
    with pytest.raises(PreemptedError):
        start(tmp_path)
    monkeypatch.setitem(study_rows._RUNNERS, "linear_eval", whole)

    def never(config, given):
        raise AssertionError("the run was finished before")

    monkeypatch.setitem(study_rows._RUNNERS, "pretrain", (config.Pretrain, never))
    results = start(tmp_path)["losses"]  # only the evaluation was missing
    assert results["runs_done"] == 2 and start(tmp_path)["losses"] == results
    folder = tmp_path / "losses"
    assert read_json(str(folder / "results.json")) == json.loads(json.dumps(results))
    lines = (folder / "results.csv").read_text().splitlines()
    assert lines[0] == "row,column,seed,value,paper" and len(lines) == 5
    assert lines[1].startswith("0.1,top-1,0,") and lines[1].endswith(",64.4")
    text = (folder / "results.md").read_text()
    assert "| 0.1 | 64.4 |" in text and "warm is better" in text
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert 0 <= results["figures"][0][2][0] <= 100
    assert "plan: linear_eval" in (folder / "t0.1" / "seed0.log").read_text()
    assert "0 of them done" not in capsys.readouterr().out.split("plan: study losses")[-1]


def test_a_run_that_diverges_is_named_and_does_not_end_the_study(minimal, tmp_path, monkeypatch):
    def diverged(config, given):
        raise DivergedError("the loss is NaN")

    monkeypatch.setitem(study_rows._RUNNERS, "pretrain", (config.Pretrain, diverged))
    results = start(tmp_path)["losses"]
    assert set(results["failed"]) == {"t0.1, seed 0", "t1, seed 0"}
    assert (
        "t1, seed 0 has no figures: the loss is NaN"
        in (tmp_path / "losses" / "results.md").read_text()
    )


def test_a_dry_run_prints_every_row_and_an_estimate(minimal, tmp_path, capsys):
    assert start(tmp_path, dry_run=True, seeds=3, shard="1/2") is None
    said = capsys.readouterr().out
    assert "t0.1: pretrain --temperature=0.1; linear_eval" in said
    assert "6 (2 rows, seeds 0 to 2), 0 of them done" in said
    assert "estimate: 6 runs, " in said and "by a measured step of" in said


@pytest.mark.one_stack
def test_both_kinds_of_picture_are_drawn():
    scale = registry.make_scale("tiny", True)
    for name in ("augmentation_pairs", "temperature"):
        one = registry.STUDIES[name]
        plan = one.make(scale)
        values = {place: {0: 50.0 + at, 1: 51.0} for at, place in enumerate(plan.places)}
        drawn = figure.draw(one, plan, scale, values)
        assert len(drawn.axes) == 2 and all(axis.has_data() for axis in drawn.axes)
