"""Labelled shares: class-balanced, seeded, nested; the same images whatever the kind of source."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from simclr_tf import config
from simclr_tf.data import sources, subset
from simclr_tf.data.windows import WindowSource
from tests.data.test_sources import TinyShards
from tests.glyphs import SIGNS, draw_signs
from tests.tiny_run import images_in_folders

LABELS = np.random.default_rng(0).integers(0, 7, 900)


@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.1, 0.37, 1.0])
def test_each_class_gives_its_rounded_share_and_at_least_one(fraction):
    ids = subset.labelled_ids(LABELS, fraction, 3)
    assert (np.diff(ids) > 0).all()
    for label in range(7):
        total = np.sum(LABELS == label)
        assert np.sum(LABELS[ids] == label) == max(1, round(fraction * total))


def test_smaller_shares_are_subsets_of_larger_ones_and_follow_the_seed():
    shares = [set(subset.labelled_ids(LABELS, f, 5)) for f in (0.01, 0.02, 0.1, 0.5, 1.0)]
    assert all(small < large for small, large in zip(shares, shares[1:]))
    assert shares[2] == set(subset.labelled_ids(LABELS, 0.1, 5))
    assert shares[2] != set(subset.labelled_ids(LABELS, 0.1, 6))


def test_unlabelled_examples_are_never_picked():
    labels = np.where(np.arange(900) % 2, LABELS, -1)
    assert (subset.labelled_ids(labels, 1.0, 0) % 2 == 1).all()


def all_of(source):
    return [{k: np.asarray(v) for k, v in one.items()} for one in source.in_order()]


def check_part(source, fraction):
    part = subset.labelled_subset(source, fraction, 0)
    ids = subset.labelled_ids(subset.all_labels(source), fraction, 0)
    whole = all_of(source)
    got = all_of(part)
    assert len(got) == part.num_examples == len(ids)
    assert [int(one["id"]) for one in got] == list(range(len(ids)))
    for one, at in zip(got, ids):
        assert one["label"] == whole[at]["label"]
        np.testing.assert_array_equal(one["image"], whole[at]["image"])
    stream = list(part.stream(seed=2).take(2 * len(ids)).as_numpy_iterator())
    for epoch in range(2):
        seen = [int(one["id"]) for one in stream if one["epoch"] == epoch]
        assert sorted(seen) == list(range(len(ids)))
    for one in stream:
        assert one["label"] == got[int(one["id"])]["label"]
    assert part.fingerprint != source.fingerprint and part.num_classes == source.num_classes
    return part


def test_of_images_in_memory():
    source = sources.open_source(config.Data(), "train")
    part = check_part(source, 0.01)
    assert part.num_examples == 12  # of 1437: 1 or 2 per class
    np.testing.assert_array_equal(part.arrays(), source.arrays()[part._ids])


def test_of_a_folder(tmp_path):
    images_in_folders(tmp_path, {"bars": 12, "dots": 9})
    source = sources.open_source(config.Data(image_dir=str(tmp_path)), "train")
    part = check_part(source, 0.3)
    assert part.name_of(0).endswith(".png")


def test_one_per_cent_of_600_drawn_signs(tmp_path):
    draw_signs(tmp_path, 100)
    source = sources.open_source(config.Data(image_dir=str(tmp_path)), "train")
    assert source.class_names == tuple(SIGNS) and source.num_examples == 480
    part = subset.labelled_subset(source, 0.01, 0)
    assert part.num_examples == 6 and sorted(part.labels) == list(range(6))


def test_of_a_streamed_data_set(tmp_path):
    builder = TinyShards(data_dir=str(tmp_path))
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=6))
    data = config.Data(dataset="tiny_shards", data_dir=str(tmp_path), cache_dataset=False)
    source = sources.open_source(data, "train")
    assert isinstance(source, WindowSource)
    check_part(source, 0.4)


def test_a_sample_is_seeded_and_not_larger_than_the_source():
    source = sources.open_source(config.Data(), "train")
    part = subset.sample(source, 32, 1)
    assert part.num_examples == 32 and subset.sample(source, 5000, 1) is source
    again = subset.sample(source, 32, 1)
    np.testing.assert_array_equal(part.arrays(), again.arrays())
