"""In a notebook a bar takes the place of the progress line; `quiet` leaves neither."""

import io
import sys

import simclr_tf
from simclr_tf.training.progress import Progress, in_notebook
from tests.library.conftest import TINY

LOGS = {"loss": 2.5, "contrastive_accuracy": 0.25, "entropy": 1.0}


class KernelStream(io.StringIO):
    """What sys.stderr is in a notebook."""


KernelStream.__module__ = "ipykernel.iostream"


def test_the_bar_counts_steps_and_shows_the_figures(monkeypatch):
    stream = KernelStream()
    monkeypatch.setattr(sys, "stderr", stream)
    assert in_notebook(stream) and not in_notebook(io.StringIO())
    progress = Progress(2, 10, 16, chance=3.4)
    progress.show(6, LOGS)
    assert progress.bar.n == 6 and progress.bar.total == 10 and progress.bar.initial == 2
    assert "loss=2.5000 (chance 3.4000)" in progress.bar.postfix
    assert "contrastive accuracy=0.250" in progress.bar.postfix
    progress.show(10, LOGS)
    assert progress.bar.disable, "it is closed at the end"
    assert "10/10" in stream.getvalue() and "ETA" not in stream.getvalue()


def test_quiet_shows_nothing(images, tmp_path, monkeypatch, capfd):
    stream = KernelStream()
    monkeypatch.setattr(sys, "stderr", stream)
    settings = {**TINY, "train_steps": 1, "dry_run": True}
    simclr_tf.pretrain(images, tmp_path / "run", quiet=True, **settings)
    assert stream.getvalue() == "" and capfd.readouterr().out == ""
