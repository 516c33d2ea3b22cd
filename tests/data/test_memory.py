"""Images in memory: their address follows their contents, and their split is a folder's."""

import gc

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.data import memory, sources
from simclr_tf.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(20) % 2


def data_of(held, **changes):
    return config.Data(image_dir=held.address, **changes)


def test_equal_contents_have_one_address_and_others_another():
    held = memory.as_images(PIXELS, LABELS)
    assert memory.as_images(PIXELS.copy(), list(LABELS)) is held
    assert memory.as_images(list(PIXELS), LABELS) is held
    others = [
        memory.as_images(255 - PIXELS, LABELS),
        memory.as_images(PIXELS),
        memory.as_images(PIXELS, 1 - LABELS),
        memory.as_images(PIXELS, ["ab"[label] for label in LABELS]),
        memory.as_images(PIXELS.reshape(20, 5, 6, 3), LABELS),
    ]
    assert len({one.address for one in [held, *others]}) == 6


def test_an_address_ends_with_the_images():
    address = memory.as_images(PIXELS[:7]).address
    gc.collect()
    with pytest.raises(DataError, match="pass the same images and labels again"):
        memory.find(address)


def test_every_class_gives_the_same_share_and_no_image_is_in_both():
    held = memory.as_images(PIXELS, LABELS)
    data = data_of(held, eval_fraction=0.3)
    info = sources.describe(data)
    assert (info.num_train, info.num_eval, info.num_classes) == (14, 6, 2)
    assert info.classes == (("0", 7), ("1", 7))
    parts = [sources.open_source(data, which) for which in ("train", "eval")]
    rows = np.concatenate([part.arrays() for part in parts])
    assert len(np.unique(rows.reshape(20, -1), axis=0)) == 20
    for part in parts:
        for image, label in zip(part.arrays(), part.labels):
            assert label == LABELS[np.flatnonzero((PIXELS == image).all((1, 2, 3)))[0]]


def test_without_labels_every_image_trains():
    held = memory.as_images(PIXELS)
    info = sources.describe(data_of(held))
    assert (info.num_train, info.num_eval, info.num_classes) == (20, 0, 0)


def test_kinds_of_pixels_become_uint8():
    one = memory.as_images(np.full([1, 4, 4, 2], 0.5)).source().arrays()
    assert one.dtype == np.uint8 and (one == 128).all()
    assert (memory.as_images(np.full([1, 4, 4], 0xABCD, np.uint16)).source().arrays() == 0xAB).all()


def test_images_of_different_sizes_keep_every_channel():
    images = [np.full([4 + side, 5, 5], side, np.uint8) for side in range(3)]
    source = memory.as_images(images).source()
    assert source.channels == 5 and source.num_examples == 3
    from simclr_tf.data import decoding

    for image, example in zip(images, source.in_order()):
        np.testing.assert_array_equal(decoding.decode(example["image"], 5), image)


def test_an_array_that_changed_since_is_refused():
    pixels = PIXELS.copy()
    held = memory.as_images(pixels)
    pixels[0] += 1
    with pytest.raises(DataError, match="changed after it was passed"):
        held.source()


@pytest.mark.parametrize(
    "labels, words",
    [
        ([0, 1], r"shape \[2\]; give 20"),
        ([0.5] * 20, "type float64"),
        ([-2] * 20, "from -2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, words):
    with pytest.raises(DataError, match=words):
        memory.as_images(PIXELS, labels)
