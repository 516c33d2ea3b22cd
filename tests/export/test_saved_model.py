"""The exported SavedModel in fresh processes that do not import simclr_tf."""

import functools
import importlib.util
import json
import os

import numpy as np
import pytest
from simclr_tf.export import conversions

from simclr_tf.errors import SettingsError
from tests import export_models as tiny

TOLERANCE = 1e-5  # relative to the largest value of each output
KEYS = (
    "initial_conv initial_max_pool block_group1 block_group2 block_group3 block_group4 "
    "final_avg_pool proj_head_input proj_head_output logits_sup default h z z1 z2 logits"
).split()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(saved_model.Report, reference file, folder) of one tiny export."""
    folder = tmp_path_factory.mktemp("export")
    return *tiny.write_export(str(folder)), folder


def consume(exported, checks):
    report, reference, folder = exported
    script = os.path.join(tiny.HERE, "export_consumers.py")
    printed = tiny.run_fresh(script, checks, report.path, reference, cwd=str(folder))
    return json.loads(printed.splitlines()[-1])


@pytest.fixture(scope="module")
def loaded(exported):
    """What plain loading, the signatures, the graph and Keras 3 show, from one process."""
    return consume(exported, "plain,signatures,graph,keras3")


@pytest.fixture(scope="module")
def hub(exported):
    return consume(exported, "hub")["hub"]


def agrees(consumer, errors):
    """Prints how far a consumer is from the Keras model, and fails above the tolerance."""
    worst = max(errors)
    print(f"{consumer}: largest relative difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    assert worst < TOLERANCE, (consumer, errors)


def test_report(exported):
    report, _, folder = exported
    assert report.path == str(folder / "saved_model" / "7")
    assert report.error < TOLERANCE and report.load_seconds > 0
    assert report.total_bytes <= 1.1 * report.weight_bytes + 2e6
    assert os.listdir(folder / "saved_model") == ["7"]


def test_every_way_to_call_agrees_with_keras(loaded):
    plain = loaded["plain"]
    assert plain["keys"] == sorted(KEYS)
    ways = [plain[way] for way in ("positional", "official", "both", "vector")]
    agrees("tf.saved_model.load", [*plain["error"].values(), *ways])
    assert plain["dynamic"] == [3, 64]
    assert plain["training_repeats"] == 0.0  # no random operation, no blur


def test_training_calls_reach_every_variable(loaded):
    plain = loaded["plain"]
    for way in ("training", "trainable"):
        assert len(plain[f"gradients_{way}"]) == plain["trainable"] == plain["official_list"] > 0
        assert all(plain[f"gradients_{way}"])
        assert plain[f"statistics_{way}"]["statistics"]
    assert not plain["statistics_in_inference"]["statistics"]
    assert len(plain["losses"]) == 1 and 0 < plain["losses"][0] < 1


def test_signatures_preprocess_and_tolerate(loaded):
    found = loaded["signatures"]
    assert found["names"] == ["serving_bytes", "serving_default", "serving_uint8"]
    assert found["outputs"]["serving_default"] == ["h", "logits", "z"]
    assert found["outputs"]["serving_bytes"] == ["h", "logits", "ok", "z"]
    agrees("serving signatures", [*found["floats"].values(), found["pixels"], found["bytes"]])
    assert found["ok"] == [True, False, True, False, False]
    assert found["bad_rows"] == 0.0 and found["none_ok"] == [False, False]


def test_graph_holds_plain_operations(loaded):
    ops = loaded["graph"]["ops"]
    assert "FusedBatchNormV3" in ops and "Conv2D" in ops
    for part in ("Random", "Collective", "AllReduce", "IdentityN", "PyFunc", "Depthwise", "Nccl"):
        assert not [op for op in ops if part in op], part


def test_hub_load_and_signature(hub):
    agrees("hub.load, hub.KerasLayer", [hub["load"], hub["signature"]])


@pytest.mark.parametrize("way", ["trainable", "vector", "official", "mirrored"])
def test_keras_layer_fine_tunes_kernels_and_statistics(hub, way):
    loss, moved = hub[way]
    assert loss > 0 and moved["kernels"] and moved["statistics"] and moved["trainable"] > 35


def test_frozen_keras_layer_changes_nothing(hub):
    _, moved = hub["frozen"]
    assert moved == {"kernels": False, "statistics": False, "all": False, "trainable": 0}


@pytest.mark.slow
@pytest.mark.current_stack
def test_saved_model_cli(exported):
    report, reference, folder = exported
    cli = functools.partial(
        tiny.run_fresh, "-m", "tensorflow.python.tools.saved_model_cli", cwd=str(folder)
    )
    what = ("--dir", report.path, "--tag_set", "serve", "--signature_def")
    shown = cli("show", *what, "serving_uint8")
    assert "dtype: DT_UINT8" in shown and "(-1, -1, -1, 3)" in shown and "outputs['h']" in shown
    inputs = f"images={reference}[images]"
    folder_out = str(folder / "out")
    cli("run", *what, "serving_default", "--inputs", inputs, "--outdir", folder_out)
    assert sorted(os.listdir(folder / "out")) == ["h.npy", "logits.npy", "z.npy"]
    want = np.load(reference)
    names = ("h", "logits", "z")
    found = {name: np.load(folder / "out" / f"{name}.npy") for name in names}
    differences = [np.abs(found[name] - want[f"out_{name}"]).max() for name in names]
    scales = [np.abs(want[f"out_{name}"]).max() for name in names]
    agrees("saved_model_cli run", [d / scale for d, scale in zip(differences, scales)])


def test_keras_3_layer(loaded):
    found = loaded["keras3"]
    if found["version"].startswith("2."):
        assert list(found) == ["version"]  # Keras 2 has no TFSMLayer: hub.KerasLayer is the way
        return
    agrees("Keras 3 TFSMLayer", [found["serving"], found["serve"]])
    for way in ("fine_tuned", "adam", "momentum"):
        assert found[way]["kernels"] and found[way]["statistics"], way
    assert not found["frozen"]["all"]


def test_conversions(exported):
    """Tolerances relative to the largest value; measured 3e-7, 4e-4, 2e-2 and 3e-7."""
    report, reference, folder = exported
    tolerances = {"tflite": 1e-5, "tflite_float16": 2e-3, "tflite_int8": 8e-2}
    if importlib.util.find_spec("tf2onnx"):
        tolerances["onnx"] = 1e-5
    os.makedirs(folder / "converted")
    images = np.load(reference)["images"]
    for kind in conversions.check_formats(",".join(tolerances)):
        samples = functools.partial(np.split, images, len(images))
        content = conversions.convert(report.path, kind, tiny.SIZE, samples)
        name = kind if kind == "onnx" else kind + ".tflite"
        (folder / "converted" / name).write_bytes(content)
    found = consume(exported, "converted")["converted"]
    weights = report.weight_bytes
    for kind, tolerance in tolerances.items():
        one = found[kind if kind == "onnx" else kind + ".tflite"]
        worst = max(one["error"].values())
        print(f"{kind}: largest relative difference {worst:.1e}, allowed {tolerance:.0e}")
        assert sorted(one["error"]) == ["h", "logits", "z"]
        assert worst < tolerance, (kind, one)
    assert found["tflite_float16.tflite"]["bytes"] < 0.56 * weights
    assert found["tflite_int8.tflite"]["bytes"] < 0.35 * weights  # 0.26 and what is no weight


def test_conversion_names_and_missing_packages(monkeypatch):
    assert conversions.check_formats("") == ()
    with pytest.raises(SettingsError, match="'tflite_int4'; give some of keras, .*tflite, "):
        conversions.check_formats("tflite,tflite_int4")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="needs tf2onnx and onnx.*requirements-export.txt"):
        conversions.check_formats("onnx")
