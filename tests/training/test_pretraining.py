"""The training room: parity over replicas, restoring, the plan, precision, XLA."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import pretrain
from simclr_tf.distribution.strategy import make_strategy
from simclr_tf.errors import DataError, DivergedError, SettingsError
from simclr_tf.runs import checkpoint_state, restore
from simclr_tf.runs.checkpoints import restore_strictly
from simclr_tf.runs.files import read_json
from simclr_tf.selftest import parity
from simclr_tf.stack import tf
from simclr_tf.training import length, pretraining
from simclr_tf.training.progress import Progress
from simclr_tf.views.batches import train_batches

TINY = dict(
    strategy="default",
    image_size=16,
    resnet_depth=10,
    width_multiplier=0.125,
    proj_out_dim=16,
    optimizer="adam",
    learning_rate=1e-3,
    learning_rate_scaling="none",
    warmup_epochs=0.0,
    use_blur=False,
    train_batch_size=64,
    train_steps=4,
    checkpoint_steps=2,
    log_steps=1,
)


def tiny(model_dir, **changes):
    return config.build(config.Pretrain, {**TINY, "model_dir": str(model_dir), **changes})


def light(model_dir, **changes):
    """With an encoder that is traced sooner, where it is not the subject."""
    return tiny(model_dir, encoder="tests.tiny_encoder:encoder", **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny finished pretraining run: (folder, its results)."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    return folder, pretrain.run(tiny(folder))


@pytest.mark.slow  # two replicas of a tiny encoder: selftest/test_selftest.py
def test_four_replicas_give_the_loss_and_gradients_of_one(four_replicas):
    errors = parity.replica_errors(four_replicas)
    assert errors["loss"] <= 1e-5 and errors["gradient"] <= 1e-5, errors


def test_a_run_writes_what_the_design_names(finished):
    folder, results = finished
    assert results["step"] == 4 and results["mode"] == "pretrain"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(np.isfinite(line["loss"]) and 0 < line["entropy"] < 5 for line in lines)
    stored = json.loads((folder / "config.json").read_text())
    assert stored["settings"]["temperature"] == 0.1 and stored["dataset"]["num_train"] == 1437
    assert read_json(str(folder / "results.json")) == results
    assert any(name.startswith("events") for name in os.listdir(folder / "logs"))


def test_a_finished_run_has_nothing_left_to_do(finished, capsys):
    folder, _ = finished
    before = (folder / "metrics.jsonl").read_text()
    assert pretrain.run(tiny(folder)) is None
    assert "nothing left to do" in capsys.readouterr().out
    assert (folder / "metrics.jsonl").read_text() == before


def test_other_settings_are_refused_by_name(finished):
    folder, _ = finished
    with pytest.raises(SettingsError, match=r"--temperature=0.5 \(was 0.1\)"):
        pretrain.run(tiny(folder, temperature=0.5))


def test_a_free_setting_may_change(finished):
    folder, _ = finished
    assert pretrain.run(tiny(folder, keep_checkpoint_max=7)) is None


def test_the_trained_encoder_is_restored_exactly(finished):
    folder, _ = finished
    trained = restore.load_trained(str(folder))
    prefix = tf.train.latest_checkpoint(str(folder / "checkpoints"))
    assert trained.step == 4 and trained.settings["width_multiplier"] == 0.125
    same = restore.load_trained(prefix)
    for a, b in zip(trained.encoder.variables, same.encoder.variables):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    fresh, _, _ = restore.build_parts(tiny(folder), 10)
    kernel = [v for v in trained.encoder.trainable_variables][0]
    assert not np.array_equal(kernel, fresh.trainable_variables[0])


def test_a_checkpoint_of_another_architecture_names_the_flag(finished):
    folder, _ = finished
    with pytest.raises(DataError, match="--resnet_depth=50 differs.*--resnet_depth=10"):
        restore.load_trained(str(folder), {"resnet_depth": 50})


def test_strict_restore_refuses_another_net(finished):
    folder, _ = finished
    other, head, _ = restore.build_parts(tiny(folder, width_multiplier=0.25), 0)
    prefix = tf.train.latest_checkpoint(str(folder / "checkpoints"))
    with pytest.raises(DataError, match="does not fit"):
        restore_strictly(prefix, encoder=other, head=head)
    shallow, head, _ = restore.build_parts(tiny(folder, proj_head_mode="linear"), 0)
    with pytest.raises(DataError, match="does not fit|unused"):
        restore_strictly(prefix, encoder=shallow, head=head)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("empty", None, "holds no checkpoint"),
        ("missing", "absent", "does not exist"),
    ],
)
def test_a_folder_without_a_checkpoint_is_refused(tmp_path, name, content, message):
    folder = tmp_path / name
    if content is None:
        folder.mkdir()
    with pytest.raises(DataError, match=message):
        restore.load_trained(str(folder))


@pytest.mark.one_stack
@pytest.mark.parametrize("content", [None, b"", b"\x00garbage {", b'model_checkpoint_path: "x"'])
def test_without_the_name_of_the_newest_it_is_found(finished, tmp_path, capsys, caplog, content):
    copy = tmp_path / "run"
    shutil.copytree(finished[0], copy)
    state = copy / "checkpoints" / "checkpoint"
    state.unlink() if content is None else state.write_bytes(content)
    assert restore.load_trained(str(copy)).step == 4
    assert pretrain.run(tiny(copy)) is None  # not anew over the old one
    assert "step 4 of 4, nothing left to do" in capsys.readouterr().out
    assert "ckpt-4, the newest" in caplog.text
    caplog.clear()
    assert tf.train.latest_checkpoint(str(copy / "checkpoints")).endswith("ckpt-4")
    checkpoint_state.mend(str(copy / "checkpoints"))
    assert caplog.text == ""


def test_a_damaged_checkpoint_is_one_sentence(finished, tmp_path):
    folder, _ = finished
    prefix = tf.train.latest_checkpoint(str(folder / "checkpoints"))
    copy = tmp_path / "run"
    (copy / "checkpoints").mkdir(parents=True)
    (copy / "config.json").write_bytes((folder / "config.json").read_bytes())
    for name in os.listdir(folder / "checkpoints"):
        if name.startswith(os.path.basename(prefix)):
            data = (folder / "checkpoints" / name).read_bytes()
            (copy / "checkpoints" / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="ckpt-4") as caught:
        restore.load_trained(str(copy / "checkpoints" / os.path.basename(prefix)))
    assert "\n" not in str(caught.value)


def test_divergence_keeps_the_last_good_checkpoint(tmp_path):
    wild = light(tmp_path / "wild", optimizer="momentum", learning_rate=1e30, train_steps=6)
    words = "last good checkpoint: .*ckpt|none was saved"
    with pytest.raises(DivergedError, match=words) as caught:
        pretrain.run(wild)
    assert caught.value.exit_code == 4
    for prefix in tf.io.gfile.glob(str(tmp_path / "wild/checkpoints/*.index")):
        reader = tf.train.load_checkpoint(prefix[: -len(".index")])
        for key in reader.get_variable_to_shape_map():
            if key.startswith("encoder/"):
                assert np.isfinite(reader.get_tensor(key)).all(), key


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(train_batch_size=5000), "larger than the 1437 training images"),
        (dict(warmup_epochs=50.0), "warm-up"),
        (dict(strategy="mirrored", train_batch_size=63), "does not divide evenly over 4"),
        (dict(strategy="mirrored", jit_compile=True), "jit_compile is set with 4 replicas on CPUs"),
        (dict(dataset="digit"), "digits"),
    ],
)
def test_bad_settings_stop_before_anything_is_written(tmp_path, changes, message):
    folder = tmp_path / "run"
    with pytest.raises((SettingsError, DataError), match=message):
        pretrain.run(tiny(folder, **changes))
    assert not folder.exists()


def test_the_plan_counts_steps_like_the_official_code():
    training = config.Training(train_batch_size=4096, train_epochs=100)
    steps = length.resolve_steps(training, config.Optimizer(), 1_281_167)
    assert (steps.total, steps.warmup) == (31_279, 3_127)
    assert steps.peak_learning_rate == pytest.approx(4.8)


def test_the_progress_line_says_everything():
    progress = Progress(0, 100, 64, chance=np.log(127))
    logs = {"loss": 4.2, "contrastive_accuracy": 0.25, "entropy": 3.5}
    line = progress.line(10, logs)
    for part in ("step 10/100", "step/s", "images/s", "ETA", "loss 4.2000", "chance 4.8442", "0.250", "3.500"):  # fmt: skip
        assert part in line


def test_the_progress_line_says_the_epoch_and_the_wait():
    progress = Progress(0, 100, 64, steps_per_epoch=30)
    logs = {"loss": 4.2, "contrastive_accuracy": 0.25, "entropy": 3.5}
    progress.waiting = 0.125
    assert progress.line(31, logs).startswith("epoch 2/4  step 31/100")
    assert progress.line(100, logs).startswith("epoch 4/4")
    assert "waiting for images 12%" in progress.line(100, logs)


def test_the_share_of_waiting_is_recorded_and_no_result(finished):
    folder, results = finished
    lines = [json.loads(line) for line in (folder / "pace.jsonl").read_text().splitlines()]
    assert lines and all(0 <= line["input_share"] <= 1 for line in lines)
    assert "input_share" not in (folder / "metrics.jsonl").read_text()
    assert "input_share" not in results


@pytest.mark.slow
def test_the_step_compiles_with_xla(tmp_path):
    runs = [pretrain.run(light(tmp_path / f"{jit}", jit_compile=jit)) for jit in (False, True)]
    assert runs[1]["loss"] == pytest.approx(runs[0]["loss"], rel=1e-3)


def test_many_steps_per_call_change_nothing(tmp_path, finished):
    folder, _ = finished
    many = pretrain.run(tiny(tmp_path / "many", steps_per_execution=3, log_steps=4))
    one = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert many["loss"] == pytest.approx(np.mean(one), rel=1e-4)


def test_keras_fit_runs_the_same_step(tmp_path):
    small = tiny(tmp_path)
    steps = length.resolve_steps(small.training, small.optimizer, 1437)
    source = pretrain.sources.open_source(small.data, "train", 0)
    batches = train_batches(source, small.views, 16, 64, 0)
    model = pretraining.build_model(small, 10, steps)
    history = model.fit(batches, epochs=1, steps_per_epoch=2, verbose=0).history
    assert 0 < history["loss"][0] < 2 * np.log(127)
    assert 0 <= history["probe_top_1"][0] <= 1


@pytest.mark.parametrize(
    "precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_mixed_precision_trains(tmp_path, precision):
    try:
        settings = dict(precision=precision, train_steps=2, train_batch_size=16, on_nan="skip")
        settings["cached_batch_size"] = 32
        cached = pretrain.run(light(tmp_path / "cached", **settings))
        results = pretrain.run(tiny(tmp_path / "plain", **{**settings, "cached_batch_size": 0}))
    finally:
        make_strategy(dataclasses.replace(config.Run(), strategy="default"))
    assert np.isfinite(results["loss"]) and np.isfinite(cached["loss"])


def test_averaged_weights_are_what_the_last_checkpoint_holds(tmp_path, finished):
    pretrain.run(tiny(tmp_path / "mean", ema_momentum=0.5))
    found = {}
    for name, folder in (("plain", finished[0]), ("mean", tmp_path / "mean")):
        for step in (2, 4):
            trained = restore.load_trained(str(folder / f"checkpoints/ckpt-{step}"))
            found[name, step] = trained.encoder.trainable_variables[0].numpy()
    np.testing.assert_allclose(found["plain", 2], found["mean", 2], atol=1e-5)
    assert np.abs(found["plain", 4] - found["mean", 4]).max() > 1e-4


def test_the_seed_decides_the_first_weights(tmp_path):
    one, two, three = (restore.build_parts(tiny(tmp_path, seed=s), 10) for s in (1, 1, 2))
    for a, b, c in zip(one, two, three):
        for v, w in zip(a.trainable_variables, b.trainable_variables):
            np.testing.assert_array_equal(v, w)
        kernels = [i for i, v in enumerate(a.trainable_variables) if "kernel" in v.name]
        i = kernels[0]
        assert np.abs(a.trainable_variables[i] - c.trainable_variables[i]).max() > 1e-4


@pytest.mark.parametrize(
    "changes",
    [{}, pytest.param({"jit_compile": True}, marks=pytest.mark.slow), {"optimizer": "lars"}],
)
def test_gradient_caching_is_a_setting(tmp_path, capsys, caplog, changes):
    changes = {"temperature": 1.0, "train_steps": 2, **changes}
    settings = dict(train_batch_size=32, cached_batch_size=96, **changes)
    results = pretrain.run(light(tmp_path / "run", **settings))
    printed = capsys.readouterr().out
    assert "96 images, cut into micro-batches of 32" in printed
    assert "BatchNormalization layers see only 64 views" in caplog.text
    assert 0 < results["loss"] < 1.5 * np.log(191)
    assert json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])["step"] == 2


def test_a_cached_batch_is_a_multiple(tmp_path):
    with pytest.raises(SettingsError, match="cached_batch_size=100 is not a multiple of"):
        tiny(tmp_path, cached_batch_size=100)


@pytest.mark.one_stack
def test_the_plan_says_which_blur_changes_nothing():
    def said(size, **views):
        return bool(pretrain._without_effect(config.Views(**views), size))

    assert said(16) and not said(32)
    assert not said(16, use_blur=False) and not said(16, operators="color,motion_blur")
