"""Whole views: both forms, any batch, any replica, against plain tf.image per example."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.stack import tf
from simclr_tf.views import device, draws, geometry, host

SEED = 3
JITTER = (
    tf.image.adjust_brightness,
    tf.image.adjust_contrast,
    tf.image.adjust_saturation,
    tf.image.adjust_hue,
)


def whole_batch(b=6, height=20, width=28):
    images = np.random.default_rng(0).integers(0, 256, (b, height, width, 3)).astype("uint8")
    return batch_of(images)


def crop_batch(b=6, size=40):
    images = np.random.default_rng(0).integers(0, 256, (b, 2, size, size, 3)).astype("uint8")
    return batch_of(images)


def batch_of(images):
    b = len(images)
    ids = tf.constant(np.arange(b) * 7 + 1, tf.int64)
    return {"images": tf.constant(images), "id": ids, "epoch": tf.fill([b], 4)}


def plain_color(image, drawn, i, views):
    """One image by tf.image, the factors given: the recipe of arXiv:2002.05709, appendix A, line by line."""
    factors = drawn.factors.numpy()[i]
    if drawn.jitter[i]:
        for code in drawn.order.numpy()[i]:
            if code == 0 and views.aug_impl != "simclr_v1":
                image = image * factors[0]
            else:
                image = JITTER[code](image, factors[code])
            image = tf.clip_by_value(image, 0, 1)
    if drawn.grayscale[i]:
        image = tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))
    image = tf.clip_by_value(image, 0, 1)
    if drawn.blur[i] and views.use_blur:
        radius = int(image.shape[0] // 10 / 2)
        taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * factors[5] ** 2))
        kernel = np.outer(taps, taps) / taps.sum() ** 2
        kernel = np.repeat(kernel[:, :, None, None], 3, axis=2).astype("float32")
        image = tf.nn.depthwise_conv2d(image[None], kernel, [1, 1, 1, 1], "SAME")[0]
    return np.clip(image, 0, 1)


def plain_views(batch, views, size):
    rows = draws.rows_of(batch, 2)
    drawn = draws.draw(views, SEED, rows)
    b, height, width, _ = batch["images"].shape
    boxes = geometry.windows(draws.window_uniforms(SEED, rows), height, width, views).numpy()
    result = []
    for i, (y, x, high, long) in enumerate(boxes):
        image = batch["images"][i % b, y : y + high, x : x + long]
        image = tf.image.resize(tf.cast(image, tf.float32) / 255, [size, size], views.resize)
        image = tf.image.flip_left_right(image) if drawn.flip[i] else image
        result.append(plain_color(image, drawn, i, views))
    return np.stack(result)


@pytest.mark.parametrize("form", ["switch", "select"])
@pytest.mark.parametrize("aug_impl", ["simclr_v1", "simclr_v2", "torchvision"])
def test_whole_images_equal_tf_image_at_equal_draws(form, aug_impl):
    views = config.Views(aug_impl=aug_impl, torchvision_ops=False)
    batch = whole_batch()
    got = device.make_views(views, 24, SEED, form=form)(batch)
    np.testing.assert_allclose(got, plain_views(batch, views, 24), atol=5e-6)


@pytest.mark.parametrize("form", ["switch", "select"])
def test_crops_equal_tf_image_at_equal_draws(form):
    views = config.Views()
    batch = crop_batch()
    got = device.make_views(views, 40, SEED, form=form)(batch).numpy()
    drawn = draws.draw(views, SEED, draws.rows_of(batch, 2))
    assert np.any(drawn.blur) and np.any(drawn.jitter) and np.any(drawn.flip)
    for i, view in enumerate(got):
        image = tf.cast(batch["images"][i % 6, i // 6], tf.float32) / 255
        image = tf.image.flip_left_right(image) if drawn.flip[i] else image
        np.testing.assert_allclose(view, plain_color(image, drawn, i, views), atol=5e-6)


@pytest.mark.parametrize("form", ["switch", pytest.param("select", marks=pytest.mark.slow)])
def test_views_do_not_depend_on_the_batch_or_its_order(form):
    make = device.make_views(config.Views(), 24, SEED, form=form)
    batch = whole_batch(8)
    together = make(batch).numpy().reshape(2, 8, 24, 24, 3)
    order = np.array([5, 2, 7])
    some = make({name: tf.gather(value, order) for name, value in batch.items()})
    some = some.numpy().reshape(2, 3, 24, 24, 3)
    np.testing.assert_allclose(some, together[:, order], atol=2e-6)


def test_epoch_seed_and_view_change_the_views():
    batch = whole_batch()
    views = config.Views()
    base = device.make_views(views, 24, SEED)(batch).numpy()
    later = device.make_views(views, 24, SEED)({**batch, "epoch": batch["epoch"] + 1}).numpy()
    seeded = device.make_views(views, 24, SEED + 1)(batch).numpy()
    for other in (later, seeded, np.roll(base, 6, axis=0)):
        assert np.abs(other - base).mean(axis=(1, 2, 3)).min() > 0.01


def test_host_crops_equal_device_crops_up_to_rounding():
    plain = config.Views(color_jitter_strength=0.0, use_blur=False)
    batch = whole_batch()
    drawn = {**batch, **host.window_draws(batch, SEED, plain)}
    crops = []
    for example in ({name: value[i] for name, value in drawn.items()} for i in range(6)):
        image = example["images"]
        boxes = host.windows_of(example, plain)(*image.shape[:2])
        crops.append(host.host_crops(image, boxes, example, SEED, plain, 24))
    make = device.make_views(plain, 24, SEED)
    on_host = make({**batch, "images": tf.stack(crops)})
    on_device = make(batch)
    np.testing.assert_allclose(on_host, on_device, atol=0.5 / 255 + 1e-5)


def test_crop_and_flip_only_leaves_colours_alone():
    plain = config.Views(color_jitter_strength=0.0, use_blur=False)
    batch = whole_batch()
    one = device.make_views(plain, 24, SEED, num_views=1)(batch)
    assert one.shape == (6, 24, 24, 3)
    np.testing.assert_allclose(one, plain_views(batch, plain, 24)[:6], atol=5e-6)


@pytest.mark.parametrize("num_views", [1, 3])
def test_view_number_v_is_the_same_whatever_num_views(num_views):
    batch = whole_batch()
    views = config.Views()
    two = device.make_views(views, 24, SEED)(batch).numpy()
    other = device.make_views(views, 24, SEED, num_views=num_views)(batch).numpy()
    assert len(other) == 6 * num_views
    np.testing.assert_allclose(other[: min(12, len(other))], two[: len(other)], atol=2e-6)


def test_views_made_once_are_those_of_the_compiled_function():
    batch = whole_batch()
    compiled = device.make_views(config.Views(), 24, SEED)(batch)
    once = device.make_views(config.Views(), 24, SEED, once=True)(batch)
    np.testing.assert_allclose(once, compiled, atol=2e-6)


def test_small_grey_digits_work():
    digits = np.repeat(np.random.default_rng(0).integers(0, 17, (4, 8, 8, 1)) * 15, 3, axis=-1)
    batch = batch_of(digits.astype("uint8"))
    views = device.make_views(config.Views(crop_area_min=0.25), 16, SEED)(batch).numpy()
    assert views.shape == (8, 16, 16, 3) and np.isfinite(views).all()


@pytest.mark.parametrize("form", ["switch", pytest.param("select", marks=pytest.mark.slow)])
def test_compiles_inside_a_compiled_step(form):
    make = device.make_views(config.Views(), 24, SEED, form=form)
    batch = whole_batch()
    step = tf.function(lambda batch: tf.reduce_mean(make(batch), axis=[1, 2, 3]), jit_compile=True)
    want = np.mean(make(batch), axis=(1, 2, 3))
    np.testing.assert_allclose(step(batch), want, atol=2e-6)


def test_replicas_give_the_views_of_one(two_replicas):
    make = device.make_views(config.Views(), 24, SEED)
    batch = whole_batch()
    shards = two_replicas.experimental_distribute_values_from_function(
        lambda c: {k: v[c.replica_id_in_sync_group * 3 :][:3] for k, v in batch.items()}
    )
    got = tf.function(lambda shards: two_replicas.run(make, args=(shards,)))(shards)
    got = [v.numpy().reshape(2, 3, 24, 24, 3) for v in two_replicas.experimental_local_results(got)]
    want = make(batch).numpy().reshape(2, 6, 24, 24, 3)
    np.testing.assert_allclose(np.concatenate(got, axis=1), want, atol=2e-6)
