"""Every mode, one after the other, on a folder of 600 drawn signs, by the command line."""

import json
import re

import numpy as np
import pytest

from simclr_tf.__main__ import main
from simclr_tf.evaluation.metrics import wilson_interval
from simclr_tf.stack import tf
from tests.glyphs import SIGNS, draw_signs

pytestmark = pytest.mark.slow

COMMANDS = """
--mode=pretrain --preset=digits --image_dir=signs --width_multiplier=0.0625 --proj_out_dim=16
    --resnet_depth=10 --train_epochs=8 --model_dir=run --strategy=default
--mode=linear_eval --checkpoint=run --linear_form=paper --train_epochs=2 --train_batch_size=64
    --few_shot_draws=4 --strategy=default
--mode=knn --checkpoint=run --strategy=default
--mode=finetune --checkpoint=run --label_fraction=0.01 --supervised_baseline --train_steps=3
    --train_batch_size=16 --strategy=default
--mode=probe --checkpoint=run --probe_tasks=rotation --probe_epochs=1 --probe_hidden=16
    --strategy=default
--mode=transfer --checkpoint=run --datasets=signs --max_iterations=5 --permutations=1000
    --strategy=default
--mode=embed --checkpoint=run --image_dir=signs --output=embedded --strategy=default
--mode=export --checkpoint=run
--mode=report --model_dir=run
"""
TRAIN = 480
HELD_OUT = 120
ABOVE_CHANCE = 0.27  # a sixth, and three standard deviations of 120 guesses
ROWS = ("untrained", "frozen", "supervised", "fine_tuned")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder in which every command ran."""
    folder = tmp_path_factory.mktemp("signs")
    draw_signs(folder / "signs", 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in re.split(r"\n(?=--mode)", COMMANDS.strip()):
            assert main(line.split()) == 0, line
    return folder


@pytest.fixture(scope="module")
def results(place):
    """{name: content of results.json} of the evaluations."""
    names = ("linear_eval", "knn", "finetune/1pct", "probe", "transfer")
    return {name: json.loads((place / "run" / name / "results.json").read_text()) for name in names}


def check_row(figures, num_eval=HELD_OUT):
    """Accuracy in range, with the interval that belongs to this number of images."""
    assert 0 <= figures["top_1"] <= figures["top_5"] <= 1
    assert figures["top_1"] * num_eval == pytest.approx(round(figures["top_1"] * num_eval))
    for name in ("top_1", "top_5"):
        want = wilson_interval(figures[name], num_eval)
        np.testing.assert_allclose(figures[name + "_interval"], want)
    low, high = figures["mean_per_class_interval"]
    assert 0 <= low <= figures["mean_per_class"] <= high <= 1


def test_linear_evaluation_with_all_labels_and_one_per_cent(results):
    found = results["linear_eval"]
    assert (found["num_train"], found["num_eval"], found["num_classes"]) == (TRAIN, HELD_OUT, 6)
    rows = [found, found["baselines"]["untrained"], found["baselines"]["pixels"]]
    for row in rows:
        check_row(row)
        assert list(row["few_shot"]) == ["1", "2", "5", "10"]  # 6 of 480 labels are 1 %
        assert 0 <= row["few_shot"]["1"] < row["few_shot"]["10"] <= 1


def test_neighbours_vote_from_every_layer(results):
    rows = results["knn"]["rows"]
    assert sorted(rows) == ["h", "pixels", "untrained", "z1", "z2"]
    for row in rows.values():
        check_row(row)
    assert rows["h"]["top_1"] == results["knn"]["knn_top_1"] > ABOVE_CHANCE


def test_fine_tuning_used_one_per_cent_of_the_labels(results):
    found = results["finetune/1pct"]
    assert (found["num_labels"], found["num_train"]) == (6, TRAIN)
    assert tuple(found["rows"]) == ROWS
    for row in found["rows"].values():
        check_row(row)


def test_the_frozen_encoder_is_proved_and_the_same_everywhere(results):
    tuned = results["finetune/1pct"]
    hashes = {results[name]["encoder_sha256"] for name in ("linear_eval", "knn", "probe")}
    hashes |= {tuned["encoder_sha256_before"], tuned["rows"]["frozen"]["encoder_sha256"]}
    assert len(hashes) == 1 and len(hashes.pop()) == 64
    assert tuned["rows"]["untrained"]["encoder_sha256"] != tuned["encoder_sha256_before"]


def test_probe_and_transfer_have_figures_of_both_encoders(results, place):
    spaces = results["probe"]["tasks"]["rotation"]["spaces"]
    assert sorted(spaces) == ["h", "untrained", "z1", "z2"]
    for row in spaces.values():
        check_row(row)
    column = results["transfer"]["datasets"]["signs"]
    for name in ("untrained", "simclr"):
        check_row(column[name])
        assert column[name]["value"] == column[name]["top_1"] > ABOVE_CHANCE
    assert column["num_train"] == TRAIN and 0 < column["p_values"]["untrained"] <= 1
    linear = json.loads((place / "run" / "transfer" / "signs" / "linear.json").read_text())
    assert linear["encoder_sha256"] == results["knn"]["encoder_sha256"]


def test_confusion_matrices_count_every_held_out_image_once(results, place):
    for name in ("linear_eval", "knn", "finetune/1pct"):
        lines = (place / "run" / name / "confusion.csv").read_text().splitlines()
        assert lines[0].split(",")[1:] == sorted(SIGNS)
        counts = np.array([line.split(",")[1:] for line in lines[1:]], int)
        assert counts.sum() == HELD_OUT
        figure = results[name].get("top_1", results[name].get("knn_top_1"))
        assert np.trace(counts) == round(figure * HELD_OUT)


def test_every_image_is_embedded_as_the_exported_model_does(place):
    with np.load(place / "embedded" / "embeddings.npz") as file:
        h = file["h"]
        paths = file["path"]
    assert len(h) == len(set(paths)) == 600
    first = tf.io.read_file(str(place / "signs" / str(paths[0])))
    image = tf.image.decode_image(first, channels=3, expand_animations=False)
    (exported,) = (place / "run" / "saved_model").iterdir()
    model = tf.saved_model.load(str(exported))
    found = model.signatures["serving_uint8"](image[tf.newaxis])
    values = [value.numpy() for value in found.values() if value.shape[-1] == h.shape[1]]
    assert any(np.allclose(value[0], h[0], rtol=1e-3, atol=1e-4) for value in values)


def test_the_report_has_untrained_supervised_and_simclr_with_the_labels_used(place, results):
    text = (place / "run" / "report" / "table.md").read_text()
    header, _, *rows = [line.strip("| \n").split(" | ") for line in text.splitlines()]
    assert header == ["protocol", "labels used", "untrained encoder", "supervised", "SimCLR"]
    found = {row[0]: row[1:] for row in rows}
    expected = {"linear, 1 per class": "6", "linear": "480", "k-NN": "480"}
    expected |= {"linear, 1 % of the labels": "6", "fine-tuned, 1 % of the labels": "6"}
    expected |= {"transfer to signs, linear": "480", "probe of h, rotation": "0"}
    for name, labels in expected.items():
        assert found[name][0] == labels
        for cell in (found[name][1], found[name][3]):  # figure (low to high)
            assert re.fullmatch(r"[01]\.\d{3} \([01]\.\d{3} to [01]\.\d{3}\)", cell)
    few = results["linear_eval"]["few_shot"]["1"]
    assert found["linear, 1 per class"][3].startswith(f"{few:.3f} (")
    assert found["fine-tuned, 1 % of the labels"][2].startswith(
        f"{results['finetune/1pct']['rows']['supervised']['top_1']:.3f} ("
    )
    assert (place / "run" / "report" / "overview.png").stat().st_size > 1000
