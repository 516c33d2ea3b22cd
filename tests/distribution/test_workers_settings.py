"""Which processes train together: --workers, TF_CONFIG, and what is refused."""

import concurrent.futures
import contextlib
import json
import socket
import threading
import time

import numpy as np
import pytest

from benchmarks.local_workers import free_addresses
from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.config import Workers
from simclr_tf.data.order import Share
from simclr_tf.distribution import rendezvous, strategy, workers
from simclr_tf.distribution import stopping as agreed_stop
from simclr_tf.distribution.cluster import Cluster, find_cluster, from_tf_config
from simclr_tf.errors import DataError, SettingsError, UserError, WorkerLostError


def tf_config(cluster=None, task=None):
    cluster = {"worker": ["a:1", "b:2"]} if cluster is None else cluster
    return json.dumps({"cluster": cluster, "task": task or {"type": "worker", "index": 1}})


def test_workers_come_from_the_settings_or_from_tf_config():
    want = Cluster(("a:1", "b:2"), 1)
    assert find_cluster(Workers(workers="a:1, b:2", worker_index=1), {}) == want
    assert find_cluster(Workers(), {"TF_CONFIG": tf_config()}) == want
    both = Workers(workers="a:1,b:2", worker_index=1)
    assert find_cluster(both, {"TF_CONFIG": tf_config()}) == want
    assert find_cluster(Workers(worker_index=1), {"TF_CONFIG": tf_config()}) == want
    assert find_cluster(Workers(), {}).count == 1
    assert find_cluster(Workers(), {"TF_CONFIG": '{"cluster": {}}'}).count == 1


def test_a_chief_of_tf_config_is_the_first_worker():
    cluster = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    chief = from_tf_config(tf_config(cluster, {"type": "chief", "index": 0}))
    worker = from_tf_config(tf_config(cluster, {"type": "worker", "index": 1}))
    assert chief == Cluster(("a:1", "b:2", "c:3"), 0)
    assert worker == Cluster(("a:1", "b:2", "c:3"), 2)


@pytest.mark.parametrize(
    "values, message",
    [
        (dict(workers="a:1,b", worker_index=0), "b is not host:port"),
        (dict(workers="a:1,:2", worker_index=0), ":2 is not host:port"),
        (dict(workers="a:1,b:70000", worker_index=0), "b:70000 is not host:port"),
        (dict(workers="a:1,a:1", worker_index=0), "a:1 is named twice"),
        (dict(workers="a:1,b:2", worker_index=2), "worker_index=2 is outside the 2 workers"),
        (dict(workers="a:1,b:2"), "without worker_index"),
        (dict(worker_index=-2), "at least -1"),
    ],
)
def test_wrong_workers_are_refused(values, message):
    with pytest.raises(SettingsError, match=message) as caught:
        Workers(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "not JSON"),
        ("[1]", "is a list"),
        (tf_config({"worker": ["a:1", "b"]}), "b is not host:port"),
        (tf_config({"worker": "a:1"}), "no list of host:port"),
        (tf_config(["a:1"]), "only chief and worker"),
        (tf_config({"worker": ["a:1"], "ps": ["b:2"]}), "names ps in its cluster"),
        (tf_config(task={"type": "worker", "index": 2}), "none of its 0 chiefs and 2 workers"),
        (tf_config(task={"type": "chief", "index": 0}), "none of its 0 chiefs and 2 workers"),
        (tf_config(task={"type": "worker", "index": "1"}), "index='1'"),
        (tf_config(task=[1]), "type=None"),
    ],
)
def test_a_wrong_tf_config_is_refused(text, message):
    with pytest.raises(SettingsError, match=message) as caught:
        find_cluster(Workers(), {"TF_CONFIG": text})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings, text",
    [
        (Workers(workers="a:1,b:2", worker_index=0), tf_config()),
        (Workers(workers="a:1,b:2,c:3", worker_index=1), tf_config()),
        (Workers(worker_index=0), tf_config()),
        (Workers(worker_index=0), ""),
    ],
)
def test_settings_and_tf_config_may_not_differ(settings, text):
    with pytest.raises(SettingsError, match="differ|is given but"):
        find_cluster(settings, {"TF_CONFIG": text})


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--strategy=default"], "strategy=default is given with 2 workers"),
        (["--use_tpu"], "use_tpu is given with 2 workers"),
        (["--train_batch_size=63"], "does not divide evenly over 8 replicas"),  # four CPUs each
    ],
)
def test_what_several_workers_cannot_do_is_one_sentence(flags, message, capsys):
    command = ["--mode=pretrain", "--dataset=digits", "--dry_run", "--workers=a:1,b:2"]
    assert main([*command, "--worker_index=1", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_plans_for_all_workers_without_connecting(capsys, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(task={"type": "worker", "index": 0}))
    flags = ["--dataset=digits", "--train_batch_size=64", "--resnet_depth=18"]
    assert main(["--mode=pretrain", "--dry_run", *flags]) == 0
    said = capsys.readouterr().out
    assert "MultiWorkerMirroredStrategy, 2 workers, 8 replicas" in said  # four CPUs: conftest
    assert "64 images, 8 per replica" in said


@pytest.mark.parametrize("mode", ["linear_eval", "finetune", "knn", "export"])
def test_other_modes_take_no_workers(mode, capsys, monkeypatch):
    assert main([f"--mode={mode}", "--checkpoint=x", "--workers=a:1,b:2"]) == 2
    assert "--workers is a flag of --mode=pretrain" in capsys.readouterr().err


def test_other_modes_refuse_a_tf_config_of_several(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config())
    with pytest.raises(SettingsError, match="TF_CONFIG names 2 workers, but only"):
        strategy.make_strategy(config.Run())


def test_shares_are_every_position_once():
    for replicas in (1, 3):
        shares = [Share(24, worker, 2, replicas) for worker in range(2)]
        parts = [share.positions(np.arange(48)).numpy() for share in shares]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(96))
        np.testing.assert_array_equal(parts[1][:12], np.arange(12, 24))
        for share, part in zip(shares, parts):
            assert share.holds(part).all() and share.holds(np.arange(96)).sum() == 48


class Others(workers.WorkerGroup):
    """A WorkerGroup of two whose exchange also holds what a second worker would say."""

    def __init__(self, *theirs):
        super().__init__(None, Cluster(("a:1", "b:2"), 0))
        self.theirs = list(theirs)
        self.calls = 0

    def exchange(self, *numbers):
        self.calls += 1
        return np.asarray([numbers, self.theirs.pop(0)], np.float64)


def test_a_failure_elsewhere_stops_this_worker():
    assert Others([0]).on_every_worker(lambda: 5) == 5
    with pytest.raises(WorkerLostError, match="worker 1 could not start") as caught:
        Others([1]).on_every_worker(lambda: 5)
    assert caught.value.exit_code == 75
    with pytest.raises(DataError, match="mine"):
        Others([0]).on_every_worker(fail)


def fail():
    raise DataError("mine")


def test_workers_that_see_other_checkpoints_stop():
    Others([4]).check_equal(4, "a checkpoint of step")
    with pytest.raises(DataError, match="worker 0 finds a checkpoint of step 4 and worker 1 0"):
        Others([0]).check_equal(4, "a checkpoint of step")


def test_a_stop_is_agreed_on_every_few_steps(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(agreed_stop.time, "monotonic", lambda: clock[0])
    group = Others([0, 0, 0.0], [0, 0, 0.5], [1, 1, 0.5])
    stop = agreed_stop.AgreedStop(0.0, group)
    found = []
    for step in range(1, 8):
        clock[0] += 0.1
        found.append(stop.reason(step))
    # looks at step 1, at 2 (0.5 s a step on the slower worker: the next look is 4 steps on), at 6
    assert group.calls == 3
    assert found == [""] * 5 + ["SIGTERM of worker 1"] + [""]


ONE = {"devices": 1}


def hello(cluster):
    """The line that a worker says to the chief."""
    content = {"token": rendezvous.token_of(cluster), "index": cluster.index, "agreed": ONE}
    return json.dumps(content)


def together(*calls):
    """Runs rendezvous.meet with the arguments of each call in a thread; returns what it raised."""

    def meet(arguments):
        try:
            rendezvous.meet(*arguments)
        except UserError as error:
            return error
        return None

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(meet, calls))


def test_workers_wait_for_each_other():
    addresses = tuple(free_addresses(3))
    clusters = [Cluster(addresses, index) for index in range(3)]
    assert together(*((cluster, ONE, 20) for cluster in clusters)) == [None] * 3


def test_who_does_not_come_is_told_in_time():
    addresses = tuple(free_addresses(3))
    began = time.monotonic()
    chief, other = together((Cluster(addresses, 0), ONE, 1), (Cluster(addresses, 2), ONE, 1))
    assert time.monotonic() - began < 100  # they wait for 1 s; without limit it is 600
    assert f"after 1 s worker 1 ({addresses[1]}) is not there" in str(chief)
    assert "is not there" in str(other) and chief.exit_code == other.exit_code == 75


def test_one_that_comes_and_dies_is_waited_for():
    addresses = tuple(free_addresses(3))
    host, _, port = addresses[0].rpartition(":")
    said = hello(Cluster(addresses, 1))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        chief = pool.submit(together, (Cluster(addresses, 0), ONE, 4))
        for _ in range(100):
            with contextlib.suppress(ConnectionRefusedError):
                with socket.create_connection((host, int(port))) as visitor:
                    visitor.sendall(f"{said}\n".encode())
                break
            time.sleep(0.02)  # until the chief listens
        (other,) = together((Cluster(addresses, 2), ONE, 2))
    assert f"worker 1 ({addresses[1]}) is not there" in str(chief.result()[0])
    assert "is not there" in str(other)


def test_workers_with_other_devices_are_refused():
    addresses = tuple(free_addresses(2))
    two = {"devices": 2}
    for error in together((Cluster(addresses, 0), ONE, 20), (Cluster(addresses, 1), two, 20)):
        assert isinstance(error, SettingsError)
        assert "worker 0 and worker 1 differ: devices=1 and 2" in str(error)


def test_workers_with_other_workers_are_told():
    addresses = tuple(free_addresses(3))
    others = (addresses[0], addresses[2])
    chief, other = together((Cluster(addresses[:2], 0), ONE, 2), (Cluster(others, 1), ONE, 20))
    assert "is not there" in str(chief)
    assert "was not started with --workers=" in str(other) and isinstance(other, SettingsError)


def test_strangers_neither_end_nor_delay_nor_replace_a_worker():
    addresses = tuple(free_addresses(3))
    host, _, port = addresses[0].rpartition(":")
    true = json.loads(hello(Cluster(addresses, 1)))
    lines = [
        b'{"index": 1}',
        b"[" * 60_000,
        b"GET / HTTP/1.1",
        b"\x00\xff\xfe",
        json.dumps({**true, "token": "0" * 64}).encode(),
        *(json.dumps({**true, "index": i}).encode() for i in (0, -1, 3, True, "1", 1.0, None)),
        b"x" * 200_000,
    ]
    held = []

    def visit():
        for line in lines:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    held.append(socket.create_connection((host, int(port)), 5))
                    held[-1].sendall(line + b"\n")
                    break
                time.sleep(0.02)  # until the chief listens
        held.append(socket.create_connection((host, int(port)), 5))  # and one says nothing

    strangers = threading.Thread(target=visit)
    strangers.start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        chief = pool.submit(together, (Cluster(addresses, 0), ONE, 60))
        strangers.join()
        began = time.monotonic()
        others = together((Cluster(addresses, 1), ONE, 20), (Cluster(addresses, 2), ONE, 20))
        assert others == [None, None] and chief.result() == [None]
    assert time.monotonic() - began < rendezvous._PATIENCE  # nobody waited for the silent one
    for one in held:
        one.close()


def test_the_first_worker_of_an_index_stays():
    addresses = tuple(free_addresses(3))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        chief = pool.submit(together, (Cluster(addresses, 0), ONE, 60))
        first = pool.submit(together, (Cluster(addresses, 1), ONE, 60))
        time.sleep(1.0)
        second = socket.create_connection(addresses[0].split(":"), 5)
        second.sendall(hello(Cluster(addresses, 1)).encode() + b"\n")
        assert json.loads(second.makefile().readline()) == "taken"
        assert together((Cluster(addresses, 2), ONE, 20)) == [None]
        assert first.result() == chief.result() == [None]


def test_a_loopback_address_is_open_to_this_machine_only():
    (address,) = free_addresses(1)
    with rendezvous._listen(Cluster((address, "127.0.0.1:9"), 0), "") as server:
        assert server.getsockname()[0] == "127.0.0.1"
    with rendezvous._listen(Cluster((address, "127.0.0.1:9"), 0), "0.0.0.0") as server:
        assert server.getsockname()[0] == "0.0.0.0"


def test_a_taken_port_is_one_sentence():
    with socket.create_server(("", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match=f"worker 0 cannot listen at {address}"):
            rendezvous.meet(Cluster((address, "127.0.0.1:9"), 0), ONE, 1)
