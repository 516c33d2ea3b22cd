"""Steps that are lowered to travel without TensorFlow, and run again by jax where it is installed."""

import argparse
import gzip
import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from tensorflow.compiler.xla.service import hlo_pb2

from benchmarks import lowered, lowered_step

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny step, its views and a loss, lowered."""
    path = tmp_path_factory.mktemp("lowered")
    lowered_step.run(
        argparse.Namespace(
            encoder="resnet10", width=0.0625, image_size=16, batch=BATCH, precision="float32",
            parts="step,views,loss", pairs="8", block_size=4, exact_products=False,
            reference="auto", output=str(path),
        )
    )  # fmt: skip
    return path


@pytest.mark.slow
def test_a_step_names_its_arguments_and_what_they_become(folder):
    step = lowered.read_manifest(folder)["programs"]["step"]
    arguments = step["arguments"]
    assert [a["name"] for a in arguments[:4]] == ["images", "id", "epoch", "label"]
    assert {a["role"] for a in arguments} == {"batch", "weight", "statistic", "optimizer", "metric"}
    names = [a["name"] for a in arguments]
    assert len(set(names)) == len(names)
    weights = [n for n, a in enumerate(arguments) if a["role"] == "weight"]
    assert len(weights) > 30 and set(weights) <= set(step["updates"].values())
    with gzip.open(folder / step["file"]) as file:
        module = hlo_pb2.HloModuleProto.FromString(file.read())
    shapes = [list(s.dimensions) for s in module.host_program_shape.parameters]
    assert shapes == [a["shape"] for a in arguments]
    results = module.host_program_shape.result.tuple_shapes
    for result, argument in step["updates"].items():
        assert list(results[int(result)].dimensions) == arguments[argument]["shape"]
    # operations that StableHLO lacks, or that only some devices have
    opcodes = {i.opcode for c in module.computations for i in c.instructions}
    assert not opcodes & {"copy", "custom-call", "rng", "infeed", "outfeed"}


def test_the_expected_losses_are_those_of_two_steps(folder):
    programs = lowered.read_manifest(folder)["programs"]
    (first, _), (second, _) = programs["step"]["expected"]
    assert np.isfinite(first) and first != second
    z = lowered.values_of(programs["loss_8"]["arguments"][0]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    e = np.exp(z @ z.T / 0.1)
    want = [-np.log(e[i, (i + 8) % 16] / (e[i].sum() - e[i, i])) for i in range(16)]
    np.testing.assert_allclose(programs["loss_8"]["expected"][0][0], np.mean(want), rtol=1e-4)


@pytest.mark.parametrize(
    "dtype, fill, want",
    [
        ("float32", {"kind": "constant", "value": 0.5}, [[0.5] * 3] * 2),
        ("int64", {"kind": "range"}, [[0, 1, 2], [3, 4, 5]]),
        ("uint8", {"kind": "bits", "seed": 7}, None),
        ("float32", {"kind": "uniform", "low": -1.0, "high": 1.0, "seed": 7}, None),
    ],
)
def test_arguments_follow_from_their_seeds(dtype, fill, want):
    made = lowered.values_of({"shape": [2, 3], "dtype": dtype, "fill": fill})
    assert made.dtype == dtype and made.shape == (2, 3)
    if want is None:
        raw = np.random.Philox(key=7).random_raw(3)
        want = raw.view(np.uint8)[:6].reshape(2, 3)
        if dtype == "float32":
            want = (raw.view(np.uint32) >> 8).reshape(2, 3) / 2.0**23 - 1.0
    np.testing.assert_array_equal(made, want)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_gives_the_same_losses(folder):
    output = folder / "figures.json"
    command = [sys.executable, "-m", "benchmarks.run_lowered", str(folder), f"--json={output}"]
    options = ["--rounds=1", "--seconds=0.01"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    figures = json.loads(output.read_text())
    assert done.returncode == 0, figures
    assert [one["name"] for one in figures] == ["step", "views", "loss_8"]
    assert all(one["error"] < 1e-4 and one["seconds"] > 0 for one in figures)
    assert figures[0]["images_per_second"] == pytest.approx(BATCH / figures[0]["seconds"])
