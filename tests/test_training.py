"""The training room: parity over replicas, resume, faults, the run folder, the plan."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import DataError, DivergedError, SettingsError
from simclr_tf.stack import tf
from simclr_tf.training import plan, pretrain, restore
from simclr_tf.training.checkpoints import restore_strictly
from simclr_tf.training.progress import Progress, chance_loss
from simclr_tf.training.run_folder import MetricsLog, RunFolder, write_atomically

TINY = dict(
    strategy="default",
    image_size=16,
    resnet_depth=18,
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
TINY_FLAGS = [f"--{name}={value}" for name, value in TINY.items() if name != "strategy"]


def tiny(model_dir, **changes):
    return config.build(config.Pretrain, {**TINY, "model_dir": str(model_dir), **changes})


def command(model_dir, *flags):
    return [sys.executable, "-m", "simclr_tf", "--mode=pretrain", "--dataset=digits", "--strategy=default", f"--model_dir={model_dir}", *TINY_FLAGS, *flags]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny finished pretraining run: (folder, its results)."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    return folder, pretrain.run(tiny(folder))


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_give_the_loss_and_gradients_of_one(replicas):
    arguments = [sys.executable, "-m", "tests.replica_parity", str(replicas)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    errors = json.loads(done.stdout.splitlines()[-1])
    assert errors["loss"] <= 1e-5 and errors["gradient"] <= 1e-5, errors


def test_a_run_writes_what_the_design_names(finished):
    folder, results = finished
    assert results["step"] == 4 and results["mode"] == "pretrain"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(np.isfinite(line["loss"]) and 0 < line["entropy"] < 5 for line in lines)
    stored = json.loads((folder / "config.json").read_text())
    assert stored["settings"]["temperature"] == 0.1 and stored["dataset"]["num_train"] == 1437
    assert json.loads((folder / "results.json").read_text()) == results
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
    with pytest.raises(DataError, match="--resnet_depth=50 differs.*--resnet_depth=18"):
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
    wild = tiny(tmp_path / "wild", optimizer="momentum", learning_rate=1e30, train_steps=6)
    with pytest.raises(DivergedError, match="last good checkpoint: .*ckpt|none was saved") as caught:
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
        (dict(strategy="mirrored", logical_cpus=0, train_batch_size=63), "does not divide|needs two"),
        (dict(dataset="digit"), "digits"),
    ],
)
def test_bad_settings_stop_before_anything_is_written(tmp_path, changes, message):
    folder = tmp_path / "run"
    with pytest.raises((SettingsError, DataError), match=message):
        pretrain.run(tiny(folder, **changes))
    assert not folder.exists()


def test_a_run_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        pretrain.run(tiny(file))
    with pytest.raises(DataError, match="cannot make"):
        pretrain.run(tiny(file / "inside"))
    assert file.read_text() == "mine"


def test_a_foreign_folder_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(SettingsError, match="is not empty"):
        pretrain.run(tiny(tmp_path))
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_folder_of_another_mode_is_refused(tmp_path):
    folder = RunFolder(str(tmp_path / "r"))
    folder.claim("linear_eval", {}, (), {"name": "a", "fingerprint": "b"})
    with pytest.raises(SettingsError, match="holds a linear_eval run, not a pretrain run"):
        folder.claim("pretrain", {}, (), {"name": "a", "fingerprint": "b"})


def test_changed_images_are_noticed(tmp_path):
    folder = RunFolder(str(tmp_path / "r"))
    folder.claim("pretrain", {}, (), {"name": "a", "fingerprint": "b"})
    with pytest.raises(SettingsError, match="changed since"):
        folder.claim("pretrain", {}, (), {"name": "a", "fingerprint": "c"})


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path):
    target = tmp_path / "results.json"
    write_atomically(str(target), "old")
    with pytest.raises(DataError, match="cannot write"):
        write_atomically(str(tmp_path / "no" / "results.json"), "new")
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["results.json"]


def test_the_metrics_log_drops_what_a_checkpoint_does_not_know(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    MetricsLog(str(path), 2).append({"step": 3, "loss": 1.0})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3, "loss": 1.0}\n'


def test_the_plan_counts_steps_like_the_official_code():
    training = config.Training(train_batch_size=4096, train_epochs=100)
    steps = plan.resolve_steps(training, config.Optimizer(), 1_281_167)
    assert (steps.total, steps.warmup) == (31_279, 3_127)
    assert steps.peak_learning_rate == pytest.approx(4.8)


def test_the_progress_line_says_everything():
    progress = Progress(0, 100, 64)
    logs = {"loss": 4.2, "contrastive_accuracy": 0.25, "entropy": 3.5}
    line = progress.line(10, logs)
    for part in ("step 10/100", "step/s", "images/s", "ETA", "loss 4.2000", "chance 4.8442", "0.250", "3.500"):  # fmt: skip
        assert part in line
    assert chance_loss(64) == pytest.approx(np.log(127))


def test_the_step_compiles_with_xla(tmp_path):
    compiled = pretrain.run(tiny(tmp_path / "jit", jit_compile=True, train_steps=2))
    plain = pretrain.run(tiny(tmp_path / "plain", train_steps=2))
    assert compiled["loss"] == pytest.approx(plain["loss"], rel=1e-3)


def test_many_steps_per_call_change_nothing(tmp_path, finished):
    folder, _ = finished
    many = pretrain.run(tiny(tmp_path / "many", steps_per_execution=3, log_steps=4))
    one = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert many["loss"] == pytest.approx(np.mean(one), rel=1e-4)


def test_keras_fit_runs_the_same_step(tmp_path):
    small = tiny(tmp_path)
    steps = plan.resolve_steps(small.training, small.optimizer, 1437)
    source = pretrain.sources.open_source(small.data, "train", 0)
    batches = pretrain.train_batches(source, small.views, 16, 64, 0)
    model = pretrain.build_model(small, 10, steps)
    history = model.fit(batches, epochs=1, steps_per_epoch=2, verbose=0).history
    assert 0 < history["loss"][0] < 2 * chance_loss(64)
    assert 0 <= history["probe_top_1"][0] <= 1


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(tmp_path, precision):
    try:
        results = pretrain.run(tiny(tmp_path / precision, precision=precision, train_steps=2))
    finally:
        pretrain.make_strategy(dataclasses.replace(config.Run(), strategy="default"))
    assert np.isfinite(results["loss"])


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(tmp_path):
    flags = ["--deterministic", "--train_steps=12", "--checkpoint_steps=3"]
    whole = subprocess.run(command(tmp_path / "whole", *flags), capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr[-2000:]
    killed = subprocess.Popen(command(tmp_path / "cut", *flags), stderr=subprocess.DEVNULL)
    log = tmp_path / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while killed.poll() is None and time.monotonic() < deadline:
        if log.exists() and len(log.read_text().splitlines()) >= 5:
            killed.send_signal(signal.SIGKILL)
            break
    assert killed.wait(timeout=60) == -signal.SIGKILL
    again = subprocess.run(command(tmp_path / "cut", *flags), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "resuming at step 3" in again.stdout or "resuming at step 6" in again.stdout
    assert log.read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()
    one, two = (tf.train.load_checkpoint(str(tmp_path / n / "checkpoints")) for n in ("whole", "cut"))  # fmt: skip
    keys = [k for k in one.get_variable_to_shape_map() if k.endswith("VARIABLE_VALUE")]
    assert len(keys) > 100
    for key in keys:
        if not key.startswith("save_counter"):
            np.testing.assert_array_equal(one.get_tensor(key), two.get_tensor(key), err_msg=key)


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
    flags = ["--train_steps=400", "--checkpoint_steps=400"]
    process = subprocess.Popen(command(tmp_path / "run", *flags), stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and len(log.read_text().splitlines()) >= 2:
            process.terminate()
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors[-2000:]
    assert "run the same command again" in errors and "Traceback" not in errors
    step = restore.load_trained(str(tmp_path / "run")).step
    assert 2 <= step < 400
