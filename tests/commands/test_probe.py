"""`--mode=probe`: the transformations, the network, and every task end to end on a tiny run."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import probe
from simclr_tf.data import sources
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.evaluation import probe_tasks
from simclr_tf.evaluation.mlp import fit_mlp
from simclr_tf.evaluation.transformations import drawn_classes, sobel, transform
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json
from simclr_tf.stack import tf
from tests.tiny_run import SETTINGS, images_in_folders, save_tiny_run

IMAGES = np.random.default_rng(0).random((8, 6, 6, 3), np.float32)


def ask(**values):
    values = {"strategy": "default", "probe_epochs": 1, **values}
    return probe.run(config.build(config.Probe, values), frozenset(values))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"))


def test_rotation_turns_by_the_class():
    classes = np.arange(8, dtype=np.int32) % 4
    got = transform("rotation", tf.constant(IMAGES), tf.constant(classes), [0, 0], 0.1)
    want = [np.rot90(image, k) for image, k in zip(IMAGES, classes)]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("task", ["noise", "sobel"])
def test_class_1_is_changed_class_0_is_not(task):
    classes = np.arange(8, dtype=np.int32) % 2
    got = transform(task, tf.constant(IMAGES), tf.constant(classes), [0, 0], 0.1).numpy()
    np.testing.assert_array_equal(got[classes == 0], IMAGES[classes == 0])
    assert np.abs(got - IMAGES)[classes == 1].mean() > 0.02
    assert got.min() >= 0 and got.max() <= 1


def test_sobel_is_the_gradient_of_a_ramp():
    ramp = np.tile(np.linspace(0, 1, 9, dtype=np.float32)[None, None, :, None], (1, 9, 1, 3))
    edges = sobel(tf.constant(ramp)).numpy()
    np.testing.assert_allclose(edges[0, 2:-2, 2:-2], 1.0, atol=1e-5)
    assert np.isfinite(sobel(tf.zeros([1, 4, 4, 3])).numpy()).all()


def test_classes_are_drawn_by_seed_and_task():
    one = drawn_classes("rotation", 4000, 1)
    np.testing.assert_array_equal(one, drawn_classes("rotation", 4000, 1))
    assert abs(np.bincount(one) / 4000 - 0.25).max() < 0.03
    assert (drawn_classes("noise", 99, 1) != drawn_classes("sobel", 99, 1)).any()


@pytest.mark.parametrize("hidden, low, high", [(64, 0.95, 1.0), (0, 0.3, 0.7)])
def test_the_hidden_layer_learns_what_no_line_separates(hidden, low, high):
    rows = np.random.default_rng(1).normal(size=(600, 2)).astype(np.float32)
    labels = np.int32(rows[:, 0] * rows[:, 1] > 0)
    logits = fit_mlp(rows[:500], labels[:500], 2, hidden, epochs=300, seed=0)
    accuracy = np.mean(logits(rows[500:]).argmax(1) == labels[500:])
    assert low <= accuracy <= high


def views_and_labels(run_dir, folder, task):
    trained = restore.load_trained(run_dir)
    source = sources.open_source(config.Data(image_dir=str(folder)), "train")
    small = {name: SETTINGS[name] for name in ("image_size", "resnet_depth", "width_multiplier")}
    settings = config.build(config.Probe, {**small, "eval_batch_size": 4})
    strategy = tf.distribute.get_strategy()
    probing = probe_tasks.Probing(settings, trained, strategy, source, source)
    batches = list(probing.batches(source, task))
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}, source


def test_grey_is_what_the_views_drew_and_each_image_comes_once(run_dir, tmp_path):
    images_in_folders(tmp_path, {"bars": 13, "dots": 10})
    got, source = views_and_labels(run_dir, tmp_path, "color")
    assert sorted(got["id"]) == list(range(source.num_examples))
    grey = np.ptp(got["images"], axis=3).max(axis=(1, 2)) < 1e-6
    assert (grey >= (got["label"] == 1)).all() and grey.sum() <= got["label"].sum() + 1


@pytest.mark.current_stack
def test_every_task_and_every_layer_has_a_figure(run_dir):
    results = ask(checkpoint=run_dir, probe_hidden=16, probe_tasks="rotation,sobel,label")
    assert list(results["tasks"]) == ["rotation", "sobel", "label"]
    for task in results["tasks"].values():
        assert sorted(task["spaces"]) == ["h", "untrained", "z1", "z2"]
    assert results["tasks"]["rotation"]["chance"] < 0.35
    for name in ("untrained", "h"):  # plain even to random weights
        assert results["tasks"]["sobel"]["spaces"][name]["top_1"] > 0.58
    assert read_json(f"{run_dir}/probe/results.json") == results
    with open(f"{run_dir}/probe/results.md", encoding="utf-8") as file:
        text = file.read()
    for task, names in (("rotation", "0,90,180,270"), ("sobel", "original,Sobel")):
        with open(f"{run_dir}/probe/confusion_{task}.csv", encoding="utf-8") as file:
            header, *rows = file.read().splitlines()
        counts = np.array([row.split(",")[1:] for row in rows], int)
        h = results["tasks"][task]["spaces"]["h"]
        assert header.split(",", 1)[1] == names and counts.sum() == results["num_eval"]
        assert np.trace(counts) / counts.sum() == pytest.approx(h["top_1"])
        low, high = h["mean_per_class_interval"]
        assert f"{h['mean_per_class']:.3f} ({low:.3f} to {high:.3f})" in text
    assert text.count("head layer 2") == 2


def test_labels_are_left_out_where_there_are_none_and_missed_where_asked(run_dir, tmp_path, capsys):
    images_in_folders(tmp_path / "flat", {"": 23})
    flat = {"checkpoint": run_dir, "image_dir": str(tmp_path / "flat")}
    with pytest.raises(DataError, match="--probe_tasks=label needs"):
        ask(**flat, probe_tasks="label")
    ask(**flat, model_dir=str(tmp_path / "out"), dry_run=True)
    assert "tasks     color, rotation, noise, sobel\n" in capsys.readouterr().out


def test_unknown_tasks_are_named(run_dir):
    with pytest.raises(SettingsError, match="names shape; give some of color, rotation"):
        ask(checkpoint=run_dir, probe_tasks="color,shape")
