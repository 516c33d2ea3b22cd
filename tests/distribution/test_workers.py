"""Two real processes over loopback: the weights of one, one run folder, any of them stopped."""

import glob
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.local_workers import LocalWorkers, worker_commands
from simclr_tf.runs.files import read_json
from simclr_tf.stack import tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
LOST_SECONDS = (
    180  # on a very busy machine; 3 to 10 s were measured from the signal to the last exit
)
TINY = {
    "dataset": "digits",
    "encoder": "tests.tiny_encoder:encoder",
    "image_size": 16,
    "proj_out_dim": 8,
    "use_blur": False,
    "color_jitter_strength": 0.0,
    "grayscale_prob": 0.0,
    "effective_rank_steps": 3,
    "optimizer": "momentum",
    "learning_rate": 0.002,
    "learning_rate_scaling": "none",
    "warmup_epochs": 0,
    "temperature": 0.5,
    "train_batch_size": 32,
    "log_steps": 5,
}


def command(model_dir, **changes):
    flags = {**TINY, "model_dir": model_dir, **changes}
    settings = [f"--{name}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", "simclr_tf", "--mode=pretrain", "--preset=none", *settings]


def run_alone(model_dir, **changes):
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        command(model_dir, **changes), env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def start(folder, model_dir, **changes):
    """Two workers; the temporary folder of each is a folder of its own."""
    environments = []
    for index in range(2):
        scratch = folder / f"tmp{index}"
        scratch.mkdir(parents=True, exist_ok=True)
        environments.append({**ENVIRONMENT, "TMPDIR": str(scratch)})
    commands = worker_commands(command(model_dir, **changes), 2)
    return LocalWorkers(commands, folder, environments)


def logged(model_dir):
    """The lines of metrics.jsonl."""
    path = model_dir / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []  # whole ones
    return [json.loads(line) for line in lines]


def wait_for_step(workers, model_dir, step):
    """Until this step or a later one is logged; fails if a worker ends before."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if any(line["step"] >= step for line in logged(model_dir)):
            return
        codes = [process.poll() for process in workers.processes]
        assert codes == [None, None], (codes, workers.output(0, "err"), workers.output(1, "err"))
        time.sleep(0.02)
    raise AssertionError(f"no step {step} in 240 s: {workers.output(0, 'err')[-2000:]}")


def assert_same_weights(one, two, atol, inside="checkpoints"):
    """Every variable of the newest checkpoints of two runs, optimizer and metrics included."""
    readers = [tf.train.load_checkpoint(str(path / inside)) for path in (one, two)]
    shapes = [reader.get_variable_to_shape_map() for reader in readers]
    assert shapes[0] == shapes[1]
    keys = [key for key in shapes[0] if key.endswith("VARIABLE_VALUE")]
    assert len(keys) > 25
    for key in keys:
        if "save_counter" not in key:
            a, b = (reader.get_tensor(key) for reader in readers)
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol, err_msg=key)


def assert_same_runs(alone, run):
    """Weights within 1e-4 relative plus 1e-5, and the figures of metrics.jsonl."""
    assert_same_weights(alone, run, atol=1e-5)
    assert [line["step"] for line in logged(run)] == [5, 6]
    for one, two in zip(logged(alone), logged(run)):
        for name, value in one.items():
            np.testing.assert_allclose(two[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_two_workers_train_like_one_process(tmp_path):
    """Six steps of momentum SGD with a local view, of two workers stopped after the first."""
    settings = {"train_steps": 6, "checkpoint_steps": 3, "keep_best": "loss"}
    settings.update(local_views=1, local_size=16)
    run = tmp_path / "run"
    pair = tmp_path / "pair"
    run_alone(tmp_path / "alone", **settings)
    with start(pair, run, max_wall_minutes=1e-4, **settings) as workers:
        assert workers.wait(300) == [75, 75], workers.output(0, "err")
        assert "after step 1 of 6, state saved" in sentence(workers, 1)
    shown = {"profile_steps": "3,4", "picture_minutes": 0}  # the chief writes, nobody waits for it
    with start(pair, run, **settings, **shown) as workers:
        assert workers.wait(300) == [0, 0], workers.output(0, "err") + workers.output(1, "err")
        said = workers.output(0)
        other = workers.output(1)
    assert len(glob.glob(f"{run}/logs/plugins/profile/*/*.xplane.pb")) == 1
    assert "MultiWorkerMirroredStrategy, 2 workers, 2 replicas" in said and other == ""
    assert_same_runs(tmp_path / "alone", run)
    names = {
        "best",
        "config.json",
        "metrics.jsonl",
        "results.json",
        "checkpoints",
        "logs",
    }
    assert set(os.listdir(run)) - {"pace.jsonl"} == names  # times, where they are measured
    assert os.listdir(pair / "tmp1") == []  # where the other worker had to write
    assert json.loads((run / "results.json").read_text())["step"] == 6
    best = [read_json(str(folder / "best/best.json")) for folder in (run, tmp_path / "alone")]
    assert best[0]["step"] == best[1]["step"] == 6
    assert_same_weights(tmp_path / "alone", run, atol=1e-5, inside="best")


@pytest.mark.slow
@pytest.mark.one_stack
def test_two_workers_of_two_devices_train_like_four_devices(tmp_path):
    """With gradient caching, whose micro-batches depend on the number of replicas.

    Other settings are refused afterwards, of all workers.
    """
    settings = {"train_steps": 6, "checkpoint_steps": 3, "cached_batch_size": 64}
    run_alone(tmp_path / "alone", logical_cpus=4, **settings)
    with start(tmp_path / "pair", tmp_path / "run", logical_cpus=2, **settings) as workers:
        assert workers.wait(300) == [0, 0], workers.output(0, "err") + workers.output(1, "err")
        assert "2 workers, 4 replicas" in workers.output(0)
    assert_same_runs(tmp_path / "alone", tmp_path / "run")
    other = {**settings, "temperature": 0.7}
    with start(tmp_path / "pair", tmp_path / "run", logical_cpus=2, **other) as workers:
        assert workers.wait(300) == [2, 75], workers.output(0, "err") + workers.output(1, "err")
        assert "--temperature=0.7 (was 0.5)" in sentence(workers, 0)
        assert "worker 0 could not start" in sentence(workers, 1)


def stop_one(workers, index, how):
    """Sends a signal to a worker; returns the exit codes and the seconds until both had ended."""
    workers.processes[index].send_signal(how)
    began = time.monotonic()
    codes = workers.wait(2 * LOST_SECONDS)
    return codes, time.monotonic() - began


def sentence(workers, index):
    """What a worker said at its end: one line, no traceback."""
    errors = workers.output(index, "err")
    assert "Traceback" not in errors, errors[-3000:]
    said = [line for line in errors.splitlines() if line.startswith("simclr_tf: ")]
    assert len(said) == 1, errors[-3000:]
    return said[0]


@pytest.mark.slow
@pytest.mark.one_stack
def test_whatever_stops_one_worker_stops_all_and_the_same_command_goes_on(tmp_path):
    run = tmp_path / "run"
    settings = {"train_steps": 100_000, "checkpoint_steps": 5}
    with start(tmp_path / "term", run, **settings) as workers:
        wait_for_step(workers, run, 5)
        codes, seconds = stop_one(workers, 1, signal.SIGTERM)
        assert codes == [75, 75], workers.output(0, "err") + workers.output(1, "err")
        for index in range(2):
            assert "SIGTERM of worker 1" in sentence(workers, index)
    saved = int(tf.train.latest_checkpoint(str(run / "checkpoints")).rpartition("-")[2])
    assert seconds < LOST_SECONDS and logged(run)[-1]["step"] <= saved
    for index in (1, 0):
        with start(tmp_path / f"kill{index}", run, **settings) as workers:
            wait_for_step(workers, run, saved + 10)
            codes, seconds = stop_one(workers, index, signal.SIGKILL)
            assert codes[index] == -signal.SIGKILL
            assert codes[1 - index] == 75, workers.output(1 - index, "err")[-3000:]
            assert seconds < LOST_SECONDS
            assert "run the same command on every worker" in sentence(workers, 1 - index)
            assert f"resuming at step {saved} of" in workers.output(0)
        saved = int(tf.train.latest_checkpoint(str(run / "checkpoints")).rpartition("-")[2])
