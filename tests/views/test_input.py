"""Batches for training and evaluation: order, resume, shapes, small and large images."""

import itertools

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.data import info, order, preprocess, source
from simclr_tf.data.quarantine import Quarantine
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.stack import tf
from simclr_tf.views import batches, device

VIEWS = config.Views(color_jitter_strength=0.5)


def array_source(height=12, width=10, n=11):
    images = np.random.default_rng(0).integers(0, 256, (n, height, width, 3)).astype("uint8")
    facts = info.Facts("test", n, ("a", "b", "c"), "0", (height, width, 3))
    return source.ArraySource(facts, images, np.arange(n) % 3)


def encoded_source(n=7):
    images = np.random.default_rng(0).integers(0, 256, (n, 70, 90, 3)).astype("uint8")
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    facts = info.Facts("test", n, ("a", "b", "c"), "0", None)
    return source.BytesSource(facts, encoded, np.arange(n) % 3), images


def take(dataset, count):
    first = itertools.islice(dataset, count)
    return [{k: v.numpy() for k, v in batch.items()} for batch in first]


def test_small_images_come_whole_and_every_epoch_holds_each_once():
    small = array_source()
    got = take(batches.train_batches(small, VIEWS, 16, 4, seed=3), 11)  # 44 images, 4 epochs
    assert got[0]["images"].shape == (4, 12, 10, 3) and got[0]["images"].dtype == np.uint8
    ids, epochs = (np.concatenate([b[name] for b in got]) for name in ("id", "epoch"))
    np.testing.assert_array_equal(epochs, np.repeat(np.arange(4), 11))
    for epoch in range(4):
        np.testing.assert_array_equal(np.sort(ids[epochs == epoch]), np.arange(11))
    np.testing.assert_array_equal(got[2]["images"], small.arrays()[got[2]["id"]])
    np.testing.assert_array_equal(got[2]["label"], got[2]["id"] % 3)


def test_gathered_batches_equal_the_stream():
    small = array_source()
    stream = take(small.stream(3, start=8).batch(4), 3)
    for want, got in zip(stream, take(batches.train_batches(small, VIEWS, 16, 4, 3, 2), 3)):
        np.testing.assert_array_equal(got["images"], want["image"])
        for name in ("id", "epoch", "label"):
            np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize("kind", ["small", "encoded"])
def test_a_resumed_run_continues_the_batches(kind):
    examples = array_source() if kind == "small" else encoded_source()[0]
    whole = take(batches.train_batches(examples, VIEWS, 40, 3, seed=5), 6)
    rest = take(batches.train_batches(examples, VIEWS, 40, 3, seed=5, start_step=4), 2)
    for want, got in zip(whole[4:], rest):
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize("kind", ["small", "stream", "encoded"])
@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_workers_together_read_the_batches_of_one_process(kind, replicas, monkeypatch):
    examples = encoded_source()[0] if kind == "encoded" else array_source()
    if kind == "stream":
        monkeypatch.setattr(examples, "arrays", lambda: None)
    parts = [order.Share(8, worker, 2, replicas) for worker in range(2)]
    whole, *own = (
        list(batches.train_batches(examples, VIEWS, 40, part, 5, 3).take(3 * part_replicas))
        for part, part_replicas in [(8, 1), *((part, replicas) for part in parts)]
    )
    for step, want in enumerate(whole):
        pieces = [p for part in own for p in part[step * replicas : (step + 1) * replicas]]
        for name in want:
            np.testing.assert_array_equal(tf.concat([p[name] for p in pieces], 0), want[name])


def test_large_images_come_as_crops_that_do_not_depend_on_the_batch_size():
    examples, _ = encoded_source()
    four = take(batches.train_batches(examples, VIEWS, 40, 4, seed=5), 3)
    six = take(batches.train_batches(examples, VIEWS, 40, 6, seed=5), 2)
    assert four[0]["images"].shape == (4, 2, 40, 40, 3) and four[0]["images"].dtype == np.uint8
    for name in ("images", "id", "epoch", "label"):
        want, got = (np.concatenate([b[name] for b in some]) for some in (four, six))
        np.testing.assert_array_equal(got, want)


def test_batches_become_views():
    examples, _ = encoded_source()
    batch = next(iter(batches.train_batches(examples, VIEWS, 40, 4, seed=5)))
    views = device.make_views(VIEWS, 40, seed=5)(batch).numpy()
    assert views.shape == (8, 40, 40, 3) and views.min() >= 0 and views.max() <= 1
    assert np.abs(views[:4] - views[4:]).mean() > 0.05  # two different views of noise


def test_one_view_of_crop_and_flip_for_a_classifier():
    examples, images = encoded_source()
    plain = config.Views(color_jitter_strength=0.0, use_blur=False)
    batch = next(iter(batches.train_batches(examples, plain, 40, 4, seed=5, num_views=1)))
    views = device.make_views(plain, 40, seed=5, num_views=1)(batch).numpy()
    crops = batch["images"][:, 0].numpy() / 255.0
    for view, crop in zip(views, crops):
        same = np.abs(view - crop).max()
        turned = np.abs(view - crop[:, ::-1]).max()
        assert min(same, turned) < 1e-6


def test_evaluation_is_one_pass_in_source_order():
    examples, images = encoded_source()
    got = take(batches.eval_batches(examples, 40, 3), 9)
    assert [len(b["id"]) for b in got] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([b["id"] for b in got]), np.arange(7))
    np.testing.assert_array_equal(got[1]["label"], [0, 1, 2])
    want = preprocess.eval_image(images[4], 40)
    np.testing.assert_allclose(got[1]["images"][1], want, atol=1e-6)


@pytest.mark.parametrize(
    "height, width, y, x, side",  # golden numbers of the official center_crop
    [(375, 500, 24, 86, 328), (256, 256, 16, 16, 224), (100, 300, 6, 106, 88)],
)
def test_centre_crop_is_golden(height, width, y, x, side):
    image = np.zeros((height, width, 3), "uint8")
    image[y : y + side, x : x + side] = 255  # one pixel more or less would show at an edge
    np.testing.assert_allclose(preprocess.eval_image(image, 96), 1.0, atol=1e-5)
    image[[y, y + side - 1]] = 0
    image[:, [x, x + side - 1]] = 0
    border = preprocess.eval_image(image, side).numpy()
    assert border[1:-1, 1:-1].min() == 1
    assert max(border[[0, -1]].max(), border[:, [0, -1]].max()) == 0


def test_evaluation_of_large_images_crops_and_resizes():
    image = np.random.default_rng(2).integers(0, 256, (100, 300, 3)).astype("uint8")
    want = tf.image.resize(image[6:94, 106:194].astype("float32") / 255, [64, 64], "bicubic")
    got = preprocess.eval_image(image, 64)
    np.testing.assert_allclose(got, np.clip(want, 0, 1), atol=2e-6)


def test_evaluation_of_small_images_keeps_right_sizes_and_resizes_others():
    image = np.random.default_rng(2).integers(0, 256, (32, 32, 3)).astype("uint8")
    np.testing.assert_allclose(preprocess.eval_image(image, 32), image / 255.0, atol=1e-7)
    digit = image[:8, :8]
    want = np.clip(tf.image.resize(digit / np.float32(255), [16, 16], "bicubic"), 0, 1)
    np.testing.assert_allclose(preprocess.eval_image(digit, 16), want, atol=2e-3)


def test_views_finished_on_the_host_are_those_of_the_device():
    for examples in (array_source(), encoded_source()[0]):
        made = []
        for place in ("device", "host"):
            views = config.Views(augment_on=place)
            batch = next(iter(batches.train_batches(examples, views, 40, 4, seed=5)))
            made.append(device.make_views(views, 40, seed=5, once=True)(batch).numpy())
        assert batch["images"].shape == (4, 2, 40, 40, 3)
        np.testing.assert_allclose(made[1], made[0], atol=2e-6)


@pytest.mark.parametrize(
    "canvas_size", [pytest.param(96, marks=pytest.mark.slow), 80]
)  # 80: the 70 x 90 images do not fit on it
def test_crops_on_the_device_are_those_of_the_host_up_to_rounding(canvas_size):
    made = []
    examples = encoded_source()[0]
    for place in ("host", "device"):
        views = config.Views(operators="", resize_on=place, canvas_size=canvas_size)
        batch = next(iter(batches.train_batches(examples, views, 40, 4, seed=5)))
        made.append(device.make_views(views, 40, seed=5)(batch).numpy())
    assert batch["images"].shape == (4, canvas_size, canvas_size, 3)
    np.testing.assert_allclose(made[1], made[0], atol=0.5 / 255 + 1e-5)


def test_a_canvas_too_small_for_the_crops_is_refused():
    views = config.Views(resize_on="device", canvas_size=64)
    with pytest.raises(SettingsError, match="canvas_size=64 cannot hold 2 crops of 40"):
        batches.train_batches(encoded_source()[0], views, 40, 4, seed=5)


@pytest.mark.parametrize("strict", [False, True])
def test_evaluation_replaces_or_names_a_bad_image(strict):
    examples, images = encoded_source()
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    encoded[4] = encoded[4][:200]
    bad = source.BytesSource(info.Facts("test", 7, ("a", "b", "c"), "0", None), encoded, np.arange(7) % 3)  # fmt: skip
    bad.quarantine = Quarantine(strict)
    if strict:
        with pytest.raises(DataError, match="test example 4 cannot be used"):
            take(batches.eval_batches(bad, 40, 3), 9)
        return
    got, want = (take(batches.eval_batches(some, 40, 3), 9) for some in (bad, examples))
    ids = np.concatenate([b["id"] for b in got])
    np.testing.assert_array_equal(ids, np.arange(7))
    assert list(bad.quarantine.reasons) == ["test example 4"]
    got, want = (
        {name: np.concatenate([b[name] for b in some]) for name in ("images", "label")}
        for some in (got, want)
    )
    kept = ids != 4
    np.testing.assert_array_equal(got["images"][kept], want["images"][kept])
    same = [np.array_equal(got["images"][4], image) for image in want["images"]]
    assert got["label"][4] == want["label"][same.index(True)]
