"""notebooks/colab_tpu.ipynb: every cell runs, a second time it resumes, and it holds no output."""

import json
import os
import pathlib
import re

import pytest

from simclr_tf import config
from simclr_tf.selftest import encoder
from simclr_tf.stack import tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH = ROOT / "notebooks" / "colab_tpu.ipynb"
CELLS = json.loads(PATH.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
PRETRAIN = next(i for i, text in enumerate(CODE) if "simclr_tf.pretrain(" in text)
TINY = {
    "dataset": "digits",
    "strategy": "default",
    "image_size": 16,
    "encoder": encoder.NAME,
    "operators": "",
    "proj_out_dim": 8,
    "train_batch_size": 16,
    "train_steps": 2,
    "warmup_epochs": 0.0,
}
EVALUATION = {"linear_form": "fast", "baselines": False, "few_shot_draws": 1, "strategy": "default"}


def run_cells(cells, folder, **pretraining):
    """Executes cells one after the other in one fresh namespace, as a notebook does."""
    values = {**TINY, "model_dir": str(folder / "run"), **pretraining}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT / "notebooks")
        patch.setenv("SIMCLR_TF_PRETRAIN", json.dumps(values))
        patch.setenv("SIMCLR_TF_EVALUATE", json.dumps(EVALUATION))
        space = {"__name__": "__main__"}
        for number, text in enumerate(cells):
            exec(compile(text, f"cell {number}", "exec"), space)
    return space


@pytest.mark.slow
@pytest.mark.current_stack
def test_the_notebook_runs_and_resumes_after_a_disconnect(tmp_path, capsys):
    run_cells(CODE[: PRETRAIN + 1], tmp_path, max_wall_minutes=1e-6)
    said = capsys.readouterr().out
    assert "installing" not in said and "No TPU here" in said
    assert "none, this is the beginning" in said and "state saved" in said
    space = run_cells(CODE, tmp_path)
    said = capsys.readouterr().out
    assert "newest checkpoint" in said and "resuming at step 1 of 2" in said
    assert 0 <= space["results"]["top_1"] <= 1 and space["results"]["num_eval"] == 360
    assert space["h"].shape == (4, space["encoder"].feature_vector(tf.zeros([1, 16, 16, 3])).shape[1])  # fmt: skip
    assert os.listdir(tmp_path / "run" / "saved_model") == ["2"]


@pytest.fixture(scope="module")
def functions():
    """What the set-up cells define, with nothing to install and no TPU in the environment."""
    return run_cells(CODE[:1], pathlib.Path("unused"))


LINES = re.search(r"OTHERS = .*\n.*", CODE[0]).group()
OTHERS = {name: "1" for name in re.findall(r'"([\w-]+)"', LINES)}


@pytest.mark.parametrize(
    "installed, tpu, wanted",
    [
        ({}, True, [["tensorflow-tpu==2.20.0"], ["--no-deps", "tf-keras==2.20.*"]]),
        ({}, False, [["tensorflow==2.20.0"], ["--no-deps", "tf-keras==2.20.*"]]),
        ({"tensorflow": "2.19.0"}, False, [["--no-deps", "tf-keras==2.19.*"]]),
        (
            {"tensorflow": "2.19.0", "tf-keras": "2.18.0"},
            False,
            [["--no-deps", "tf-keras==2.19.*"]],
        ),  # fmt: skip
        ({"tensorflow-tpu": "2.20.0", "tf-keras": "2.20.1"}, True, []),
        ({"tensorflow": "2.15.1", "tf-keras": "2.15.1"}, False, []),
    ],
)
def test_the_set_up_installs_only_what_is_missing(functions, installed, tpu, wanted):
    have = {**OTHERS, "tensorflow-hub": "0.16.1", **installed}
    assert functions["installations"](have, tpu) == wanted
    del have["tensorflow-hub"], have["tqdm"]
    more = [["--no-deps", "tensorflow-hub==0.16.1"], ["tqdm"]]
    assert functions["installations"](have, tpu) == wanted + more


def test_a_tpu_is_told_by_devices_or_variables(functions):
    has_tpu = functions["has_tpu"]
    assert has_tpu({"COLAB_TPU_1VM": "1"}, lambda path: False)
    assert has_tpu({}, lambda path: path == "/dev/vfio/0")
    assert not has_tpu({"COLAB_TPU_1VM": ""}, lambda path: False)


def test_on_a_tpu_the_settings_switch(functions, monkeypatch):
    space = {**functions, "has_tpu": lambda: True}
    monkeypatch.delenv("SIMCLR_TF_PRETRAIN", raising=False)
    for text in CODE[1:PRETRAIN]:
        exec(text, space)
    built = config.build(config.Pretrain, space["settings"])
    assert built.run.use_tpu and built.run.precision == "mixed_bfloat16"


def test_the_notebook_is_stripped_and_valid():
    for cell in CELLS:
        assert {"cell_type", "id", "metadata", "source"} <= set(cell)
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)
