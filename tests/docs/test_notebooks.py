"""Every notebook for readers runs with tiny settings, and holds the small outputs of a real run."""

import json
import os

import pytest

from simclr_tf.selftest import encoder
from tests.docs.pages import ROOT

NAMES = ("quickstart", "own_images", "few_labels", "finetune_from_hub")
PRETRAIN = {
    "encoder": encoder.NAME, "train_steps": 2, "train_batch_size": 16, "operators": "",
    "log_steps": 1, "strategy": "default",
}  # fmt: skip
TINY = {
    "settings": PRETRAIN,
    "tuning": {"train_steps": 2, "supervised_baseline": False, "strategy": "default"},
    "teaching": {"train_steps": 2, "train_batch_size": 16, "strategy": "default"},
    "measure": {"few_shot_draws": 1, "strategy": "default"},
}
LARGEST = 200_000  # bytes of a file


def cells_of(name):
    return json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def code_of(name):
    return ["".join(cell["source"]) for cell in cells_of(name) if cell["cell_type"] == "code"]


def run_cells(name, monkeypatch, **values):
    """Executes the cells of a notebook in one namespace; a cell `settings = {...}` gets tiny ones."""
    space = {"__name__": "__main__"}
    for number, text in enumerate(code_of(name)):
        text = text.replace("epochs = 60", "epochs = 1").replace("[:600]", "[:30]")
        exec(compile(text, f"{name}, cell {number}", "exec"), space)
        for one, tiny in TINY.items():
            if text.startswith(f"{one} = "):
                space[one].update(tiny)
    return space


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the notebooks run one after the other, beside the clone."""
    folder = tmp_path_factory.mktemp("notebooks")
    os.symlink(ROOT, folder / "clone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "Agg")
        patch.chdir(folder)
        # the tiny encoder is a function, which a reader's notebook need not trust
        patch.setattr("simclr_tf.runs.restore.check_code", lambda *arguments: None)
        for name, value in (("MAP", 30), ("BANK", 30), ("PAIRS", 8)):
            patch.setattr(f"simclr_tf.report.run_page.{name}", value)
        patch.syspath_prepend(str(ROOT))
        yield folder


@pytest.mark.slow
@pytest.mark.current_stack
def test_quickstart_and_fine_tuning_from_the_hub_run(place, monkeypatch):
    space = run_cells("quickstart", monkeypatch)
    assert space["run"].results["step"] == 2 and space["points"].shape == (30, 2)
    assert (place / "runs" / "quickstart" / "report" / "index.html").exists()
    space = run_cells("finetune_from_hub", monkeypatch)
    assert space["model"].output_shape == (None, 10) and "simclr_tf" not in space


@pytest.mark.slow
@pytest.mark.current_stack
def test_own_images_run(place, monkeypatch):
    space = run_cells("own_images", monkeypatch)
    assert len(space["paths"]) == 500 and space["check"]["broken"] == 1
    found = space["found"]
    assert len(found["queries"][0]["nearest"]) == 5 and found["num_embedded"] == 0
    assert "damaged.png" in open(space["quarantine"]).read()


@pytest.mark.slow
@pytest.mark.current_stack
def test_few_labels_run(place, monkeypatch):
    space = run_cells("few_labels", monkeypatch)
    assert set(space["results"]["rows"]) >= {"untrained", "frozen", "fine_tuned"}
    assert space["student"]["rows"]
    assert os.path.exists(space["path"]) and space["outputs"]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_committed_small_and_whole(name):
    path = ROOT / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size < LARGEST
    cells = cells_of(name)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code[0]["source"][0].startswith("# Open in Colab")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = [output["output_type"] for cell in code for output in cell["outputs"]]
    assert kinds and "error" not in kinds
    text = json.dumps(cells)
    assert "/tmp/" not in text and "/work/" not in text and "/home/" not in text
    assert "WARNING:tensorflow" not in text and " at 0x" not in text
    assert len({cell["id"] for cell in cells}) == len(cells)
