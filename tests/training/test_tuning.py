"""What a tuning tries and keeps: pure functions."""

import pytest

from simclr_tf import config
from simclr_tf.training import auto, tuning

pytestmark = pytest.mark.one_stack

START = config.build(
    config.Pretrain, {"crop_area_min": 0.25, "color_jitter_strength": 0.1, "grayscale_prob": 0.0}
)
PACE = auto.Pace(first=5.0, step=0.05)


def test_every_candidate_is_a_setting_within_its_limits_and_changes_the_start():
    found = tuning.first_round(START, (), 3, 100)
    assert found[0] is tuning.AS_CHOSEN and len({one.name for one in found}) == len(found)
    for one in found[1:]:
        assert tuning.trial_config(START, one.changes, 60, 100, "x").views != START.views, one


def test_what_is_given_is_not_tried():
    found = tuning.first_round(START, ("crop_area_min", "flip"), 3, 100)
    assert not {name for one in found for name in one.changes} & {"crop_area_min", "flip"}
    assert tuning.temperatures(START, ("temperature",), tuning.AS_CHOSEN) == []


def test_grey_images_are_not_made_grey():
    for channels in (1, 3):
        names = {one.name for one in tuning.first_round(START, (), channels, 100)}
        assert ("grayscale" in names) == (channels == 3)


def test_the_second_round_has_the_best_and_the_best_of_each_kind_together():
    crop = tuning.Candidate("crop", "crop", {"crop_area_min": 0.5})
    worse_crop = tuning.Candidate("worse", "crop", {"crop_area_min": 0.7})
    flip = tuning.Candidate("flip", "turn", {"flip": False})
    bad = tuning.Candidate("bad", "blur", {"use_blur": True})
    scores = [(tuning.AS_CHOSEN, 0.4), (crop, 0.6), (worse_crop, 0.55), (flip, 0.5), (bad, 0.1)]
    found = tuning.second_round(scores, 3)
    assert [one.name for one in found] == ["crop", "worse", "together"]
    assert found[-1].changes == {"crop_area_min": 0.5, "flip": False}
    alone = tuning.second_round([(tuning.AS_CHOSEN, 0.4), (crop, 0.3)], 2)
    assert [one.name for one in alone] == ["as_chosen", "crop"]


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("most", [2, 10])
@pytest.mark.parametrize("minutes", [2, 5, 20])
def test_the_rounds_fit_into_the_minutes_and_fill_them(minutes, most, others):
    rounds = tuning.fitting(minutes, 10.0, PACE, most, others, 4)
    assert tuning.LEAST_STEPS <= rounds.steps <= tuning.MOST_STEPS
    assert min(most, 3) <= rounds.candidates <= most and rounds.temperatures == others
    assert 10.0 + rounds.seconds(PACE) <= 60 * minutes
    assert 10.0 + rounds.seconds(PACE) > 0.7 * 60 * minutes or rounds.steps == tuning.MOST_STEPS


def test_other_networks_are_tried_when_nothing_else_is_left_out_for_them():
    found = [tuning.fitting(minutes, 10.0, PACE, 10, 2, 4) for minutes in (1, 5, 10, 20)]
    assert [one.networks for one in found] == [0, 0, 4, 4]
    assert all(one.candidates == 10 and one.steps >= tuning.GOOD_STEPS for one in found[2:])


def test_minutes_that_are_too_short_give_the_least():
    least = tuning.LEAST_STEPS
    assert tuning.fitting(0.001, 10.0, PACE, 10, 2, 4) == tuning.Rounds(3, least, 2)
    assert tuning.fitting(0.001, 10.0, PACE, 1, 2, 4) == tuning.Rounds(1, least, 2)


def test_networks_change_the_size_or_the_width_of_the_winner():
    start = config.build(
        config.Pretrain, {"image_size": 32, "width_multiplier": 0.25, "store_side": 64}
    )
    winner = tuning.Candidate("crop", "crop", {"crop_area_min": 0.5})
    found = tuning.networks(start, (), winner)
    changes = [{n: v for n, v in one.changes.items() if n != "crop_area_min"} for one in found]
    assert changes == [
        {"image_size": 24},
        {"image_size": 48},
        {"width_multiplier": 0.125},
        {"width_multiplier": 0.5},
    ]
    for one in found:
        assert one.changes["crop_area_min"] == 0.5
        tuning.trial_config(start, one.changes, 60, 100, "x")
    given = tuning.networks(start, ("image_size", "width_multiplier"), winner)
    assert given == [] and len(tuning.networks(start, ("encoder",), winner)) == 2


def test_no_size_is_tried_above_that_of_the_images():
    start = config.build(config.Pretrain, {"image_size": 28, "store_side": 28})
    found = tuning.networks(start, ("width_multiplier",), tuning.AS_CHOSEN)
    assert [one.changes for one in found] == [{"image_size": 20}]


def test_small_crops_alone_leave_few_to_try():
    start = config.build(config.Pretrain, {"crop_area_min": 0.1, "crop_area_max": 0.2})
    found = tuning.first_round(start, (), 3, 100)
    assert [one.name for one in found if one.kind == "crop"] == ["crop_0.15"]
    for one in found[1:]:
        tuning.trial_config(start, one.changes, 60, 100, "x")


def test_the_file_holds_what_was_given_even_if_it_is_a_default():
    text = tuning.preset_text(config.Pretrain(), {}, {"width_multiplier", "model_dir"}, "title")
    assert "--width_multiplier=1.0" in text.splitlines() and "model_dir" not in text


def test_a_trial_that_failed_or_is_all_too_easy_never_wins():
    failed, hard, good, easy = (
        tuning.score(one, 150)
        for one in ({}, *({"contrastive_accuracy": v} for v in (0.2, 0.75, 0.99)))
    )
    assert failed == float("-inf") and hard < easy < good


def test_more_steps_may_reach_more_before_views_count_as_too_alike():
    assert tuning.healthy(150) == pytest.approx(0.8)
    assert tuning.healthy(60) < tuning.healthy(300) < 1.0
