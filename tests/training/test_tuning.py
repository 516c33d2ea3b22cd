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
    count, steps = tuning.fitting(minutes, 10.0, PACE, most, others)
    seconds = PACE.step * steps * tuning.weight(count, others)
    seconds += tuning.overhead(count, PACE, others)
    assert tuning.LEAST_STEPS <= steps <= tuning.MOST_STEPS and min(most, 3) <= count <= most
    assert 10.0 + seconds <= 60 * minutes
    assert 10.0 + seconds > 0.7 * 60 * minutes or steps == tuning.MOST_STEPS


def test_minutes_that_are_too_short_give_the_least():
    assert tuning.fitting(0.001, 10.0, PACE, 10, 2) == (3, tuning.LEAST_STEPS)
    assert tuning.fitting(0.001, 10.0, PACE, 1, 2) == (1, tuning.LEAST_STEPS)


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
