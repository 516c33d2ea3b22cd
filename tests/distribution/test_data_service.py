"""The data service: the same batches from any number of workers, and nothing for strangers."""

import contextlib
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.commands import pretrain
from simclr_tf.commands.data_service import Maker
from simclr_tf.data import order, sources
from simclr_tf.data.quarantine import Quarantine
from simclr_tf.distribution import data_service, service_key, wire
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.runs.checkpoints import latest_in
from simclr_tf.selftest import encoder
from simclr_tf.selftest.resume import draw_images, stored_values
from simclr_tf.stack import tf
from simclr_tf.training.served import service_batches
from simclr_tf.views import multi_crop

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTINGS = {
    "strategy": "default",
    "image_size": 16,
    "encoder": encoder.NAME,
    "operators": "",
    "proj_out_dim": 8,
    "train_batch_size": 8,
    "train_steps": 4,
    "warmup_epochs": 0.0,
    "log_steps": 1,
}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("key") / "folder" / "key")
    service_key.read_key(path, make=True)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    draw_images(str(folder))
    return str(folder)


@contextlib.contextmanager
def workers(count, key_file, images, **settings):
    """Addresses of workers in this process, comma-separated."""
    data = config.Data(image_dir=images, **settings)
    key = service_key.read_key(key_file)
    running = [
        data_service.Service("127.0.0.1", 0, key, Maker(data).batches_for) for _ in range(count)
    ]
    for one in running:
        threading.Thread(target=one.serve, daemon=True).start()
    try:
        yield ",".join(one.address for one in running)
    finally:
        for one in running:
            one.close()


def tiny(folder, images, **changes):
    values = {**SETTINGS, "image_dir": images, "model_dir": str(folder), **changes}
    return config.build(config.Pretrain, values)


def both(settings, start=0, share=None):
    """(batches of this process, batches of the service, Source of the latter)."""
    share = share or order.Share(settings.training.train_batch_size)
    pair = []
    for _ in range(2):
        source = sources.open_source(settings.data, "train", settings.run.seed)
        pair.append((multi_crop.batches(source, settings, 2, share, start), source))
    (own, first), (model, second) = pair
    served = service_batches(settings, model, share, start, second)
    return own, first, served, second


def check_equal(own, served, count):
    pairs = list(itertools.islice(zip(own, served), count))
    assert len(pairs) == count
    for want, got in pairs:
        assert set(want) == set(got)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize("count, start", [pytest.param(1, 0, marks=pytest.mark.slow), (3, 2)])
def test_any_number_of_workers_gives_the_same_batches_in_the_same_order(count, start, key_file, images):  # fmt: skip
    with workers(count, key_file, images) as addresses:
        settings = tiny("unused", images, data_service=addresses, service_key=key_file)
        own, _, served, _ = both(settings, start)
        check_equal(own, served, 7)  # beyond an epoch of three batches


@pytest.mark.current_stack
@pytest.mark.slow
def test_each_process_of_a_training_gets_its_share_for_each_replica(key_file, images):
    with workers(2, key_file, images) as addresses:
        settings = tiny("unused", images, data_service="grpc://" + addresses, service_key=key_file)
        own, _, served, _ = both(settings, 1, order.Share(8, 1, 2, 2))
        check_equal(own, served, 8)


@pytest.mark.current_stack
@pytest.mark.slow
def test_local_views_and_another_seed_reach_the_workers(key_file, images):
    with workers(2, key_file, images) as addresses:
        changes = {"local_views": 1, "seed": 3, "operators": "blur", "crop_area_min": 0.5}
        settings = tiny("unused", images, data_service=addresses, service_key=key_file, **changes)
        own, _, served, _ = both(settings)
        check_equal(own, served, 4)


@pytest.mark.slow
@pytest.mark.current_stack
def test_formats_that_python_decodes_and_bad_images_come_as_without_a_service(key_file, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    draw_images(str(folder))
    (folder / "05.png").write_bytes(b"\x89PNG and no more")
    for number in range(3):
        np.save(folder / f"9{number}.npy", np.full([20, 20, 3], 50 * number, np.uint8))
    with workers(2, key_file, str(folder)) as addresses:
        settings = tiny("unused", str(folder), data_service=addresses, service_key=key_file)
        own, first, served, second = both(settings)
        check_equal(own, served, 8)  # more than two epochs
    assert list(first.quarantine.reasons) == [str(folder / "05.png")]
    assert second.quarantine.reasons == first.quarantine.reasons


@pytest.mark.one_stack
@pytest.mark.slow
def test_the_first_bad_image_ends_a_strict_training_in_one_sentence(key_file, tmp_path):
    draw_images(str(tmp_path))
    (tmp_path / "05.png").write_bytes(b"\x89PNG and no more")
    with workers(2, key_file, str(tmp_path)) as addresses:
        settings = tiny("unused", str(tmp_path), data_service=addresses, service_key=key_file, strict_data=True)  # fmt: skip
        _, _, served, source = both(settings)
        with pytest.raises(tf.errors.OpError):
            list(itertools.islice(served, 8))
    with pytest.raises(DataError, match="says: .*05.png cannot be used"):
        source.quarantine.check()


def ending(served, source):
    """The sentence that ends a training at the first batches of a service."""
    with pytest.raises(tf.errors.OpError):
        list(itertools.islice(served, 4))
    with pytest.raises(DataError) as error:
        source.quarantine.check()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_worker_with_other_images_or_versions_says_so(key_file, images, tmp_path, monkeypatch):
    draw_images(str(tmp_path))
    (tmp_path / "05.png").unlink()
    with workers(1, key_file, str(tmp_path)) as addresses:
        settings = tiny("unused", images, data_service=addresses, service_key=key_file)
        _, _, served, source = both(settings)
        assert "it reads other images" in ending(served, source)
        monkeypatch.setattr(data_service, "__version__", "0.0.0")
        _, _, served, source = both(settings)
        assert "its versions are" in ending(served, source)


def listening():
    """A socket that listens on a free port, and its address."""
    server = socket.create_server(("127.0.0.1", 0))
    return server, f"127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def false_worker(key_file, behave):
    """The address of a worker that has the key and answers as `behave(connection)` does."""
    server, address = listening()

    def serve():
        while True:
            try:
                connection = wire.Connection(server.accept()[0])
            except OSError:
                return
            with contextlib.suppress(OSError, wire.Refused):
                connection.greet_as_worker(service_key.read_key(key_file))
                connection.receive()
                behave(connection)
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield address
    finally:
        server.close()


SHAPES = {"images": [8, 2, 16, 16, 3], "id": [8], "epoch": [8], "label": [8]}
ZEROS = [np.zeros(SHAPES["epoch"], np.int32), np.zeros(8, np.int64), np.zeros(SHAPES["images"], np.uint8), np.zeros(8, np.int32)]  # fmt: skip


def message(**changes):
    return {"step": 0, "bad": [], "shapes": SHAPES, **changes}


@pytest.mark.parametrize(
    "behave, words",
    [
        (lambda c: None, "is lost (it closed the connection)"),
        (lambda c: c.send(message(), ZEROS[:2]), "is lost (it closed the connection)"),
        (lambda c: c.send(message(step=1), ZEROS), "sent batch 1 instead of 0"),
        (
            lambda c: c.send(message(shapes={**SHAPES, "images": [8, 2, 2**20, 2**20, 3]})),
            "of shape",
        ),
        (lambda c: c.send(message(shapes={"images": [1]})), "other tensors"),
        (lambda c: c.send({"hello": 1}), "is lost"),
        (lambda c: c._socket.sendall(b"[" * 5_000_000), "does not speak the protocol"),
        (lambda c: c.send({"error": "a reason\x1b[2J."}), r"says: a reason\x1b[2J."),
    ],
)
def test_what_a_lost_or_false_worker_sends_ends_the_run_in_one_sentence(behave, words, key_file):
    spec = {
        name: tf.zeros([8, *shape[1:]], dtype)
        for (name, shape), dtype in zip(SHAPES.items(), ("uint8", "int64", "int32", "int32"))
    }
    batches = tf.data.Dataset.from_tensors(spec).repeat()
    source = types.SimpleNamespace(quarantine=Quarantine())
    with false_worker(key_file, behave) as address:
        served = data_service.served(address, key_file, {}, batches, order.Share(8), 0, source)
        assert words in ending(served, source)


def test_strangers_get_nothing_and_the_worker_goes_on(key_file, images, tmp_path, monkeypatch):
    other = str(tmp_path / "key")
    service_key.read_key(other, make=True)
    with workers(1, key_file, images) as address:
        host, port = address.split(":")
        for said in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            b"x" * 100_000,
            b'{"nonce": 5}\n',
            b"[" * 5000,
        ):
            with monkeypatch.context() as patch:
                if not said:  # a silent visitor is sent away
                    patch.setattr(data_service, "_GREETING_SECONDS", 0.5)
                with socket.create_connection((host, int(port))) as stranger:
                    file = stranger.makefile("rb")
                    hello = b""
                    with contextlib.suppress(OSError):
                        hello = file.readline()
                        stranger.sendall(said)
                        assert file.read() in (b"", b'{"refused": "key"}\n')
                    assert not hello or set(json.loads(hello)) == {"data_service", "nonce"}
        with pytest.raises(DataError, match="has another --service_key"):
            data_service.check(address, other)
        data_service.check(address, key_file)


def test_a_training_gives_no_proof_to_a_worker_without_the_key(key_file, images, tmp_path):
    other = str(tmp_path / "key")
    service_key.read_key(other, make=True)
    with false_worker(other, lambda c: None) as address:
        with pytest.raises(DataError, match="has another --service_key"):
            data_service.check(address, key_file)


def test_an_absent_worker_is_named_before_anything_is_written(key_file, images, tmp_path, capsys):
    server, address = listening()
    server.close()
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    flags += [f"--image_dir={images}", f"--model_dir={tmp_path / 'run'}", "--preset=none"]
    flags += [f"--data_service={address}", f"--service_key={key_file}"]
    assert main(["--mode=pretrain", *flags]) == 3
    said = capsys.readouterr().err
    assert f"no data service answers at {address}" in said
    assert said.count("\n") == 1 and not os.path.exists(tmp_path / "run")


@pytest.mark.one_stack
@pytest.mark.parametrize("address", ["grpc://localhost", "http://a:1", "a:99999", "a:0", "a:1,a:1"])
def test_another_form_of_address_is_refused(address):
    with pytest.raises(SettingsError, match="not of the form host:port|twice"):
        data_service.addresses_of(address)


@pytest.mark.one_stack
def test_addresses_may_have_a_scheme_and_brackets():
    assert data_service.addresses_of("grpc://a:1, b:2,[::1]:3") == [("a", 1), ("b", 2), ("::1", 3)]


@pytest.mark.one_stack
def test_the_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "a" / "key"
    with pytest.raises(SettingsError, match="cannot be read"):
        service_key.read_key(str(path))
    key = service_key.read_key(str(path), make=True)
    assert len(key) == 64 and service_key.read_key(str(path), make=True) == key
    assert path.stat().st_mode & 0o777 == 0o600 and os.listdir(path.parent) == ["key"]
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        service_key.read_key(str(path))
    path.write_text("short")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="at least 32"):
        service_key.read_key(str(path))


def test_images_in_memory_are_refused(key_file):
    from simclr_tf.data import memory

    held = memory.as_images(np.zeros([9, 16, 16, 3], np.uint8))
    settings = tiny("unused", held.address, data_service="a:1", service_key=key_file)
    with pytest.raises(SettingsError, match="cannot read images in memory"):
        service_batches(settings, None, order.Share(8), 0, None)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--port=70000"], "at most 65535"),
        (["--role=worker"], "role"),
        (["--image_dir=nowhere"], "does not exist"),
    ],
)
def test_wrong_flags_of_the_mode_are_one_sentence(flags, words, capsys):
    assert main(["--mode=data_service", *flags]) in (2, 3)
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_a_port_in_use_is_one_sentence(key_file, images, capsys):
    server, address = listening()
    flags = [
        f"--image_dir={images}",
        f"--service_key={key_file}",
        f"--port={address.split(':')[1]}",
    ]
    assert main(["--mode=data_service", *flags]) == 2
    assert "choose another --port" in capsys.readouterr().err
    server.close()


def started(key_file, images):
    """(process of --mode=data_service, its address) once it says that it serves."""
    command = [sys.executable, "-m", "simclr_tf", "data_service", "--port=0"]
    command += [f"--image_dir={images}", f"--service_key={key_file}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("data service: "), line
    return process, line.split(" at ")[1].strip()


@pytest.mark.one_stack
@pytest.mark.slow
def test_a_training_on_two_processes_has_the_same_lines_and_weights_and_outlives_a_kill(key_file, images, tmp_path):  # fmt: skip
    changes = {"checkpoint_steps": 1, "seed": 1, "encoder": "", "resnet_depth": 10, "width_multiplier": 0.0625}  # fmt: skip
    pretrain.run(tiny(tmp_path / "own", images, **changes))
    running = [started(key_file, images) for _ in range(2)]
    try:
        where = {"service_key": key_file, "data_service": ",".join(a for _, a in running)}
        pretrain.run(tiny(tmp_path / "served", images, **changes, **where))
        lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("own", "served")]
        assert lines[0] == lines[1] and lines[0].count("\n") == 4
        own, other = (stored_values(latest_in(str(tmp_path / n / "checkpoints"))) for n in ("own", "served"))  # fmt: skip
        for name in own:
            np.testing.assert_array_equal(other[name], own[name], err_msg=name)
        long = {**changes, "train_steps": 100_000}
        folder = tmp_path / "long"
        over = threading.Event()  # so that an early end fails and does not wait for ever

        def kill():
            metrics = folder / "metrics.jsonl"
            while not over.is_set() and not (metrics.exists() and metrics.read_text()):
                time.sleep(0.05)
            running[0][0].kill()

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            with pytest.raises(DataError, match="is lost"):
                pretrain.run(tiny(folder, images, **long, **where))
        finally:
            over.set()
            killer.join()
        assert latest_in(str(folder / "checkpoints"))
        running[1][0].send_signal(signal.SIGTERM)
        assert running[1][0].wait() == 0
    finally:
        for process, _ in running:
            process.kill()
            process.wait()
            process.stdout.close()
