"""The order of examples, the held-out share, and the sizes known without a download."""

import numpy as np
import pytest

from simclr_tf.data import holdout, order, sizes
from simclr_tf.stack import tf


@pytest.mark.parametrize("num_examples", [1, 2, 7, 360])
def test_every_epoch_holds_every_id_once(num_examples):
    positions = tf.range(3 * num_examples, dtype=tf.int64)
    ids, epochs = order.shuffled_ids(positions, num_examples, seed=5)
    ids = ids.numpy().reshape(3, num_examples)
    np.testing.assert_array_equal(np.sort(ids, axis=1), [np.arange(num_examples)] * 3)
    np.testing.assert_array_equal(epochs, np.repeat(np.arange(3), num_examples))


def test_order_is_the_same_on_every_stack():
    ids, _ = order.shuffled_ids(tf.range(8, dtype=tf.int64), 8, seed=1)
    np.testing.assert_array_equal(ids, [4, 0, 5, 7, 3, 1, 6, 2])


def test_one_position_equals_its_place_in_a_batch_of_positions():
    positions = tf.constant([3, 70, 41, 129], tf.int64)
    ids, epochs = order.shuffled_ids(positions, 50, seed=9)
    for i in range(4):
        one, epoch = order.shuffled_ids(positions[i], 50, seed=9)
        assert (int(one), int(epoch)) == (int(ids[i]), int(epochs[i]))


def test_permutations_are_mixed_like_chance():
    n = 360
    epochs = 40
    ids, _ = order.shuffled_ids(tf.range(n * epochs, dtype=tf.int64), n, seed=0)
    ids = ids.numpy().reshape(epochs, n)
    fixed_points = (ids == np.arange(n)).sum(axis=1).mean()  # expected 1, deviation 0.16
    neighbours = (np.diff(ids, axis=1) == 1).sum(axis=1).mean()  # expected 1
    correlation = np.abs(np.corrcoef(ids) - np.eye(epochs)).max() * np.sqrt(n)  # about 3.2
    assert fixed_points < 2 and neighbours < 2 and correlation < 4.5


def test_seed_and_salt_choose_other_permutations():
    positions = tf.range(100, dtype=tf.int64)
    base = order.permuted(positions, 100, 0, 0).numpy()
    assert (base != order.permuted(positions, 100, 1, 0).numpy()).any()
    assert (base != order.permuted(positions, 100, 0, 0, salt=1).numpy()).any()


def test_held_out_share_is_taken_from_every_class():
    labels = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    chosen = holdout.held_out(labels, 0.2, seed=3)
    assert [int(chosen[labels == label].sum()) for label in range(4)] == [10, 2, 1, 0]
    np.testing.assert_array_equal(chosen, holdout.held_out(labels, 0.2, seed=3))
    assert (chosen != holdout.held_out(labels, 0.2, seed=4)).any()


def test_held_out_count_keeps_at_least_one_on_each_side():
    assert holdout.held_out_count(1, 0.9) == 0
    assert holdout.held_out_count(2, 0.01) == holdout.held_out_count(2, 0.9) == 1
    assert holdout.held_out_count(1000, 0.2) == 200


@pytest.mark.parametrize(
    "split, images",
    [
        ("train", 50000),
        ("train[:90%]", 45000),
        ("train[90%:]", 5000),
        ("train[-100:]", 100),
        ("train[10:20]", 10),
        ("train[20:10]", 0),
        ("train[:x]", None),
        ("extra", None),
    ],
)
def test_size_of_part_of_a_split(split, images):
    assert sizes.size_of_split({"train": 50000, "test": 10000}, split) == images


def test_sizes_of_the_papers_main_sets():
    imagenet, classes = sizes.known_size("imagenet2012")
    assert (imagenet["train"], imagenet["validation"], classes) == (1281167, 50000, 1000)
    assert sizes.default_eval_split("imagenet2012", imagenet) == "validation"
    assert sizes.known_size("cifar10:3.0.2") == ({"train": 50000, "test": 10000}, 10)
    assert sizes.known_size("no_such_set") is None
