"""Runs side by side: what differs, which differences are significant, the page."""

import json
import os
import re

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import compare
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.evaluation.predictions import Predictions
from simclr_tf.report import compare_page
from tests.report.runs import labelled_run, unlabelled_run


def test_only_settings_that_differ_are_shown():
    a = {"seed": 0, "loss": "nt_xent", "model_dir": "a"}
    b = {"seed": 0, "loss": "margin", "model_dir": "b", "new": 1}
    assert compare_page.differing_settings({"a": a, "b": b}) == [
        ("loss", "nt_xent", "margin"),
        ("new", "", 1),
    ]


def predictions(hits):
    labels = np.zeros(len(hits), int)
    return Predictions(np.arange(len(hits)), labels, np.where(hits, 0, 1))


def test_the_paired_test_sees_what_the_intervals_do_not():
    base = np.arange(400) % 5 > 0  # 80 %
    better = base | (np.arange(400) % 25 == 0)  # 84 %, never worse
    assert compare_page.paired_p(predictions(base), predictions(better)) < 0.001
    assert compare_page.paired_p(predictions(base), predictions(base)) == 1
    intervals = (0.8, 0.758, 0.836), (0.84, 0.801, 0.873)
    assert 0.1 < compare_page.unpaired_p(*intervals) < 0.2
    assert compare_page.unpaired_p((0.5, 0.45, 0.55), (0.8, 0.75, 0.85)) < 1e-6
    assert compare_page.unpaired_p((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)) == 1


def test_runs_get_names():
    assert compare.named_runs("x/a, b=y/a,z/a/") == {"a": "x/a", "b": "y/a", "z/a/": "z/a/"}
    with pytest.raises(SettingsError, match="two runs named b"):
        compare.named_runs("b=x,b=y")
    with pytest.raises(SettingsError, match="names one run"):
        config.build(config.MODES["compare"].config, {"runs": "a"})


@pytest.mark.one_stack
def test_the_page_of_two_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare_page, "BANK", 20)
    runs = {
        "one": labelled_run(tmp_path, 0, wrong=0),
        "<b>two": labelled_run(tmp_path, 1, wrong=12),
    }
    page = str(tmp_path / "page.html")
    settings = {"runs": ",".join(f"{name}={folder}" for name, folder in runs.items()), "page": page}
    made = compare.run(config.build(config.MODES["compare"].config, settings))
    rows = {row["evaluation"]: row for row in made["table"]}
    assert rows["linear"]["figures"]["one"][0] == 1 and rows["linear"]["paired"]
    assert rows["linear"]["p_values"]["<b>two"] < 0.01
    assert not rows["linear, 1 per class"]["paired"]
    assert "0.200 (0.500 to 1.000) *" in capsys.readouterr().out
    text = open(page, encoding="utf-8").read()
    assert set(re.findall(r'<section id="([\w-]+)"', text)) == {"settings", "curves", "evaluations", "neighbours"}  # fmt: skip
    assert "&lt;b&gt;two" in text and "<b>two" not in text.split("<script")[0]
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    loss = data["charts"]["curve-0-loss"]["series"]
    assert [one["name"] for one in loss] == ["one", "<b>two"]
    assert "temperature" in text and text.count('class="row card"') == 8


def test_runs_without_common_evaluations_or_images_are_compared_by_curves(tmp_path, caplog):
    runs = {"a": unlabelled_run(tmp_path / "a"), "b": unlabelled_run(tmp_path / "b")}
    for name in runs:
        os.rename(tmp_path / name / "flat", tmp_path / name / "gone")
    page = str(tmp_path / "page.html")
    assert compare_page.write_compare_page(runs, page) == []
    text = open(page, encoding="utf-8").read()
    assert "Without the neighbours of b" in text and 'id="curves"' in text
    with pytest.raises(DataError):
        compare_page.write_compare_page({"a": str(tmp_path), "b": runs["b"]}, page)
