"""Images that cannot be used, in the modes that measure: replaced, listed, or the end."""

import shutil

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.commands import probe, transfer
from simclr_tf.errors import DataError
from simclr_tf.training import transfer_grid
from simclr_tf.training.supervised import Outcome
from tests.tiny_run import images_in_folders, save_tiny_run

SHORT = {"strategy": "default", "eval_batch_size": 16}
TRANSFER = {"max_iterations": 5, "permutations": 100, "train_steps": 2, "train_batch_size": 8}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of ten images, one of each class cut off."""
    folder = tmp_path_factory.mktemp("pictures") / "photos"
    images_in_folders(folder, {"bars": 10, "dots": 10})
    for name in ("bars/003.png", "dots/007.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:60])
    return folder


def run(mode, module, **values):
    values = {**SHORT, **values}
    return module.run(config.build(config.MODES[mode].config, values), frozenset(values))


def bad_ones(path):
    """{end of a path: reason} of a quarantine.txt."""
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return {"/".join(name.split("/")[-2:]): reason for name, reason in lines}


@pytest.mark.slow
@pytest.mark.current_stack
def test_transfer_replaces_and_lists_them_beside_its_results(
    run_dir, photos, tmp_path, monkeypatch, caplog
):
    train = transfer_grid.fine_tune
    calls = []

    def once(job, encoder, head):
        """The first training is real; its folder is removed after it."""
        calls.append(job)
        if len(calls) == 1:
            return train(job, encoder, head)
        labels = np.asarray(job.held_out.labels)
        return Outcome(np.eye(2, dtype=np.float32)[labels], labels, 2, None)

    monkeypatch.setattr(transfer_grid, "fine_tune", once)
    results = run(
        "transfer", transfer, checkpoint=run_dir, datasets=str(photos), **TRANSFER,
        transfer_protocol="both", model_dir=str(tmp_path / "out"),
        grid_learning_rates="0.01", grid_weight_decays="0",
    )  # fmt: skip
    column = results["datasets"]["photos"]
    assert column["num_train"] + column["simclr"]["num_eval"] == 20  # none is left out
    listed = bad_ones(tmp_path / "out" / "photos" / "quarantine.txt")
    assert set(listed) == {"bars/003.png", "dots/007.png"}
    assert all(reason.startswith("cannot be decoded") for reason in listed.values())
    assert "2 images could not be used and gave way to others" in caplog.text
    assert len(calls) == 2


@pytest.mark.parametrize("mode", ["transfer", pytest.param("probe", marks=pytest.mark.slow)])
def test_strict_data_stops_with_the_path(mode, run_dir, photos, tmp_path):
    asked = {"checkpoint": run_dir, "strict_data": True, "model_dir": str(tmp_path / "out")}
    with pytest.raises(DataError, match=r"(bars/003|dots/007).png cannot be used .*--strict_data"):
        if mode == "transfer":
            run(mode, transfer, datasets=str(photos), **TRANSFER, **asked)
        else:
            run(mode, probe, image_dir=str(photos), probe_tasks="rotation", **asked)


@pytest.mark.slow
@pytest.mark.one_stack
def test_the_list_is_complete_although_it_is_written_in_parts(run_dir, photos, tmp_path):
    many = tmp_path / "many"
    shutil.copytree(photos, many)
    for number in range(70):
        (many / "bars" / f"empty{number:02d}.png").write_bytes(b"")
    run("probe", probe, checkpoint=run_dir, image_dir=str(many), probe_tasks="rotation",
        probe_epochs=1, probe_hidden=0, model_dir=str(tmp_path / "out"))  # fmt: skip
    assert len(bad_ones(tmp_path / "out" / "quarantine.txt")) == 72
