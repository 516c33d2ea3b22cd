"""--precision=auto: the rule of the devices, and that a run keeps what it began with."""

import json

import pytest

from simclr_tf import config
from simclr_tf.commands import chosen_precision
from simclr_tf.distribution import precision
from simclr_tf.stack import keras

pytestmark = pytest.mark.one_stack

OTHERS = {"fpu", "avx2", "avx512f", "avx512_vnni"}


@pytest.mark.parametrize("instruction", ["avx512_bf16", "amx_bf16"])
def test_a_processor_that_multiplies_bfloat16_does_so_if_onednn_is_on(instruction):
    assert precision.of_processor(OTHERS | {instruction}, onednn=True)[0] == "mixed_bfloat16"
    assert precision.of_processor(OTHERS | {instruction}, onednn=False)[0] == "float32"
    assert precision.of_processor(OTHERS, onednn=True)[0] == "float32"
    assert precision.of_processor(set(), onednn=True)[0] == "float32"


def test_the_oldest_gpu_decides():
    new, old, silent = {"compute_capability": (8, 6)}, {"compute_capability": (7, 5)}, {}
    assert precision.of_gpus([new, new])[0] == "mixed_bfloat16"
    assert precision.of_gpus([new, old])[0] == "float32"
    assert precision.of_gpus([new, silent])[0] == "float32"


def test_a_tpu_computes_in_bfloat16():
    assert precision.best_precision(use_tpu=True)[0] == "mixed_bfloat16"


def pretraining(**values):
    return config.build(config.Pretrain, {"precision": "auto", **values})


def test_auto_becomes_the_precision_of_the_machine_in_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(chosen_precision, "best_precision", lambda tpu: ("float32", "it is old"))
    settled = chosen_precision.settle(pretraining(model_dir=str(tmp_path / "run")))
    assert settled.run.precision == "float32"
    assert capsys.readouterr().out == "precision=auto: float32, it is old\n"


def test_a_resumed_run_keeps_its_precision_on_another_machine(monkeypatch, tmp_path):
    stored = {"settings": {"precision": "mixed_bfloat16"}}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    monkeypatch.setattr(chosen_precision, "best_precision", lambda tpu: ("float32", "other"))
    settled = chosen_precision.settle(pretraining(model_dir=str(tmp_path)))
    assert settled.run.precision == "mixed_bfloat16"


def test_a_given_precision_stays():
    given = pretraining(precision="mixed_float16")
    assert chosen_precision.settle(given) is given


def test_both_doors_settle_it(monkeypatch, tmp_path, capsys):
    """The plan of the command line and of the library names a precision that Keras knows."""
    import simclr_tf
    from simclr_tf.__main__ import main

    monkeypatch.setattr(chosen_precision, "best_precision", lambda tpu: ("mixed_bfloat16", "new"))
    size = {"dataset": "digits", "resnet_depth": 10, "width_multiplier": 0.05, "image_size": 8}
    size.update(train_batch_size=32, train_steps=2, model_dir=str(tmp_path / "run"))
    flags = [f"--{name}={value}" for name, value in size.items()]
    try:
        assert main(["pretrain", *flags, "--precision=auto", "--dry_run"]) == 0
        by_command = capsys.readouterr().out
        simclr_tf.pretrain(**size, precision="auto", dry_run=True)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    for text in (by_command, capsys.readouterr().out):
        rows = [line.split() for line in text.splitlines()]
        assert ["precision", "mixed_bfloat16"] in rows, text
