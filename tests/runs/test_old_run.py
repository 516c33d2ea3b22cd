"""A run of an earlier version, kept in tests/fixtures: it goes on and is read as before.

It was trained for 24 steps with equation 1 as the objective, before `--objective` existed, on
Python 3.11. Figures were recorded then.
"""

import json
import os
import tarfile

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import embed, export, knn, pretrain
from simclr_tf.errors import SettingsError
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.stack import tf

ARCHIVE = os.path.join(
    os.path.dirname(__file__), "..", "fixtures", "run_with_paper_objective.tar.xz"
)
COMMAND = dict(
    dataset="digits", image_size=8, resnet_depth=10, width_multiplier=0.0625, proj_out_dim=16,
    train_batch_size=32, train_steps=24, checkpoint_steps=12, log_steps=4, warmup_epochs=0.0,
    optimizer="lars", learning_rate=0.3, deterministic=True, ema_momentum=0.9, use_blur=False,
    color_jitter_strength=0.5, crop_area_min=0.3, num_proj_layers=2, model_dir="run",
)  # fmt: skip
KNN_TOP_1 = 0.5778  # of 360 test images


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the old files: `run` with checkpoints 12 and 24, and `embedded`."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)  # the files name each other by relative paths
    return tmp_path


def run_mode(module, mode, **values):
    return module.run(config.build(config.MODES[mode].config, values), frozenset(values))


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_missing_setting_means_what_was_done_then(old):
    stored = read_json("run/config.json")["settings"]
    assert "objective" not in stored
    then = config.build_stored(config.Pretrain, stored)
    assert then.loss.objective == "paper" and not then.optimizer.nesterov
    assert config.Pretrain().loss.objective == "official" and config.Pretrain().optimizer.nesterov


@pytest.mark.slow
def test_its_command_continues_it(old, launcher):
    want = metrics_of(old / "run")
    for path in old.glob("run/checkpoints/ckpt-24*"):
        path.unlink()
    (old / "run" / "results.json").unlink()
    flags = {"mode": "pretrain", "preset": "none", **COMMAND, "model_dir": old / "run"}
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    for _ in range(2):  # the second time it is finished
        assert launcher.run(arguments, old / "output.txt") == 0, (old / "output.txt").read_text()
    assert "nothing left to do" in (old / "output.txt").read_text()
    got = metrics_of(old / "run")
    assert [line["step"] for line in got] == [4, 8, 12, 16, 20, 24]
    for one, other in zip(want, got):
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=2e-3, abs=2e-3), name
    assert read_json(str(old / "run" / "config.json"))["settings"]["objective"] == "paper"


def test_another_objective_is_refused(old):
    with pytest.raises(SettingsError, match=r"--objective=official \(was paper\)"):
        run_mode(pretrain, "pretrain", **COMMAND, objective="official")


@pytest.mark.one_stack
def test_it_is_evaluated_as_then(old):
    results = run_mode(knn, "knn", checkpoint="run", model_dir="knn")
    assert results["step"] == 24
    assert results["knn_top_1"] == pytest.approx(KNN_TOP_1, abs=1.5 / 360)


def test_its_saved_model_and_a_new_one_give_the_recorded_h(old):
    trained = restore.load_trained("run")
    before = restore.load_trained("run/saved_model")
    assert before.step == trained.step == 24
    for one, other in zip(trained.encoder.variables, before.encoder.variables):
        np.testing.assert_array_equal(one, other)
    images = np.random.default_rng(0).random([4, 8, 8, 3], dtype="float32")
    want = tf.saved_model.load("run/saved_model/24").feature_vector(images)
    tf.io.gfile.rmtree("run/saved_model")
    run_mode(export, "export", checkpoint="run")
    got = tf.saved_model.load("run/saved_model/24").feature_vector(images)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(trained.encoder(images, training=False), want, rtol=1e-5, atol=1e-6)


def test_its_embeddings_are_finished(old, launcher):
    path = str(old / "embedded" / "config.json")
    stored = read_json(path)
    stored["settings"]["checkpoint"] = str(old / "run")  # as if it had been made here
    write_json(path, stored)
    flags = ["--mode=embed", f"--checkpoint={old / 'run'}", "--dataset=digits", "--split=test"]
    more = ["--projector_images=20", f"--output={old / 'embedded'}"]
    # in a process of its own, which has one device as the recorded one had
    assert launcher.run([*flags, *more], old / "output.txt") == 0
    assert "nothing left to do" in (old / "output.txt").read_text()


def test_its_embeddings_come_out_again(old):
    values = dict(checkpoint="run", dataset="digits", split="test", output="again")
    run_mode(embed, "embed", **values, projector_images=0, strategy="default")
    with np.load("embedded/embeddings.npz") as want, np.load("again/embeddings.npz") as got:
        np.testing.assert_array_equal(got["path"], want["path"])
        np.testing.assert_allclose(got["h"], want["h"], rtol=1e-4, atol=1e-5)
