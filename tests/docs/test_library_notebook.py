"""notebooks/library.ipynb: every cell runs, with a tiny training, and it holds no output."""

import json

import pytest

from simclr_tf.selftest import encoder
from simclr_tf.stack import tf
from tests.docs.pages import ROOT

CELLS = json.loads((ROOT / "notebooks" / "library.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
TINY = {
    "encoder": encoder.NAME,
    "train_steps": 2,
    "train_batch_size": 16,
    "operators": "",
    "log_steps": 1,
    "strategy": "default",
}


@pytest.mark.slow
@pytest.mark.current_stack
def test_every_cell_runs(tmp_path, monkeypatch):
    # the tiny encoder is a function, which the notebook, as a reader sees it, need not trust
    monkeypatch.setattr("simclr_tf.runs.restore.check_code", lambda *arguments: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("..")  # restores sys.path afterwards
    space = {"__name__": "__main__"}
    for number, text in enumerate(CODE):
        exec(compile(text, f"cell {number}", "exec"), space)
        if text.startswith("settings = "):
            space["settings"].update(TINY)
    assert space["run"].results["step"] == 2
    assert space["h"].shape == (1797, space["model"].encoder.feature_dim)
    assert {"pixels", "untrained", "h"} <= set(space["results"]["rows"])
    assert tf.io.gfile.exists(space["exported"]["path"] + "/saved_model.pb")


def test_the_notebook_is_stripped_and_valid():
    for cell in CELLS:
        assert {"cell_type", "id", "metadata", "source"} <= set(cell)
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)
