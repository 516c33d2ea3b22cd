"""--mode=tune and --tune: trials are ordinary runs, a stopped tuning goes on, its file is a preset."""

import json
import os

import pytest
from simclr_tf.flags.parse import settle

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.runs.files import read_json
from simclr_tf.training import auto, trials
from tests.tiny_run import images_in_folders

pytestmark = pytest.mark.one_stack

GIVEN = [
    "--encoder=tests.tiny_encoder:encoder",
    "--proj_out_dim=16",
    "--train_batch_size=8",
    "--strategy=default",
    "--budget_minutes=0.001",
    "--tune_trials=2",
    "--tune_steps=4",
]


class Stopped(BaseException):
    """As a kill: nothing of the program catches it."""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A folder of drawn images, and a tuning of them that was stopped in its second trial."""
    place = tmp_path_factory.mktemp("tune")
    images_in_folders(place / "images", {"bar": 12, "disc": 12})
    command = ["tune", f"--image_dir={place / 'images'}", f"--model_dir={place / 'run'}", *GIVEN]
    command += ["--temperature=0.2"]  # which leaves out the third round
    train = trials.Workshop.train
    calls = []

    def stopping(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise Stopped
        return train(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials.Workshop, "train", stopping)
        with pytest.raises(Stopped):
            main(command)
    first = place / "run/trials/4/as_chosen/trial.json"
    before = os.stat(first).st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auto, "_measure", None)  # what was chosen is stored
        assert main(command) == 0
    assert os.stat(first).st_mtime_ns == before
    return place


def test_a_stopped_tuning_goes_on_and_ends_with_all_rounds(tuned):
    results = read_json(str(tuned / "run/results.json"))
    steps = [row["steps"] for row in results["rows"]]
    assert steps[:2] == [4, 4] and set(steps[2:]) == {8}
    assert 0 <= results["best"]["contrastive_accuracy"] <= 1 and results["preset"].endswith(
        "tuned.flags"
    )
    assert all(row["changes"] or row["name"] == "as_chosen" for row in results["rows"])


def test_a_trial_equals_the_ordinary_run_of_its_settings(tuned, tmp_path):
    """The shared step, weights and images leave nothing of one trial in the next."""
    trial = tuned / "run/trials/4/crop_0.25"
    assert trial.is_dir()
    stored = read_json(str(trial / "config.json"))["settings"]
    fields = config.fields_of(config.Pretrain)
    changed = {
        name: value
        for name, value in stored.items()
        if name in fields and value != fields[name][1].default and name != "model_dir"
    }
    flags = [f"--{name}={value}" for name, value in changed.items()]
    assert main(["pretrain", "--preset=none", *flags, f"--model_dir={tmp_path / 'run'}"]) == 0
    lines = [open(one / "metrics.jsonl").read() for one in (trial, tmp_path / "run")]
    for one, other in zip(*(map(json.loads, text.splitlines()) for text in lines)):
        assert one == pytest.approx(other, rel=1e-5)


def test_a_run_that_was_not_tuned_is_not_tuned_later(tuned, tmp_path, capsys):
    trial = tuned / "run/trials/4/as_chosen"  # an ordinary run
    command = ["pretrain", f"--image_dir={tuned / 'images'}", *GIVEN, "--tune"]
    assert main([*command, f"--model_dir={trial}"]) == 2
    assert "was not tuned first; leave out --tune" in capsys.readouterr().err


def test_the_file_is_a_preset_for_a_pretraining(tuned):
    path = str(tuned / "run/tuned.flags")
    changes = read_json(str(tuned / "run/results.json"))["changes"]
    settled = settle("pretrain", path, {"image_dir": "x", "model_dir": "y", "seed": 3})
    values = config.flatten(settled.config)
    assert values["auto"] and values["seed"] == 3 and values["proj_out_dim"] == 16
    assert {name: values[name] for name in changes} == changes


def test_a_tuning_with_nothing_to_try_says_so_at_once(tuned, monkeypatch, capsys):
    monkeypatch.setattr(auto, "begin", None)
    given = ["--crop_area_min=0.5", "--color_jitter_strength=0.1", "--flip", "--shear=0"]
    given += ["--use_blur=False", "--temperature=0.2", f"--image_dir={tuned / 'images'}"]
    assert main(["tune", *GIVEN, *given, "--dry_run"]) == 2
    assert "leave out some of it" in capsys.readouterr().err


@pytest.mark.slow
def test_other_sizes_are_tried_for_as_long_and_measured_once(tuned, tmp_path, monkeypatch, capsys):
    given = [flag for flag in GIVEN if not flag.startswith("--budget_minutes")]
    command = ["tune", f"--image_dir={tuned / 'images'}", f"--model_dir={tmp_path / 'run'}", *given]
    command += ["--temperature=0.2", "--crop_area_min=0.5", "--budget_minutes=60"]
    assert main(command) == 0
    assert "round 3" in capsys.readouterr().out
    results = read_json(str(tmp_path / "run/results.json"))
    plan = read_json(str(tmp_path / "run/tune.json"))
    (other,) = [row for row in results["rows"] if "image_size" in row["changes"]]
    winner = other["name"].split("_image_size")[0]
    ratio = plan["paces"][winner] / plan["paces"][other["name"]]
    assert other["changes"]["image_size"] < 24 and other["steps"] == max(1, round(8 * ratio))
    monkeypatch.setattr(auto, "_measure", None)  # a stop later repeats none of it
    assert main(command) == 0
    again = read_json(str(tmp_path / "run/results.json"))
    assert again["changes"] == results["changes"] and len(again["rows"]) == len(results["rows"])


@pytest.mark.slow
def test_a_pretraining_may_tune_first_and_goes_on_after_a_stop(tuned, monkeypatch, capsys):
    run = tuned / "whole"
    command = [
        "pretrain",
        f"--image_dir={tuned / 'images'}",
        f"--model_dir={run}",
        *GIVEN,
        "--tune",
    ]
    choose = auto.choose
    monkeypatch.setattr(auto, "choose", lambda *arguments: (_ for _ in ()).throw(Stopped()))
    with pytest.raises(Stopped):
        main(command)
    monkeypatch.setattr(auto, "choose", choose)
    assert main(command) == 0
    assert capsys.readouterr().out.count("(done before)") >= 4
    settings = read_json(str(run / "config.json"))["settings"]
    changes = read_json(str(run / "tune/results.json"))["changes"]
    assert {name: settings[name] for name in changes} == changes and settings["tune"]
    assert main(command) == 0
    assert "nothing left to do" in capsys.readouterr().out
