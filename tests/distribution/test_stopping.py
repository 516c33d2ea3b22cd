"""What ends a training in order, and what ends it at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from simclr_tf.distribution import stopping
from simclr_tf.errors import PreemptedError
from simclr_tf.training import loop
from simclr_tf.training.length import Steps

# a call of the C library that no signal ends, as a long compilation is
BLOCKED = """
import ctypes, sys
from simclr_tf.distribution import stopping
assert "tensorflow" not in sys.modules
stopping.watch_keyboard()
mutex = ctypes.create_string_buffer(128)
with stopping.StopRequest():
    print("ready", flush=True)
    lock = ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex), lock(mutex)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_asks_for_an_orderly_stop(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with stopping.StopRequest() as stop:
        assert stop.reason(1) == ""
        os.kill(os.getpid(), number)
        assert stop.reason(1) == ("Ctrl-C" if name == "SIGINT" else name)
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_does_not_wait():
    with pytest.raises(KeyboardInterrupt):
        with stopping.StopRequest():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does
    try:
        with stopping.StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.reason(1) == ""
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_ctrl_c_that_tensorflow_swallowed_ends_the_run_before_it_trains(monkeypatch):
    monkeypatch.setattr(stopping._Keyboard, "pressed", True)
    with pytest.raises(KeyboardInterrupt):
        with stopping.StopRequest():
            pass


class Interrupted:
    """A StepRunner during whose second step somebody presses Ctrl-C."""

    model = None
    steps = 0

    def run(self, count):
        self.steps += count
        if self.steps == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return count

    def take_metrics(self, step):
        return {"step": step}


class NoFaults:
    def look(self, step, saving):
        pass


def test_ctrl_c_saves_and_exits_with_130(monkeypatch):
    saved = []
    monkeypatch.setattr(loop, "_save", lambda *arguments: saved.append(arguments[2]))
    steps = Steps(total=100, warmup=0, per_epoch=10, checkpoint=50, log=1, peak_learning_rate=1.0)
    with pytest.raises(PreemptedError, match="stopped by Ctrl-C after step 2 of 100") as caught:
        loop.train(Interrupted(), steps, 0, None, [], NoFaults())
    assert saved == [2] and caught.value.exit_code == 130


def test_a_second_ctrl_c_ends_a_process_that_computes(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the state is saved after this step" in said and "ended at once" in said
