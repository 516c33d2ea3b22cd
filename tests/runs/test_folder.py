"""The run folder: whose it is, and that nothing is lost in it."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from simclr_tf.commands import pretrain
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.files import write_atomically
from simclr_tf.runs.files import clear_half_written, read_json, write_json
from simclr_tf.runs.metrics_log import MetricsLog
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.training import recording
from tests.training.test_pretraining import tiny


def test_a_run_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        pretrain.run(tiny(file))
    with pytest.raises(DataError, match="cannot make"):
        pretrain.run(tiny(file / "inside"))
    assert file.read_text() == "mine"


def test_a_foreign_folder_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(SettingsError, match="is not empty"):
        pretrain.run(tiny(tmp_path))
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_what_a_killed_start_left_is_no_foreign_file(tmp_path):
    (tmp_path / "config.json.0a1b2c3d.tmp").write_text("{")
    claimed = RunFolder(str(tmp_path)).claim("pretrain", {}, (), {"name": "a", "fingerprint": "b"})
    assert not claimed and (tmp_path / "config.json").exists()


def test_reading_the_figures_writes_nothing(tmp_path):
    """Every worker reads metrics.jsonl, to which the chief writes."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n{"step": 3, "lo')
    before = (path.read_text(), path.stat().st_ino)
    seen = []
    folder = RunFolder(str(tmp_path))
    recording.repeat_lines(folder, 1, lambda step, logs: seen.append((step, logs["loss"])))
    assert seen == [(2, 1.0)] and recording.last_line(folder) == {"loss": 1.0}
    assert (path.read_text(), path.stat().st_ino) == before


def test_a_folder_of_another_mode_is_refused(tmp_path):
    folder = RunFolder(str(tmp_path / "r"))
    folder.claim("linear_eval", {}, (), {"name": "a", "fingerprint": "b"})
    (tmp_path / "r" / "results.json").write_text("{}")
    with pytest.raises(SettingsError, match="holds a linear_eval run, not a pretrain run"):
        folder.claim("pretrain", {}, (), {"name": "a", "fingerprint": "b"})


def test_changed_images_are_noticed(tmp_path):
    folder = RunFolder(str(tmp_path / "r"))
    folder.claim("pretrain", {}, (), {"name": "a", "fingerprint": "b"})
    (tmp_path / "r" / "results.json").write_text("{}")
    with pytest.raises(SettingsError, match="changed since"):
        folder.claim("pretrain", {}, (), {"name": "a", "fingerprint": "c"})


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path):
    target = tmp_path / "results.json"
    write_atomically(str(target), "old")
    with pytest.raises(DataError, match="cannot write"):
        write_atomically(str(tmp_path / "no" / "results.json"), "new")
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["results.json"]


def test_the_metrics_log_drops_what_a_checkpoint_does_not_know(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    MetricsLog(str(path), 2).append({"step": 3, "loss": 1.0})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3, "loss": 1.0}\n'


@pytest.fixture
def photos(tmp_path):
    """A folder of seven images and a file that is none."""
    (tmp_path / "photos").mkdir()
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "photos" / "7.png").write_bytes(b"not an image")
    return tmp_path / "photos"


@pytest.mark.one_stack
def test_a_bad_image_gives_way_and_is_listed(tmp_path, photos, caplog):
    settings = dict(image_dir=str(photos), eval_fraction=0.01, train_batch_size=4)
    results = pretrain.run(tiny(tmp_path / "run", **settings))
    assert results["step"] == 4
    lines = (tmp_path / "run" / "quarantine.txt").read_text().splitlines()
    assert len(lines) == 1 and "7.png\t" in lines[0]
    assert "1 image could not be used" in caplog.text


@pytest.mark.slow
@pytest.mark.current_stack
def test_strict_data_stops_with_the_path(tmp_path, photos):
    settings = dict(image_dir=str(photos), eval_fraction=0.01, train_batch_size=4)
    with pytest.raises(DataError, match="7.png cannot be used") as caught:
        pretrain.run(tiny(tmp_path / "run", **settings, strict_data=True))
    assert "\n" not in str(caught.value) and caught.value.exit_code == 3


def test_what_a_killed_save_left_is_removed(tmp_path):
    (tmp_path / "ckpt-3_temp").mkdir()
    (tmp_path / "ckpt-3_temp" / "part-00000").write_text("half")
    (tmp_path / "ckpt-2.index").write_text("whole")
    clear_half_written(str(tmp_path))
    clear_half_written(str(tmp_path / "absent"))
    assert os.listdir(tmp_path) == ["ckpt-2.index"]


def test_a_damaged_line_of_the_metrics_is_said(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    deep = "[" * 100_000
    path.write_text('{"step": 1}\n{"st\x00\n' + deep + '\n{"step": 3}\n{"st')
    MetricsLog(str(path), 3)
    said = caplog.text
    caplog.clear()
    assert "line 2, 3 cannot be read and is left out" in said and "checkpoints" in said
    assert path.read_text() == '{"step": 1}\n{"step": 3}\n'
    MetricsLog(str(path), 3)
    assert caplog.text == ""


def test_figures_that_are_no_numbers_are_valid_json(tmp_path):
    log = MetricsLog(str(tmp_path / "metrics.jsonl"), 0)
    log.append({"step": 1, "loss": float("nan"), "probe_loss": float("-inf")})
    line = (tmp_path / "metrics.jsonl").read_text()
    strict = {"parse_constant": lambda name: pytest.fail(name)}
    assert json.loads(line, **strict) == {"step": 1, "loss": None, "probe_loss": None}
    path = str(tmp_path / "results.json")
    write_json(path, {"top_1": float("nan"), "rows": {"h": [1.0, float("inf")]}})
    json.loads((tmp_path / "results.json").read_text(), **strict)
    assert read_json(path) == {"top_1": None, "rows": {"h": [1.0, None]}}


def test_old_files_with_nan_are_still_read(tmp_path):
    path = tmp_path / "results.json"
    path.write_text('{"loss": NaN}')
    assert np.isnan(read_json(str(path))["loss"])


def test_a_folder_of_a_later_format_is_refused(tmp_path):
    folder = RunFolder(str(tmp_path))
    folder.claim("knn", {}, (), {"name": "a", "fingerprint": "b"})
    write_json(folder.join("config.json"), {"format": 99, "mode": "knn"})
    with pytest.raises(DataError, match="has format 99, this version of simclr_tf reads 1 to 1"):
        folder.claim("knn", {}, (), {"name": "a", "fingerprint": "b"})


def test_figures_that_become_null_are_named(tmp_path, caplog):
    path = str(tmp_path / "results.json")
    write_json(
        path, {"rows": {"h": {"top_1": float("nan")}}, "list": [1.0, float("inf")], "ok": 2.0}
    )
    assert "rows.h.top_1, list.1 are not finite, the file says null" in caplog.text
    assert read_json(path) == {"rows": {"h": {"top_1": None}}, "list": [1.0, None], "ok": 2.0}


@pytest.mark.parametrize("moved", [False, True])
def test_images_replaced_under_their_names_are_noticed(tmp_path, caplog, moved):
    folder = RunFolder(str(tmp_path / "run"))
    dataset = {"name": "a", "fingerprint": "b", "sizes": "1"}
    folder.claim("pretrain", {"image_dir": "/a"}, (), dataset)
    (tmp_path / "run" / "metrics.jsonl").write_text("")  # it began to work
    now = {**dataset, "sizes": "2"}
    if moved:
        with pytest.raises(SettingsError, match="but other sizes"):
            folder.claim("pretrain", {"image_dir": "/b"}, (), now)
    else:
        assert folder.claim("pretrain", {"image_dir": "/a"}, (), now)
        assert "images of /a have other sizes" in caplog.text
