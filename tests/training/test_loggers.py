"""`--loggers`, pictures and `--profile_steps`: what a training shows elsewhere."""

import csv
import glob
import json
import os
import shutil
import sys
import types

import numpy as np
import pytest

import simclr_tf
from simclr_tf import config
from simclr_tf.commands import evaluation_run
from simclr_tf.config.training import Length
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.selftest import encoder
from simclr_tf.stack import tf
from simclr_tf.training import loggers, pictures, trackers
from simclr_tf.training.profiling import Profile, profile_of

SMALL = {
    "dataset": "digits", "preset": "none", "encoder": encoder.NAME, "image_size": 8, "train_steps": 3,
    "train_batch_size": 16, "log_steps": 1, "operators": "", "strategy": "default", "quiet": True,
    "picture_minutes": 0.0, "objective": "paper", "proj_out_dim": 8,
}  # fmt: skip


def events(folder):
    """{tag: list of its tensors} and {tag: plugin} of the event files of a folder."""
    values, plugins = {}, {}
    for path in glob.glob(os.path.join(folder, "events.out.tfevents*")):
        for event in tf.compat.v1.train.summary_iterator(path):
            for value in event.summary.value:
                values.setdefault(value.tag, []).append(tf.make_ndarray(value.tensor))
                if value.metadata.plugin_data.plugin_name:
                    plugins[value.tag] = value.metadata.plugin_data.plugin_name
    return values, plugins


@pytest.mark.current_stack
@pytest.mark.slow
def test_tensorboard_gets_pictures_points_settings_and_a_profile(tmp_path):
    run = str(tmp_path / "run")
    simclr_tf.pretrain(model_dir=run, loggers="tensorboard,csv", profile_steps="2,3", **SMALL)
    values, plugins = events(os.path.join(run, "logs"))
    assert plugins["settings"] == "text" and b"| temperature |" in values["settings"][0].item()
    assert plugins["learning_rate"] == "scalars" and len(values["learning_rate"]) == 3
    assert plugins["views"] == "images" and len(values["views"]) == 1
    width, height = map(int, values["views"][0][:2])
    assert (width, height) == (pictures.SHOWN * 8, 2 * 8)
    for name, count in (("positives", 32), ("negatives", 32 * 31)):
        shown = values[f"similarity/{name}"]
        assert plugins[f"similarity/{name}"] == "histograms" and len(shown) == 3
        assert (
            shown[0][:, 2].sum() == count and -1.001 <= shown[0][0, 0] <= shown[0][-1, 1] <= 1.001
        )
    points = np.loadtxt(os.path.join(run, "logs", "projector", "h.tsv"))
    assert points.shape == (pictures.POINTS, 16)
    settings = open(os.path.join(run, "logs", "projector_config.pbtxt")).read()
    for name in ("h.tsv", "names.tsv", "sprites.png"):
        assert f'"projector/{name}"' in settings and os.path.exists(os.path.join(run, "logs", "projector", name))  # fmt: skip
    (profile,) = glob.glob(os.path.join(run, "logs", "plugins", "profile", "*", "*.xplane.pb"))
    assert b"step_num" in open(profile, "rb").read()  # by it TensorBoard tells steps apart
    rows = list(csv.DictReader(open(os.path.join(run, "metrics.csv"))))
    lines = [json.loads(line) for line in open(os.path.join(run, "metrics.jsonl"))]
    assert [int(row["step"]) for row in rows] == [1, 2, 3]
    assert [float(row["loss"]) for row in rows] == [line["loss"] for line in lines]


@pytest.mark.slow
@pytest.mark.one_stack
@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_the_real_packages_get_everything_without_a_network(tmp_path, monkeypatch, name):
    for package in loggers._PACKAGES[name]:
        pytest.importorskip(package, reason=f"{package} is not installed, an optional extra")
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("WANDB_ERROR_REPORTING", "false")):  # fmt: skip
        monkeypatch.setenv(variable, value)  # as the trackers set it, but for this test only
    run = str(tmp_path / "run")
    simclr_tf.pretrain(model_dir=run, loggers=name, **SMALL)
    (run_id,) = trackers.stored_ids(RunFolder(run)).values()
    if name == "wandb":
        (kept,) = glob.glob(os.path.join(run, "wandb", f"offline-run-*-{run_id}*"))
        assert glob.glob(os.path.join(kept, "files", "media", "images", "views_*.png"))
        assert glob.glob(os.path.join(kept, "files", "media", "table", "pretrain_results_*"))
        again = trackers.WandB(RunFolder(run), {})
        again.close("finished")
        assert len(glob.glob(os.path.join(run, "wandb", f"offline-run-*-{run_id}*"))) == 2
        return
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED" and found.data.params["temperature"] == "0.1"
    assert [one.step for one in client.get_metric_history(run_id, "loss")] == [1, 2, 3]
    assert {one.path for one in client.list_artifacts(run_id)} == {"pictures", "pretrain.json", "pretrain.md"}  # fmt: skip


class FakeWandB(types.ModuleType):
    """What is used of the package wandb; notes the calls."""

    def __init__(self, version="0.31.0"):
        super().__init__("wandb")
        self.__version__ = version
        self.calls = []
        self.Settings = dict
        self.Image = self.Histogram = lambda values: np.shape(values)
        self.Table = lambda columns, data: data

    def init(self, **given):
        self.calls.append(("init", given))
        note = lambda name: lambda *a, **k: self.calls.append((name, *a, k))  # noqa: E731
        summary = types.SimpleNamespace(update=note("summary"))
        return types.SimpleNamespace(id=given["id"] or "new", log=note("log"), summary=summary, finish=note("finish"))  # fmt: skip


@pytest.mark.one_stack
@pytest.mark.parametrize("version, resume, option", [("0.28.2", None, "--append "), ("0.31.0", "allow", "")])  # fmt: skip
def test_weights_and_biases_stays_offline_and_goes_on_in_the_same_run(tmp_path, monkeypatch, capsys, version, resume, option):  # fmt: skip
    fake = FakeWandB(version)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    (tmp_path / "run").mkdir()
    folder = RunFolder(str(tmp_path / "run"))
    for _ in range(2):
        tracker = trackers.WandB(folder, {"temperature": 0.1})
        tracker.scalars(3, {"loss": 1.5, "rank": float("nan")})
        tracker.image(3, "views", np.zeros((4, 8, 3), np.uint8))
        tracker.results({"mode": "pretrain", "loss": 1.5, "rows": {}})
        tracker.close("finished")
    started = [given for name, given in (call[:2] for call in fake.calls) if name == "init"]
    assert [one["mode"] for one in started] == ["offline", "offline"]
    assert [one["id"] for one in started] == [None, "new"]
    assert [one["resume"] for one in started] == [None, resume]
    first, second = capsys.readouterr().out.splitlines()
    files = f"{folder.path}/wandb/offline-run-*-new*"
    assert first.endswith(f"; wandb sync {files} uploads it")
    assert second.endswith(f"; wandb sync {option}{files} uploads all parts of it, which are one run")  # fmt: skip
    assert ("log", {"loss": 1.5}, {"step": 3}) in fake.calls
    assert ("log", {"views": (4, 8, 3)}, {"step": 3}) in fake.calls
    assert ("log", {"pretrain_results": [["mode", "pretrain"], ["loss", "1.5"]]}, {}) in fake.calls
    monkeypatch.setenv("WANDB_MODE", "online")
    trackers.WandB(folder, {})
    assert fake.calls[-1][1]["mode"] == "online" and fake.calls[-1][1]["resume"] == "allow"


@pytest.mark.one_stack
def test_a_missing_package_is_one_sentence_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"loggers=csv,wandb needs wandb.*pip install wandb, or leave wandb out"):  # fmt: skip
        simclr_tf.pretrain("digits", str(tmp_path / "run"), loggers="csv,wandb", quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(SettingsError, match="because of tenserboard"):
        Length(loggers="tenserboard")


@pytest.mark.one_stack
def test_a_logger_that_fails_is_left_out_and_the_training_goes_on(caplog):
    class Broken(loggers.Logger):
        def scalars(self, step, values):
            raise OSError("the disk is full")

    seen = []
    works = loggers.Logger()
    works.scalars = lambda step, values: seen.append(step)
    both = loggers.Loggers({"wandb": Broken(), "csv": works})
    both.scalars(1, {})
    both.scalars(2, {})
    assert seen == [1, 2] and caplog.text.count("the logger wandb failed (OSError: the disk is full)") == 1  # fmt: skip


@pytest.mark.one_stack
def test_a_logger_that_cannot_start_closes_those_before_it(tmp_path, monkeypatch):
    closed = []

    class Starts(loggers.Logger):
        def __init__(self, folder, settings):
            pass

        def close(self, status):
            closed.append(status)

    def refuses(folder, settings):
        raise DataError("no server")

    monkeypatch.setattr(loggers, "_PACKAGES", {})
    monkeypatch.setattr(trackers, "TRACKERS", {"mlflow": Starts, "wandb": refuses})
    asked = config.build(config.Pretrain, {"loggers": "mlflow,wandb"})
    with pytest.raises(DataError, match="no server"):
        with loggers.opened(asked, RunFolder(str(tmp_path)), 0):
            pass
    assert closed == ["failed"]


@pytest.mark.one_stack
def test_results_go_to_the_trackers_of_the_training_and_damage_ends_nothing(tmp_path, monkeypatch, caplog):  # fmt: skip
    got = []

    class Notes(loggers.Logger):
        def __init__(self, folder, settings):
            pass

        def results(self, results):
            got.append(results)

    monkeypatch.setattr(trackers, "TRACKERS", {"mlflow": Notes})
    (tmp_path / "linear").mkdir()
    trackers._store(RunFolder(str(tmp_path)), mlflow="1")
    for checkpoint in (tmp_path, tmp_path / "best", tmp_path / "checkpoints" / "ckpt-7"):
        results = {"mode": "knn", "checkpoint": str(checkpoint)}
        evaluation_run._tell_trackers(RunFolder(str(tmp_path / "linear")), results)
        assert got.pop() == results
    elsewhere = tmp_path / "copied"
    elsewhere.mkdir()
    shutil.copy(tmp_path / trackers.NAME, elsewhere)
    copied = {"mode": "probe", "checkpoint": str(elsewhere)}
    evaluation_run._tell_trackers(RunFolder(str(tmp_path / "linear")), copied)
    assert not got and "was written for another folder" in caplog.text
    (tmp_path / trackers.NAME).write_text("{")
    evaluation_run._tell_trackers(RunFolder(str(tmp_path / "linear")), results)
    assert not got and "neither MLflow nor W&B got the results of knn" in caplog.text


@pytest.mark.one_stack
def test_a_folder_with_the_name_of_a_package_is_not_the_package(tmp_path, monkeypatch):
    (tmp_path / "only_a_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not loggers._is_installed("only_a_folder") and loggers._is_installed("json")


@pytest.mark.one_stack
def test_metrics_csv_goes_on_after_a_resume_and_gets_new_columns(tmp_path):
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}, {"step": 9, "loss": 7.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    log = loggers.CsvFile(RunFolder(str(tmp_path)), start=2)
    log.scalars(3, {"loss": 1.0})
    log.scalars(4, {"loss": float("inf"), "knn_top_1": 0.5})
    log.scalars(5, {"knn_top_1": 0.75})
    rows = list(csv.reader(open(tmp_path / "metrics.csv")))
    want = [["step", "loss", "knn_top_1"], ["1", "2.0", ""], ["2", "", ""], ["3", "1.0", ""]]
    assert rows == [*want, ["4", "", "0.5"], ["5", "", "0.75"]]


@pytest.mark.one_stack
def test_profile_steps_are_checked_and_end_calls_to_the_device(tmp_path, capsys):
    for wrong in ("3", "5,4", "0,2", "a,b", "1,2,3"):
        with pytest.raises(SettingsError, match="give the first and the last step, such as 20,30"):
            Length(profile_steps=wrong)
    profile = Profile(5, 8, "unused")
    assert [profile.to_next_stop(step) for step in (0, 3, 4, 7, 8)] == [4, 1, 4, 1, None]
    folder = RunFolder(str(tmp_path))
    assert profile_of(Length(profile_steps="5,8"), folder, 0, 7) is None
    assert profile_of(Length(profile_steps="5,8"), folder, 5, 9) is None
    said = capsys.readouterr().out
    assert "profile_steps=5,8: the training has 7 steps" in said and "step 5 is over" in said
    with pytest.raises(SettingsError, match="profile_steps=2,9 ends after the 3 steps"):
        simclr_tf.pretrain(model_dir=str(tmp_path / "run"), profile_steps="2,9", **SMALL)
    assert not (tmp_path / "run").exists()
    assert config.build_stored(config.Pretrain, {}).training.loggers == "tensorboard"


@pytest.mark.one_stack
def test_another_profiler_of_the_process_ends_no_training(tmp_path, caplog):
    theirs = str(tmp_path / "theirs")
    mine = Profile(2, 3, str(tmp_path / "mine"))
    tf.profiler.experimental.start(theirs)
    try:
        for _ in range(2):
            mine.before(1)
        mine.after(3, lambda: None)
    finally:
        tf.profiler.experimental.stop()
    assert caplog.text.count("no profile of steps 2 to 3") == 1
    mine = Profile(5, 6, str(tmp_path / "mine"))
    mine.before(4)
    tf.profiler.experimental.stop(save=False)  # somebody else ended it
    mine.after(6, lambda: None)
    mine.stop()
    assert caplog.text.count("no profile of steps 5 to 6") == 1
