"""The tf.data service: real processes, the same batches in the same order, bounded waiting."""

import contextlib
import itertools
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.commands import pretrain
from simclr_tf.data import sources
from simclr_tf.distribution import data_service
from simclr_tf.errors import DataError, PreemptedError, SettingsError
from simclr_tf.runs.checkpoints import latest_in
from simclr_tf.selftest import encoder
from simclr_tf.selftest.resume import draw_images, stored_values
from simclr_tf.stack import keras, tf
from simclr_tf.views.batches import train_batches

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTINGS = {
    "strategy": "default",
    "image_size": 16,
    "encoder": encoder.NAME,
    "operators": "",
    "proj_out_dim": 8,
    "train_batch_size": 8,
    "train_steps": 3,
    "warmup_epochs": 0.0,
    "log_steps": 1,
}


def started(*flags):
    """(process of --mode=data_service, its address) once it says that it serves."""
    command = [
        sys.executable,
        "-m",
        "simclr_tf",
        "--mode=data_service",
        "--port=0",
        "--bind=0.0.0.0",
        *flags,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("tf.data service: "), line
    return process, line.split(" at ")[1].strip()


@contextlib.contextmanager
def servers():
    """A list of processes that are killed at the end."""
    running = []
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture(scope="module")
def service():
    """(address of a dispatcher, the processes of it and of its worker)."""
    with servers() as running:
        dispatcher, address = started()
        running.append(dispatcher)
        running.append(started("--role=worker", f"--dispatcher={address}")[0])
        yield address, running


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    draw_images(str(folder))
    return str(folder)


def tiny(folder, images, **changes):
    values = {**SETTINGS, "image_dir": images, "model_dir": str(folder), **changes}
    return config.build(config.Pretrain, values)


def test_a_service_gives_the_same_batches_in_the_same_order(service, images):
    address, _ = service
    settings = tiny("unused", images)
    source = sources.open_source(settings.data, "train", 0)
    own = train_batches(source, settings.views, 16, 8, seed=5, start_step=2)
    served = data_service.prepared_by(address, own, 2, source)
    pairs = list(itertools.islice(zip(own, served), 7))  # beyond an epoch of three batches
    assert len(pairs) == 7 and len({tuple(one["id"].numpy()) for one, _ in pairs}) == 7
    for want, got in pairs:
        assert set(want) == set(got)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])


def test_a_training_with_a_service_ends_with_the_same_weights(service, images, tmp_path):
    address, _ = service
    results = []
    for name, where in (("own", ""), ("served", address)):
        keras.utils.set_random_seed(0)  # the encoder of the test starts anywhere
        results.append(pretrain.run(tiny(tmp_path / name, images, data_service=where)))
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-5)
    own, served = (stored_values(latest_in(str(tmp_path / n / "checkpoints"))) for n in ("own", "served"))  # fmt: skip
    assert own.keys() == served.keys() and len(own) > 30
    for key in own:
        np.testing.assert_allclose(served[key], own[key], rtol=1e-4, atol=1e-6, err_msg=key)


def kill_after_the_first_step(metrics, process):
    """Kills a process, as a crash would, once a training has logged a step."""
    while not (metrics.exists() and metrics.read_text().count("\n")):
        time.sleep(0.05)
    process.kill()


def test_a_worker_that_dies_ends_the_training_and_the_same_command_resumes(images, tmp_path, monkeypatch, capsys):  # fmt: skip
    monkeypatch.setattr(data_service, "_LOOK_SECONDS", 1.0)
    monkeypatch.setattr(data_service, "SECONDS", 5.0)
    folder = tmp_path / "run"
    changes = {"train_steps": 100_000, "checkpoint_steps": 1, "keep_checkpoint_max": 2}
    with servers() as running:
        dispatcher, address = started()
        running.append(dispatcher)
        running.append(started("--role=worker", f"--dispatcher={address}")[0])
        killer = threading.Thread(
            target=kill_after_the_first_step, args=(folder / "metrics.jsonl", running[1])
        )
        killer.start()
        with pytest.raises(DataError, match="has no worker that answers within 5 seconds"):
            pretrain.run(tiny(folder, images, data_service=address, **changes))
        killer.join()
    done = int(latest_in(str(folder / "checkpoints")).rpartition("-")[2])
    with pytest.raises(PreemptedError):
        pretrain.run(tiny(folder, images, max_wall_minutes=1e-6, **changes))
    assert done >= 1 and f"resuming at step {done} of 100000" in capsys.readouterr().out


def test_batches_out_of_order_stop_the_training(images):
    batches = tf.data.Dataset.from_tensor_slices([3, 4, 6])
    numbered = batches.map(lambda n: (tf.cast(n, tf.int64), n))
    checked = numbered.scan(tf.constant(3, tf.int64), data_service._next_in_order)
    taken = iter(checked)
    assert [int(next(taken)), int(next(taken))] == [3, 4]
    with pytest.raises(DataError, match="left out or repeated a batch.*same command again"):
        with data_service.watched("grpc://localhost:1"):
            next(taken)


def test_an_image_that_cannot_be_used_is_one_sentence(service, tmp_path):
    draw_images(str(tmp_path))
    (tmp_path / "05.png").write_bytes(b"\x89PNG and no more")
    settings = tiny("unused", str(tmp_path))
    source = sources.open_source(settings.data, "train", 0)
    own = train_batches(source, settings.views, 16, 8, seed=5)
    served = data_service.prepared_by(service[0], own, 0, source)
    with pytest.raises(DataError, match="met an image that cannot be used"):
        with data_service.watched(service[0]):
            for _ in itertools.islice(served, 8):  # two epochs
                pass


def test_a_dispatcher_without_a_worker_or_with_two_is_refused():
    with servers() as running:
        dispatcher, address = started()
        running.append(dispatcher)
        with pytest.raises(DataError, match="has no worker that answers within 2 seconds"):
            data_service.check(address, seconds=2)
        for _ in range(2):
            running.append(started("--role=worker", f"--dispatcher={address}")[0])
        with pytest.raises(SettingsError, match="has 2 workers"):
            data_service.check(address)


def test_a_service_that_is_not_there_is_one_sentence_in_bounded_time(images, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    flags += [f"--image_dir={images}", f"--model_dir={tmp_path / 'run'}", "--preset=none"]
    began = time.monotonic()
    code = main(["--mode=pretrain", *flags, f"--data_service=grpc://localhost:{port}"])
    assert code == 3 and time.monotonic() - began < 200  # TensorFlow alone waits forever
    said = capsys.readouterr().err
    assert f"no tf.data service answers at grpc://localhost:{port}" in said
    assert said.count("\n") == 1 and not os.path.exists(tmp_path / "run")


@pytest.mark.parametrize("address", ["localhost:5050", "grpc://localhost", "http://a:1", "grpc://a:99999"])  # fmt: skip
def test_another_form_of_address_is_refused(address):
    with pytest.raises(SettingsError, match="not of the form grpc://host:port"):
        data_service.check(address)


def test_npy_files_are_refused(images):
    settings = tiny("unused", images)
    source = sources.open_source(settings.data, "train", 0)
    source.needs_python = True
    with pytest.raises(SettingsError, match="cannot decode .npy files"):
        data_service.prepared_by("grpc://localhost:1", None, 0, source)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--role=worker"], "--dispatcher=grpc://host:5050"),
        (["--role=worker", "--dispatcher=here", "--bind=0.0.0.0"], "not of the form"),
        (["--role=server"], "one of dispatcher, worker"),
        ([], "without a password, and runs any graph"),
        (["--bind=127.0.0.1"], "0.0.0.0"),
        (["--port=70000"], "at most 65535"),
    ],
)
def test_wrong_flags_of_the_mode_are_one_sentence(flags, words, capsys):
    assert main(["--mode=data_service", *flags]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_a_port_in_use_is_one_sentence(service, capsys):
    address, _ = service
    port = address.rpartition(":")[2]
    assert main(["--mode=data_service", "--bind=0.0.0.0", f"--port={port}"]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_sigterm_ends_a_server_with_0(service):
    process, _ = started()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.stdout.close()
