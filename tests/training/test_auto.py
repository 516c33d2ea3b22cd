"""The preset auto: what it chooses, that flags win, that a resumed run repeats it, its one restart."""

import dataclasses
import json

import pytest
from PIL import Image

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.data.survey import Survey
from simclr_tf.runs.files import read_json
from simclr_tf.training import auto, health
from tests.tiny_run import images_in_folders

LETTERS = Survey(
    count=2000,
    looked=200,
    side=48,
    longest=48,
    colored=0.0,
    plain=1.0,
    transparent=0.0,
    chroma=0.0,
    channels=3,
)
PHOTOS = dataclasses.replace(LETTERS, side=400, longest=600, colored=1.0, plain=0.1, chroma=0.4)
LAPTOP = auto.Machine(accelerated=False, cores=2, minutes=10.0)
GPU = auto.Machine(accelerated=True, cores=16, minutes=60.0)
GIVEN = [
    "--encoder=tests.tiny_encoder:encoder",
    "--proj_out_dim=16",
    "--use_blur=False",
    "--train_batch_size=8",
    "--strategy=default",
    "--budget_minutes=0.001",
]


def chosen(seen, machine=LAPTOP, **fixed):
    """{setting name: value} of all rules."""
    found = {}
    for rule in auto.rules(seen, machine, fixed):
        assert rule.reason and not found.keys() & rule.values.keys()
        found.update(rule.values)
    return found


def test_every_choice_is_a_setting_within_its_limits():
    for seen in (LETTERS, PHOTOS, dataclasses.replace(PHOTOS, channels=1, colored=0.0)):
        for machine in (LAPTOP, GPU, dataclasses.replace(LAPTOP, minutes=600.0)):
            config.build(config.Pretrain, chosen(seen, machine))


def test_shapes_without_colour_keep_their_direction_and_their_whole():
    views = chosen(LETTERS)
    assert views["flip"] is False and views["hue"] == 0 and views["crop_area_min"] >= 0.4
    assert chosen(PHOTOS)["crop_area_min"] < views["crop_area_min"]
    assert "flip" not in chosen(PHOTOS)


def test_a_long_training_learns_from_smaller_crops():
    short = dataclasses.replace(LAPTOP, minutes=1.0)
    for seen in (PHOTOS, dataclasses.replace(LETTERS, colored=1.0)):
        assert chosen(seen)["crop_area_min"] < chosen(seen, short)["crop_area_min"]
    assert chosen(LETTERS)["crop_area_min"] == chosen(LETTERS, short)["crop_area_min"]


def test_a_setting_that_is_given_is_not_chosen_and_is_taken_into_account():
    assert "temperature" not in chosen(PHOTOS, temperature=0.5)
    assert "resnet_depth" not in chosen(PHOTOS, encoder="a.b:c")
    assert chosen(PHOTOS, image_size=96)["stem"] == "imagenet"
    lars = chosen(PHOTOS, optimizer="lars")
    assert lars["learning_rate_scaling"] == "sqrt" and "optimizer" not in lars


def test_colour_stays_unless_the_user_asks_for_its_distortion():
    assert chosen(PHOTOS)["color_jitter_strength"] == 0
    asked = chosen(PHOTOS, grayscale_prob=0.5)
    assert asked["color_jitter_strength"] > 0 and "grayscale_prob" not in asked


def test_things_in_colour_lose_some_of_it_if_there_is_time_to_learn_their_shape():
    icons = dataclasses.replace(LETTERS, colored=1.0, chroma=0.3)
    views = chosen(icons)
    assert views["color_jitter_strength"] > 0 and views["grayscale_prob"] > 0
    short = dataclasses.replace(LAPTOP, minutes=1.0)
    assert chosen(icons, short)["color_jitter_strength"] == 0
    without = chosen(icons, color_jitter_strength=0.0)
    config.build(config.Pretrain, {**without, "color_jitter_strength": 0.0})


def test_crops_stay_below_the_largest_that_is_given():
    for seen in (LETTERS, PHOTOS):
        values = chosen(seen, crop_area_max=0.08)
        start = config.build(config.Pretrain, {**values, "crop_area_max": 0.08})
        assert not auto.weaker(start, ()).keys() & {"crop_area_min"}


def test_a_batch_holds_at_most_half_of_few_images():
    assert chosen(dataclasses.replace(PHOTOS, count=40))["train_batch_size"] == 16
    assert chosen(PHOTOS, GPU)["train_batch_size"] > chosen(PHOTOS)["train_batch_size"]


def test_many_images_are_not_kept_decoded():
    assert chosen(PHOTOS)["store_side"] == 64
    assert "store_side" not in chosen(dataclasses.replace(PHOTOS, count=10**6))


def test_weaker_views_leave_what_was_given():
    start = config.build(config.Pretrain, {"crop_area_min": 0.25, "color_jitter_strength": 1.0})
    changes = auto.weaker(start, frozenset(["color_jitter_strength"]))
    assert changes["crop_area_min"] == 0.4 and "color_jitter_strength" not in changes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of drawn images and the command of a finished run on them with preset auto."""
    place = tmp_path_factory.mktemp("auto")
    images_in_folders(place / "images", {"bar": 12, "disc": 12})
    command = ["pretrain", f"--image_dir={place / 'images'}", f"--model_dir={place / 'run'}", *GIVEN]  # fmt: skip
    assert main(command) == 0
    return place, command


def test_what_was_chosen_is_stored_and_the_same_command_does_not_choose_again(
    finished, monkeypatch, capsys
):
    place, command = finished
    settings = read_json(str(place / "run/config.json"))["settings"]
    assert settings["auto"] and settings["train_steps"] == 20  # too few minutes: the least
    assert settings["proj_out_dim"] == 16 and settings["store_side"] == 24
    monkeypatch.setattr(auto, "choose", None)
    assert main(command) == 0
    assert "nothing left to do" in capsys.readouterr().out


def test_the_plan_gives_every_choice_its_reason_and_the_minutes(finished, capsys):
    _, command = finished
    assert main([*command[:2], "--dry_run", *GIVEN]) == 0
    plan = capsys.readouterr().out
    for words in ("look  ", "auto  ", "image_size=24", "time  ", "ms a step", "checkpoints  "):
        assert words in plan


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_run_of_the_folder_preset_goes_on_without_a_look(finished, tmp_path, monkeypatch):
    """The README's command of earlier versions chose --preset=folder."""
    place, _ = finished
    given = [
        f"--image_dir={place / 'images'}",
        f"--model_dir={tmp_path / 'run'}",
        "--strategy=default",
    ]
    old = ["--preset=folder", "--image_size=16", "--encoder=tests.tiny_encoder:encoder"]
    old += ["--train_batch_size=8", "--train_steps=2"]
    assert main(["pretrain", *given, *old]) == 0
    monkeypatch.setattr(auto, "choose", None)
    assert main(["pretrain", *given]) == 0
    assert read_json(str(tmp_path / "run/config.json"))["settings"]["temperature"] == 0.2


@pytest.mark.slow
@pytest.mark.current_stack
def test_views_that_are_too_strong_are_weakened_once(finished, tmp_path, monkeypatch, caplog):
    place, command = finished
    monkeypatch.setattr(health, "LEAST_ACCURACY", 1.1)
    monkeypatch.setattr(health, "EARLY", 4)
    run = tmp_path / "run"
    assert main([*command[:2], f"--model_dir={run}", *GIVEN, "--log_steps=2", "--color_jitter_strength=0.1"]) == 0  # fmt: skip
    settings = read_json(str(run / "config.json"))["settings"]
    assert settings["crop_area_min"] == pytest.approx(0.675)  # of 0.45
    assert settings["color_jitter_strength"] == 0.1
    assert [line["step"] for line in map(json.loads, open(run / "metrics.jsonl"))][:2] == [2, 4]
    assert caplog.text.count("starting again with weaker views") == 1
    assert "lower --color_jitter_strength" in caplog.text  # the second time it is said


@pytest.mark.one_stack
@pytest.mark.slow
def test_the_sheet_shows_the_views_that_auto_chooses(finished, tmp_path, capsys):
    place, _ = finished
    picture = tmp_path / "views.png"
    assert main(["views", f"--image_dir={place / 'images'}", f"--sheet={picture}", "--sheet_images=2"]) == 0  # fmt: skip
    assert "24 x 24 pixels" in capsys.readouterr().out
    assert Image.open(picture).size[0] > 48
