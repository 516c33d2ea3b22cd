"""The table and the picture of a run."""

import io
import json
import os
import re

import pytest
from PIL import Image

from simclr_tf import config
from simclr_tf.commands import report
from simclr_tf.errors import DataError
from simclr_tf.evaluation.results import markdown_table, plain_table, results_markdown
from simclr_tf.report.summary import summary_table
from simclr_tf.report.table import summarize
from tests.tiny_run import images_in_folders, save_tiny_run

FIGURES = {
    "top_1": 0.75, "top_1_interval": [0.7, 0.8], "top_5": 0.9, "top_5_interval": [0.85, 0.95],
    "mean_per_class": 0.5, "mean_per_class_interval": [0.45, 0.55],
}  # fmt: skip
RESULTS = {
    "mode": "linear_eval", "checkpoint": "runs/a", "step": 9, "dataset": "digits",
    "num_train": 50, "num_eval": 20, "num_classes": 3, "linear_form": "both",
    **FIGURES, "few_shot": {"1": 0.5, "2": 0.625}, "few_shot_draws": 10,
    "few_shot_interval": {"1": [0.4, 0.6], "2": [0.5, 0.75]},
    "fast": {"top_1": 0.875, "top_1_interval": [0.8, 0.9]}, "encoder_sha256": "ab" * 32,
    "baselines": {
        "pixels": {
            **FIGURES, "top_1": 0.25, "few_shot": {"1": 0.1, "2": 0.2},
            "fast": {"top_1": 0.3, "top_1_interval": [0.2, 0.4]},
            "few_shot_interval": {"1": [0.05, 0.15], "2": [0.1, 0.3]},
        }
    },
}  # fmt: skip


def test_markdown_table():
    text = markdown_table(["a|b", "n"], [["x", "1"], ["y", "22"]])
    assert text == "| a\\|b | n |\n| :--- | ---: |\n| x | 1 |\n| y | 22 |\n"


def test_plain_table_aligns_its_columns():
    assert plain_table(["name", "n"], [["x", "1"], ["longer", "22"]]).splitlines() == [
        "name     n",
        "----------",
        "x        1",
        "longer  22",
    ]


@pytest.mark.parametrize("inner", [True, False])
def test_summary_of_a_run_and_of_its_evaluation(tmp_path, capsys, inner):
    folder = tmp_path / "linear_eval" if inner else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps(RESULTS))
    text = summarize(str(tmp_path))
    assert text in capsys.readouterr().out
    header, _, *rows = [re.split(" {2,}", line.strip()) for line in text.splitlines()]
    assert header == ["labels and figure", "raw pixels", "SimCLR"]
    assert rows == [
        ["1 label/class, top-1", "0.100 (0.050 to 0.150)", "0.500 (0.400 to 0.600)"],
        ["2 labels/class, top-1", "0.200 (0.100 to 0.300)", "0.625 (0.500 to 0.750)"],
        ["all 50 labels, top-1", "0.250 (0.700 to 0.800)", "0.750 (0.700 to 0.800)"],
        ["all 50 labels, top-5", "0.900 (0.850 to 0.950)", "0.900 (0.850 to 0.950)"],
        ["all 50 labels, mean per class", "0.500 (0.450 to 0.550)", "0.500 (0.450 to 0.550)"],
        ["all 50 labels, L-BFGS, top-1", "0.300 (0.200 to 0.400)", "0.875 (0.800 to 0.900)"],
    ]


def test_a_folder_without_an_evaluation_says_what_to_run(tmp_path):
    (tmp_path / "results.json").write_text('{"mode": "pretrain"}')
    with pytest.raises(DataError, match="run --mode=linear_eval"):
        summarize(str(tmp_path))


@pytest.mark.parametrize("form", ["both", "paper", "fast"])
def test_markdown_names_the_protocols_that_were_run(form):
    text = results_markdown({**RESULTS, "linear_form": form})
    assert ("SGD" in text) == (form != "fast")
    assert ("L-BFGS" in text) == (form != "paper")
    assert ("L-BFGS, top-1 |" in text) == (form == "both")
    assert "| all 50 labels, top-5 | 0.900 (0.850 to 0.950) | 0.900 (0.850 to 0.950) |" in text


def figures(top_1):
    return {"top_1": top_1, "top_1_interval": [top_1 - 0.1, top_1 + 0.1]}


def value(figure):
    return {"value": figure, "interval": [figure - 0.1, figure + 0.1]}


def test_the_summary_has_untrained_supervised_and_simclr_with_the_labels_used(tmp_path):
    linear = {**RESULTS, "num_classes": 3}
    few = {"few_shot": {"1": 0.2, "2": 0.3}, "few_shot_interval": {"1": [0, 1], "2": [0, 1]}}
    linear["baselines"] = {"untrained": {**figures(0.4), **few}}
    knn = {"num_train": 50, "rows": {"untrained": figures(0.3), "h": figures(0.7)}}
    rows = {"untrained": figures(0.35), "frozen": figures(0.6), "supervised": figures(0.5)}
    tuned = {"num_labels": 5, "label_fraction": 0.1, "rows": {**rows, "fine_tuned": figures(0.65)}}
    bare = {"num_labels": 50, "label_fraction": 1.0, "rows": {"fine_tuned": figures(0.8)}}
    column = {"untrained": value(0.45), "simclr": value(0.85), "num_train": 1234}
    column["finetune"] = value(0.95)
    transfer = {"datasets": {"dtd": column, "pets": {**column, "num_train": 9}}}
    column["random"] = value(0.9)
    seen = {"spaces": {"untrained": figures(0.55), "h": figures(0.65)}}
    probe = {"num_train": 50, "tasks": {"rotation": seen, "label": seen}}
    for name, content in {
        "linear_eval": linear, "knn": knn, "finetune/10pct": tuned, "finetune/100pct": bare,
        "transfer": transfer, "probe": probe,
    }.items():  # fmt: skip
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "results.json").write_text(json.dumps(content))
    header, rows = summary_table(str(tmp_path))
    assert header == ["protocol", "labels used", "untrained encoder", "supervised", "SimCLR"]
    shown = [[cell.split(" (")[0] for cell in row] for row in rows]
    assert shown == [
        ["linear, 1 per class", "3", "0.200", "-", "0.500"],
        ["linear, 2 per class", "6", "0.300", "-", "0.625"],
        ["linear", "50", "0.400", "-", "0.750"],
        ["k-NN", "50", "0.300", "-", "0.700"],
        ["linear, 10 % of the labels", "5", "0.350", "-", "0.600"],
        ["fine-tuned, 10 % of the labels", "5", "0.350", "0.500", "0.650"],
        ["fine-tuned, 100 % of the labels", "50", "-", "-", "0.800"],
        ["transfer to dtd, linear", "1,234", "0.450", "-", "0.850"],
        ["transfer to dtd, fine-tuned", "1,234", "0.450", "0.900", "0.950"],
        ["transfer to pets, linear", "9", "0.450", "-", "0.850"],
        ["transfer to pets, fine-tuned", "9", "0.450", "-", "0.950"],
        ["probe of h, rotation", "0", "0.550", "-", "0.650"],
        ["probe of h, label", "50", "0.550", "-", "0.650"],
    ]
    assert rows[0][4] == "0.500 (0.400 to 0.600)"
    assert summary_table(str(tmp_path / "knn"))[1] == []


def picture(path):
    with open(path, "rb") as file:
        return Image.open(io.BytesIO(file.read())).convert("RGB")


@pytest.fixture
def few(monkeypatch):
    """Fewer images for the page, which tests/report/test_run_page.py looks at."""
    for name, value in (("MAP", 12), ("BANK", 12), ("PAIRS", 8)):
        monkeypatch.setattr(f"simclr_tf.report.run_page.{name}", value)


@pytest.mark.current_stack
def test_report_mode_draws_the_overview_and_the_page(tmp_path, caplog, few):
    run_dir = save_tiny_run(tmp_path)
    made = report.run(config.build(config.Report, {"model_dir": run_dir}))
    folder = os.path.join(run_dir, "report")
    assert made == {"page": f"{folder}/index.html", "picture": f"{folder}/overview.png"}
    assert sorted(os.listdir(folder)) == ["index.html", "overview.png"]
    image = picture(made["picture"])
    assert image.size[0] > 600 and len(image.getcolors(10**6)) > 50
    assert "no table" in caplog.text
    before = image.tobytes()
    report.run(config.build(config.Report, {"model_dir": run_dir}))
    assert picture(made["picture"]).tobytes() == before


@pytest.mark.slow
@pytest.mark.one_stack
def test_report_of_unlabelled_images_of_the_user(tmp_path, few):
    images_in_folders(tmp_path / "pictures", {"": 25})
    run_dir = save_tiny_run(tmp_path, image_dir=str(tmp_path / "pictures"))
    made = report.run(config.build(config.Report, {"model_dir": run_dir}))
    assert picture(made["picture"]).size[1] > 500


@pytest.mark.slow
@pytest.mark.one_stack
def test_too_few_images_for_a_picture_leave_the_page(tmp_path, caplog, few):
    images_in_folders(tmp_path / "pictures", {"": 9})
    run_dir = save_tiny_run(tmp_path, image_dir=str(tmp_path / "pictures"))
    made = report.run(config.build(config.Report, {"model_dir": run_dir}))
    assert made["picture"] is None and os.path.exists(made["page"])
    assert "at least 14" in caplog.text


def test_a_folder_that_holds_no_pretraining_is_refused(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(DataError, match="config.json"):
        report.run(config.build(config.Report, {"model_dir": str(tmp_path)}))
