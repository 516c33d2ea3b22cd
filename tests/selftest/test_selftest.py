"""`--mode=selftest`: it passes here, its table says what it found, and every check can fail."""

import re
import subprocess
import sys

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.commands import pretrain, selftest
from simclr_tf.errors import SelftestError, SettingsError
from simclr_tf.losses.kernels import replicas
from simclr_tf.selftest import all_checks, checks, encoder, parity, rates, resume
from simclr_tf.stack import keras, tf


@pytest.fixture(scope="module")
def whole():  # also the parity of two replicas; training/test_pretraining.py has four
    """What a user sees of a whole selftest in a new process."""
    command = [sys.executable, "-m", "simclr_tf", "--mode=selftest"]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
@pytest.mark.current_stack
def test_this_machine_passes_every_check(whole):
    assert whole.returncode == 0, whole.stdout + whole.stderr[-2000:]
    lines = [line.split("  ") for line in whole.stdout.splitlines()]
    passed = {line[0].strip() for line in lines if "pass" in [cell.strip() for cell in line]}
    wanted = {"devices", "replicas: loss", "replicas: gradient", "precision: mixed_bfloat16"}
    wanted |= {"precision: mixed_float16", "XLA: train step", "decode and crop", "views", "resume"}
    assert passed == wanted
    assert "MirroredStrategy, 2 replicas" in whole.stdout
    assert re.search(r"9 of 9 checks passed in \d+ s", whole.stdout)


def job_of(strategy=None, scratch=""):
    return checks.Job(
        config.Run(), strategy or tf.distribute.get_strategy(), str(scratch), pretrain.run
    )


def failed(outcomes):
    return [outcome.name for outcome in outcomes if not outcome.passed]


@pytest.fixture
def quick_replicas(monkeypatch, two_replicas):
    """The check of two replicas with an encoder that is traced in a moment."""
    monkeypatch.setattr(selftest, "make_strategy", lambda settings: two_replicas)
    monkeypatch.setattr(parity, "MODEL", config.Model(encoder=encoder.NAME, proj_out_dim=16))
    monkeypatch.setattr(parity, "distance_to_kink", lambda simclr, batch: 1.0)


@pytest.mark.slow
@pytest.mark.one_stack
def test_negatives_of_one_replica_only_fail_it_and_exit_1(monkeypatch, capsys, quick_replicas):
    """The classical mistake: every replica contrasts its own images alone."""
    assert main(["--mode=selftest", "--checks=replicas"]) == 0
    assert "2 of 2 checks passed" in capsys.readouterr().out
    monkeypatch.setattr(replicas, "replica_context", lambda: None)
    assert main(["--mode=selftest", "--checks=replicas"]) == 1
    said = capsys.readouterr()
    assert "FAIL" in said.out and "0 of 2 checks passed" in said.out
    assert "2 of 2 checks failed (replicas: loss, replicas: gradient)" in said.err
    assert said.err.count("simclr_tf: ") == 1


def test_a_wrong_product_fails_the_devices(monkeypatch):
    assert failed(checks.devices(job_of())) == []
    monkeypatch.setattr(tf, "matmul", lambda a, b: tf.linalg.matmul(a, b) * 1.001)
    assert failed(checks.devices(job_of())) == ["devices"]


@pytest.mark.current_stack
def test_a_precision_that_is_not_used_fails(monkeypatch):
    monkeypatch.setattr(keras.mixed_precision, "set_global_policy", lambda name: None)
    assert len(failed(checks.precision(job_of()))) == 2


def test_a_step_that_differs_under_xla_fails(monkeypatch):
    def step(job, config, jit_compile):
        start = np.zeros(9)
        return start + 1 + 0.1 * jit_compile, start, 0.1

    monkeypatch.setattr(checks, "_step", step)
    assert failed(checks.xla(job_of())) == ["XLA: train step"]


def test_batches_that_are_not_repeated_and_views_out_of_range_fail(monkeypatch):
    calls = iter(range(100))

    def batches(source, views, size, batch, seed):
        images = tf.fill([batch, 2, size, size, 3], next(calls))
        return [{"images": images}, {"images": images}]

    monkeypatch.setattr(rates, "SECONDS", 0.0)
    monkeypatch.setattr(rates, "train_batches", batches)
    monkeypatch.setattr(rates, "make_views", lambda *args: lambda batch: tf.fill([8, 2], 1.5))
    assert failed(rates.rates(job_of())) == ["decode and crop", "views"]


def test_a_checkpoint_that_differs_in_one_bit_fails():
    one = {"a": np.zeros(3, np.float32), "b": np.ones(1)}
    other = {"a": np.array([0, 0, -0.0], np.float32), "b": np.ones(1)}
    assert resume.different(one, one) == []
    assert resume.different(one, other) == ["a"]
    assert resume.different(one, {"a": one["a"]}) == ["b"]


def test_a_check_that_breaks_is_a_failure_of_that_check(monkeypatch, capsys):
    def broken(job):
        raise tf.errors.InternalError(None, None, "no kernel\nmore")

    monkeypatch.setitem(all_checks.CHECKS, "devices", broken)
    settings = config.build(config.Selftest, {"checks": "devices", "strategy": "default"})
    with pytest.raises(SelftestError, match="1 of 1 checks failed"):
        selftest.run(settings)
    assert "InternalError: no kernel" in capsys.readouterr().out


def test_unknown_checks_are_refused():
    with pytest.raises(SettingsError, match="any of devices, replicas"):
        config.build(config.Selftest, {"checks": "speed"})


def test_a_cloud_tpu_needs_a_scratch_folder():
    settings = config.build(config.Selftest, {"use_tpu": True, "tpu_name": "pod-7"})
    with pytest.raises(SettingsError, match="--scratch_dir=gs://"):
        selftest.run(settings)


def test_the_scratch_folder_is_removed(tmp_path):
    with selftest._scratch(str(tmp_path)) as folder:
        assert folder.startswith(str(tmp_path)) and tf.io.gfile.isdir(folder)
    assert list(tmp_path.iterdir()) == []
