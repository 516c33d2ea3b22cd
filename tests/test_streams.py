"""The table of random streams: no two choices share their numbers, and none has moved."""

import itertools

import pytest

from simclr_tf import streams


def test_no_two_choices_of_a_view_share_a_number():
    for (one, a), (other, b) in itertools.combinations(streams.VIEW.items(), 2):
        assert a.end <= b.first or b.end <= a.first, f"{one} and {other} overlap"
    assert max(draws.end for draws in streams.VIEW.values()) <= streams.MOST_DRAWS


def test_keys_begin_at_even_numbers():
    assert streams.VIEW["operator_keys"].first % 2 == 0  # a key is one block of two numbers


def test_numbers_of_earlier_releases_have_not_moved():
    first = {name: draws.first for name, draws in streams.VIEW.items()}
    assert first == {
        "crop": 0,
        "recipe": 22,
        "operator_applied": 64,
        "operator_uniforms": 80,
        "operator_keys": 96,
        "operator_windows": 128,
        "warp": 512,
        "auto_augment": 640,
    }
    salts = [streams.ORDER_OF_EXAMPLES, streams.ORDER_OF_SHARDS, streams.order_of_window(0)]
    assert salts + [streams.STAND_INS] == [0, 1, 2, 3]


def test_permutations_of_ids_have_salts_of_their_own():
    salts = [streams.ORDER_OF_EXAMPLES, streams.ORDER_OF_SHARDS, streams.STAND_INS]
    assert len(set(salts)) == len(salts)
    assert not set(salts[:2]) & {streams.order_of_window(window) for window in range(1000)}


def test_a_range_gives_out_only_its_own_numbers():
    assert streams.Draws(64, 16).part(14, 2) == streams.Draws(78, 2)
    with pytest.raises(ValueError, match="are not among the 16 of this range; add a range"):
        streams.Draws(64, 16).part(15, 2)
