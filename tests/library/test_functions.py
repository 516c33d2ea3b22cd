"""The functions: a call trains, measures and writes what the command does, and says what is wrong."""

import json
import tempfile

import numpy as np
import pytest
from tensorflow.python.framework import config as framework

import simclr_tf
from simclr_tf.__main__ import main
from simclr_tf.commands import pretrain
from simclr_tf.stack import keras
from tests.library.conftest import TINY
from tests.tiny_run import save_tiny_run


def test_a_run_holds_what_was_trained(run, images):
    assert run.results["step"] == 3 and run.results["num_train"] == 31
    assert run.metrics["step"].tolist() == [1, 2, 3]
    assert np.isfinite(run.metrics["loss"]).all() and "probe_top_1" in run.metrics
    assert run.encoder.feature_dim == 16 and run.head is not None
    assert run.settings["image_size"] == 12, "small arrays keep their size"
    figure = run.plot()
    assert [axis.get_title() for axis in figure.axes] == [
        "loss",
        "contrastive accuracy",
        "learning rate",
    ]
    chance = [line for line in figure.axes[0].lines if "chance" in line.get_label()]
    assert chance[0].get_ydata()[0] == pytest.approx(np.log(2 * 16 - 1))
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("preset", ["", "cifar10", "none"])
def test_the_command_line_runs_the_same(monkeypatch, tmp_path, preset):
    """The function and the command hand the same config to the same runner."""
    seen = []
    monkeypatch.setattr(pretrain, "run", lambda *arguments: seen.append(arguments))
    settings = {"temperature": 0.3, "train_epochs": 2, "flip": False}
    flags = [f"--{name}={value}" for name, value in settings.items()] + ["--dataset=cifar10"]
    flags += [f"--preset={preset}"] if preset else []
    assert main(["--mode=pretrain", f"--model_dir={tmp_path}/run", *flags]) == 0
    simclr_tf.pretrain("cifar10", tmp_path / "run", preset=preset, **settings)
    assert seen[0] == seen[1]


def test_the_same_call_again_does_nothing(run, images, labels, capsys):
    again = simclr_tf.pretrain(images, run.run_dir, labels=labels, **TINY)
    assert "nothing left to do" in capsys.readouterr().out
    assert again.results == run.results


def test_other_images_do_not_go_on_with_a_run(run, images, labels):
    with pytest.raises(simclr_tf.SettingsError, match="images in memory changed .* model_dir"):
        simclr_tf.pretrain(255 - images, run.run_dir, labels=labels, quiet=True, **TINY)


def test_images_in_memory_are_found_while_somebody_holds_them(run, images, labels, tmp_path):
    settings = {"model_dir": tmp_path / "knn", "strategy": "default", "quiet": True}
    found = simclr_tf.knn(run, **settings)
    again = simclr_tf.knn(run.run_dir, images.copy(), labels, trust_code=True, **settings)
    assert found["knn_top_1"] == again["knn_top_1"] and found["num_eval"] == 9
    assert found == json.loads(json.dumps(found))


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_run_on_lost_images_says_that_they_must_be_passed_again(tmp_path):
    pixels = np.full((20, 9, 9, 3), 7, np.uint8)
    settings = {**TINY, "train_steps": 1}
    lost = simclr_tf.pretrain(pixels, tmp_path / "run", quiet=True, **settings).run_dir
    trusted = {"strategy": "default", "trust_code": True}
    with pytest.raises(simclr_tf.DataError, match="in memory .* pass the same images and labels"):
        simclr_tf.probe(lost, quiet=True, **trusted)
    flags = [f"--checkpoint={lost}", "--strategy=default", "--trust_code"]
    assert main(["--mode=probe", *flags]) == 3
    assert simclr_tf.probe(lost, pixels, dry_run=True, **trusted) == {}


def test_no_model_dir_means_a_new_folder_that_is_printed(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(pretrain, "run", lambda config, given: seen.append(config.run.model_dir))
    runs = [simclr_tf.pretrain("digits") for _ in range(2)]
    assert [run.run_dir for run in runs] == seen and len(set(seen)) == 2
    assert f"the run goes to {seen[0]}" in capsys.readouterr().out


def test_a_dry_run_prints_the_plan_only(images, capsys):
    planned = simclr_tf.pretrain(images, **{**TINY, "dry_run": True})
    assert planned.results == {} and "none (dry run)" in capsys.readouterr().out
    with pytest.raises(simclr_tf.DataError, match="no metrics"):
        planned.plot()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: simclr_tf.pretrain("digits", temprature=1.0), "did you mean temperature"),
        (lambda: simclr_tf.pretrain("digits", knn_k=3), "knn_k is a setting of simclr_tf.knn"),
        (lambda: simclr_tf.knn("x", images="a", dataset="b"), "images and dataset are both given"),
        (lambda: simclr_tf.knn("x", np.zeros([4, 8, 8, 3])), "knn needs labels; pass labels"),
        (lambda: simclr_tf.knn("x", "photos", labels=[1]), "labels are given with images='photos'"),
        (lambda: simclr_tf.pretrain("digits", "d", temperature=-1.0), "temperature=-1.0 is not"),
        (lambda: simclr_tf.pretrain("digits", "d", temperature="1"), "'1' is not a float"),
        (lambda: simclr_tf.pretrain("digits", temperature=-1.0), "temperature=-1.0 is not"),
        (lambda: simclr_tf.embed("x"), "simclr_tf.embed needs output=PATH"),
        (lambda: simclr_tf.pretrain("digits", "d", preset="nope"), "preset=nope does not exist"),
    ],
)
def test_wrong_settings_are_named_without_a_trace(call, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(simclr_tf.SettingsError, match=words) as caught:
        call()
    assert isinstance(caught.value, ValueError) and "--" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_lists_paths_and_numpy_numbers_are_settings(tmp_path, capsys):
    simclr_tf.pretrain(
        "digits",
        tmp_path / "run",
        operators=["color", "blur"],
        temperature=np.float32(0.25),
        train_batch_size=np.int64(8),
        strategy="default",
        dry_run=True,
    )
    said = capsys.readouterr().out
    assert "temperature    0.25" in said and "batch          8 images" in said
    assert "using preset=digits" in said


def test_the_process_stays_as_it_was(images, tmp_path):
    """A notebook's process goes on: precision and determinism are a run's own."""
    before = framework.is_op_determinism_enabled()
    chosen = {"precision": "mixed_bfloat16", "deterministic": True, "train_steps": 1}
    run = simclr_tf.pretrain(images, tmp_path / "run", quiet=True, **{**TINY, **chosen})
    assert keras.mixed_precision.global_policy().name == "float32"
    assert framework.is_op_determinism_enabled() == before
    assert run.encoder.layers[0].compute_dtype == "float32"


@pytest.mark.parametrize("mode", ["linear_eval", "finetune", "probe", "knn", "transfer"])
def test_a_measurement_gets_checkpoint_images_and_settings(mode, run, images, labels, monkeypatch):
    """The runner is the command's, which has tests of its own; its results become plain."""
    seen = []

    def runner(config, given):
        seen.append((config, given))
        return {"few_shot": {1: 0.5}, "step": 3}

    monkeypatch.setattr(f"simclr_tf.commands.{mode}.run", runner)
    function = getattr(simclr_tf, mode)
    more = {"images": 255 - images, "labels": labels}
    if mode == "transfer":
        more = {"datasets": {"mine": "photos"}}
    assert function(run, seed=3, eval_batch_size=32, **more) == {"few_shot": {"1": 0.5}, "step": 3}
    ((config, given),) = seen
    assert config.trained.checkpoint == run.run_dir and config.run.seed == 3
    assert {"checkpoint", "seed", "eval_batch_size"} <= given
    if mode == "transfer":
        assert config.transfer.datasets == "mine=photos"
    else:
        assert config.data.image_dir.startswith("memory://") and "image_dir" in given


def test_embed_writes_a_row_per_image(run, tmp_path):
    written = simclr_tf.embed(run, output=tmp_path / "h.npz", quiet=True, strategy="default")
    assert written["num_images"] == 40
    with np.load(tmp_path / "h.npz") as file:
        assert file["path"][3] in (b"3", "3") and file["h"].shape == (40, 16)


def test_views_takes_images_and_a_place(monkeypatch, tmp_path):
    seen = []
    runner = lambda config, given: seen.append(config) or config.sheet.sheet  # noqa: E731
    monkeypatch.setattr("simclr_tf.commands.views.run", runner)
    path = str(tmp_path / "views.png")
    held = np.zeros([2, 9, 9, 3])
    assert simclr_tf.views(held, tmp_path / "views.png", use_blur=False) == {"sheet": path}
    assert seen[0].auto.auto and not seen[0].views.use_blur


@pytest.mark.current_stack
def test_a_release_is_imported(tmp_path):
    from simclr_tf.weights.official_names import write_official

    trained = simclr_tf.load(save_tiny_run(tmp_path))
    prefix = str(tmp_path / "model.ckpt-0")
    write_official(prefix, trained.encoder, trained.head)
    found = simclr_tf.import_weights(prefix, tmp_path / "imported", quiet=True, sk_ratio=0.0)
    assert found["missing"] == 0
    pixels = np.random.default_rng(0).random([2, 16, 16, 3])
    again = simclr_tf.load(tmp_path / "imported")
    assert again.embed(pixels).shape == (2, trained.encoder.feature_dim)
