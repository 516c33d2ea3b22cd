"""The page of a run: what it has with and without labels, images and a finished training."""

import html.parser
import json
import os
import re
import shutil

import numpy as np
import pytest

from simclr_tf.evaluation.predictions import predictions_csv, read_predictions
from simclr_tf.report import findings, projection, run_page
from simclr_tf.report.history import points, read_history, warnings
from simclr_tf.report.html import Pictures, as_json, table
from simclr_tf.runs import restore
from tests.report.runs import labelled_run, unlabelled_run

pytestmark = pytest.mark.one_stack

LABELLED = {"accuracy", "per-class", "confusion", "typical"}
ALWAYS = {"settings", "curves", "views", "similarities", "map", "neighbours"}


class Reader(html.parser.HTMLParser):
    """Sections, tags and what a page would load."""

    def __init__(self, text):
        super().__init__()
        self.sections = set()
        self.tags = []
        self.addresses = []
        self.handlers = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if tag == "section" and name == "id":
                self.sections.add(value)
            if name in ("src", "href", "srcset", "action", "data"):
                self.addresses.append(value)
            if name.startswith("on"):
                self.handlers.append((tag, name))


def small(patch):
    for name, value in (("MAP", 20), ("BANK", 20), ("PAIRS", 8)):
        patch.setattr(run_page, name, value)


def page_of(run_dir, **how):
    path = os.path.join(run_dir, "report", "index.html")
    run_page.write_run_page(run_dir, path, **how)
    with open(path, encoding="utf-8") as file:
        return file.read()


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """{kind: (run folder, text of the page)}."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        for kind, make in (("labelled", labelled_run), ("unlabelled", unlabelled_run)):
            run_dir = make(folder / kind)
            found[kind] = run_dir, page_of(run_dir, trained=restore.load_trained(run_dir))
    return found


def test_parts_that_need_labels_are_absent_without_them(pages):
    sections = {kind: Reader(text).sections for kind, (_, text) in pages.items()}
    assert sections["labelled"] >= ALWAYS | LABELLED
    assert sections["unlabelled"] >= ALWAYS | {"quarantine"}
    assert not sections["unlabelled"] & {*LABELLED, "label-errors"}


@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
def test_the_page_is_one_file_that_loads_nothing(pages, kind):
    text = pages[kind][1]
    assert len(text) < 3_000_000
    reader = Reader(text)
    assert all(one.startswith(("data:", "#")) for one in reader.addresses)
    assert "default-src 'none'" in text and "Apache License" in text
    assert not reader.handlers
    assert reader.tags.count("script") == 3 and reader.tags.count("img") == 1


def test_names_of_classes_and_files_are_text(pages):
    labelled = pages["labelled"][1]
    assert "&lt;img src=x onerror=alert(1)&gt;" in labelled and "<img src=x" not in labelled
    assert data_of(labelled)["map"]["classes"][0].startswith(("<", "ring"))
    assert "&lt;b&gt;bad&lt;/b&gt;.png" in pages["unlabelled"][1]
    assert as_json({"a": "</script><!--"}) == '{"a":"\\u003c/script\\u003e\\u003c!--"}'


def test_curves_know_their_chance_and_the_warnings_of_a_run_that_is_being_written(pages):
    run_dir, text = pages["unlabelled"]
    charts = data_of(text)["charts"]
    loss = charts["curve-0"]
    assert len(loss["series"][0]["points"]) == 40, "half a line is left out"
    assert loss["level"] == pytest.approx(np.log(2 * 64 - 1))
    assert [mark["number"] for mark in loss["marks"]] == [1]
    assert "the loss stays at" in text and "not finished" in text
    assert not data_of(pages["labelled"][1])["charts"]["curve-0"]["marks"]


def test_the_map_knows_pictures_and_neighbours(pages):
    data = data_of(pages["labelled"][1])
    found = data["map"]
    count = len(found["points"])
    assert count == 15 and len(found["names"]) == len(found["labels"]) == count
    assert np.min(found["points"]) == 0 and np.max(found["points"]) == 1
    assert all(row not in near for row, near in enumerate(found["near"]))
    cells = data["sheet"]["columns"] * data["sheet"]["rows"]
    assert len(set(found["pictures"])) == count and max(found["pictures"]) < cells
    assert data_of(pages["unlabelled"][1])["map"]["labels"] is None


def test_the_confusion_is_that_of_the_evaluation_with_examples(pages):
    text = pages["labelled"][1]
    assert "linear evaluation of step 7" in text
    assert ": 3 of 5" in text
    assert len(re.findall(r'class="pic"', text.split(": 3 of 5")[1].split("</section>")[0])) == 3


def test_a_copied_run_without_images_or_checkpoints_has_a_page(pages, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(pages["labelled"][0], copy)
    shutil.rmtree(copy / "checkpoints")
    text = page_of(str(copy), note="Without images: <gone>")
    assert Reader(text).sections == {"settings", "curves", "accuracy", "per-class", "confusion"}
    assert "Without images: &lt;gone&gt;" in text and "ring &quot;round&quot;" in text
    trained = restore.load_trained(pages["labelled"][0])
    trained.settings["image_dir"] = str(tmp_path / "elsewhere")
    text = page_of(str(copy), trained=trained)
    assert "map" not in Reader(text).sections and "elsewhere" in text


def test_damaged_results_are_named_and_the_page_goes_on(pages, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(pages["labelled"][0], copy)
    (copy / "linear_eval" / "results.json").write_text("{")
    (copy / "linear_eval" / "predictions.csv").write_text("id,label\n1,x\n")
    text = page_of(str(copy))
    assert "Without the table of evaluations" in text and "Without the predictions" in text


def test_history_merges_the_pace_and_thins_long_curves(tmp_path):
    lines = "".join(f'{{"step": {s}, "loss": {s / 2}}}\n' for s in range(1, 4001))
    (tmp_path / "metrics.jsonl").write_text(lines)
    (tmp_path / "pace.jsonl").write_text('{"step": 2, "input_share": 0.5}\n')
    history = read_history(str(tmp_path))
    assert points(history, "input_share") == [[2, 0.5]]
    found = points(history, "loss")
    assert len(found) <= 1500 and found[-1] == [4000, 2000.0]
    settings = {"train_batch_size": 64, "warmup_epochs": 0.0, "loss": "nt_xent"}
    assert warnings(history, settings, 100) == []


def test_predictions_are_read_again(tmp_path):
    assert read_predictions(str(tmp_path / "none")) is None
    path = tmp_path / "predictions.csv"
    scores = np.array([[0.1, 0.9], [0.7, 0.3]])
    path.write_text(predictions_csv(scores, [1, 1], [5, 2], "=name {}".format))
    found = read_predictions(str(path))
    assert found.ids.tolist() == [2, 5] and found.hits.tolist() == [False, True]
    assert "'=name 5" in path.read_text()


def test_thumbnails_are_kept_once():
    pictures = Pictures(4)
    one = np.full([4, 4, 3], 7, np.uint8)
    assert [pictures.place(key, one) for key in "abac"] == [0, 1, 0, 2]
    assert (pictures.columns, pictures.rows) == (2, 2)
    assert pictures.sheet().startswith("data:image/webp;base64,")
    assert Pictures(4).sheet() == ""


def test_tables_hold_text():
    assert "<td>&lt;b&gt;</td>" in table(["a", "b"], [["x", "<b>"]])


UNIT = np.eye(4)[[0, 0, 0, 1, 1, 1]] + 0.01 * np.arange(24).reshape(6, 4) / 24
ROWS = findings.unit(UNIT)


def test_neighbours_and_their_votes():
    index, cosine = findings.neighbours(ROWS, 2)
    assert [sorted(row) for row in index.tolist()] == [
        [1, 2],
        [0, 2],
        [0, 1],
        [4, 5],
        [3, 5],
        [3, 4],
    ]
    labels = np.array([0, 0, 1, 1, 1, -1])
    shares = findings.votes(index, cosine, labels, 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    (error,) = findings.likely_label_errors(shares, labels)
    assert (error.row, error.label, error.other) == (2, 1, 0) and error.share == 1


def test_typical_and_confused_and_duplicates():
    rows = findings.unit(np.array([[1, 0], [1, 0.1], [1, 2], [0, 1]], float))
    most, least = findings.typical(rows, [0, 0, 0, 1], 2, 1)[0]
    assert most.tolist() == [1] and least.tolist() == [2]
    assert set(findings.typical(rows, [0, 0, 0, 1], 2, 5)) == {0}
    assert findings.confused_pairs(np.array([[5, 1, 0], [4, 2, 0], [0, 2, 9]])) == [
        (1, 0, 4),
        (2, 1, 2),
        (0, 1, 1),
    ]
    ((a, b, cosine),) = findings.duplicate_pairs(*findings.neighbours(rows, 2), 0.99)
    assert (a, b) == (0, 1) and cosine > 0.99


def test_similarities_and_their_histogram():
    positives, negatives = findings.pair_similarities(np.eye(3), np.eye(3))
    assert positives.tolist() == [1, 1, 1] and negatives.tolist() == [0] * 6
    middles, shares = findings.histogram(np.array([-1.0, 0.99, 1.0, 1.0]), 4)
    np.testing.assert_allclose(shares, [0.25, 0, 0, 0.75])
    np.testing.assert_allclose(middles, [-0.75, -0.25, 0.25, 0.75])


@pytest.mark.parametrize("count", [5, 12])
def test_a_map_of_few_points(count):
    h = np.random.default_rng(count).normal(size=[count, 3])
    found, words = projection.project(h, 0)
    assert found.shape == (count, 2) and np.isfinite(found).all()
    assert found.min() == 0 and found.max() == 1 and "principal axes" in words
