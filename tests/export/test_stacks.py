"""A model exported on one software stack, loaded and read on the other, both ways.

The other Python is $SIMCLR_TF_OTHER_PYTHON, or the sibling environment that `.ci/run` makes.
"""

import json
import os
import sys

import numpy as np
import pytest

from simclr_tf.runs import saved_models as reader
from simclr_tf.stack import tf
from tests import export_models as tiny

TOLERANCE = 1e-5  # relative to the largest value of each output
ROOT = os.path.dirname(tiny.HERE)
CONSUMERS = os.path.join(tiny.HERE, "export_consumers.py")
SAY_VERSION = "import tensorflow as tf; print(tf.__version__)"
READ = """
import sys, numpy
from simclr_tf.runs import saved_models as reader
encoder, head, settings, step = reader.load_exported(sys.argv[1])
images = numpy.load(sys.argv[2])["images"]
numpy.save(sys.argv[3], encoder(images, training=False))
"""
pytestmark = [pytest.mark.slow, pytest.mark.current_stack]  # both ways from one stack


@pytest.fixture(scope="module")
def other():
    """The Python of the other stack."""
    given = os.environ.get("SIMCLR_TF_OTHER_PYTHON")
    version = "3.12" if sys.version_info < (3, 12) else "3.11"
    python = given or os.path.join(ROOT, f".venv-py{version}", "bin", "python")
    if not given and not os.path.exists(python):
        pytest.skip(f"no Python {version} with requirements.txt in .venv-py{version}; run .ci/run")
    found = tiny.run_fresh("-c", SAY_VERSION, cwd="/", python=python).split()[-1]
    print(f"this stack: TensorFlow {tf.__version__}, the other: {found}")
    assert found.split(".")[:2] != tf.__version__.split(".")[:2]
    return python


def consume(python, path, reference, folder):
    """The errors that tell whether every way to use a model works in a fresh process."""
    checks = "hub,plain,signatures"  # hub first: it splits the CPU
    printed = tiny.run_fresh(CONSUMERS, checks, path, reference, cwd=folder, python=python)
    found = json.loads(printed.splitlines()[-1])
    plain = found["plain"]
    served = found["signatures"]
    hub = found["hub"]
    errors = [*plain["error"].values(), plain["vector"], *served["floats"].values()]
    errors += [served["pixels"], served["bytes"], hub["load"], hub["signature"]]
    print(f"largest relative difference {max(errors):.1e}, allowed {TOLERANCE:.0e}")
    assert max(errors) < TOLERANCE
    for way in ("training", "trainable"):
        assert all(plain[f"gradients_{way}"]) and plain[f"statistics_{way}"]["statistics"]
    for way in ("trainable", "mirrored"):
        assert hub[way][1]["kernels"] and hub[way][1]["statistics"]


def test_exported_here_works_there(other, tmp_path):
    report, reference = tiny.write_export(str(tmp_path))
    consume(other, report.path, reference, str(tmp_path))
    h = str(tmp_path / "h.npy")
    tiny.run_fresh("-c", READ, report.path, reference, h, cwd=str(tmp_path), python=other, PYTHONPATH=ROOT)  # fmt: skip
    check_h(np.load(h), reference)


def test_exported_there_works_here(other, tmp_path):
    tiny.run_fresh("-m", "tests.export_models", str(tmp_path), cwd=ROOT, python=other)
    path = str(tmp_path / "saved_model" / "7")
    reference = str(tmp_path / "reference.npz")
    consume(sys.executable, path, reference, str(tmp_path))
    encoder = reader.load_exported(path)[0]
    check_h(encoder(np.load(reference)["images"], training=False).numpy(), reference)


def check_h(found, reference):
    """Reading the weights back into Keras models gives the same h as on the stack they are from."""
    want = np.load(reference)["out_h"]
    assert np.abs(found - want).max() < TOLERANCE * np.abs(want).max()
