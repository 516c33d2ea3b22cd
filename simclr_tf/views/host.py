"""The part of the views that runs per example in tf.data: random crop and resize."""

import math

from simclr_tf.errors import SettingsError
from simclr_tf.stack import tf
from simclr_tf.views import draws as d
from simclr_tf.views import geometry, policy


def window_draws(examples, seed, views, num_views=2):
    """The random numbers behind the windows of n images.

    Drawn for many images at once: for one image their 150 operations would take a third of the
    time of decoding it.

    Args:
        examples: dict with "id" int64 [n] and "epoch" int32 [n].
        seed: int. views: config.Views. num_views: int, v.
    Returns:
        {"tries": float32 [n, v, TRIES, 2], "place": float32 [n, v, 2]} in [0, 1).
    """
    rows = d.crop_rows(views, d.rows_of(examples, num_views))
    tries, place = d.window_uniforms(seed, rows)
    by_view = tf.reshape(tries, [num_views, -1, *tries.shape[1:]])
    places = tf.reshape(place, [num_views, -1, 2])
    return {"tries": tf.transpose(by_view, [1, 0, 2, 3]), "place": tf.transpose(places, [1, 0, 2])}


def windows_of(example, views):
    """The function that `decoding.decode_windows` asks for.

    Args:
        example: dict with a row of `window_draws`.
        views: config.Views.
    Returns:
        function(height, width: int32 []) -> int32 [v, 4].
    """
    uniforms = example["tries"], example["place"]
    return lambda height, width: geometry.windows(uniforms, height, width, views)


def host_crops(image, boxes, example, seed, views, image_size):
    """Crops and resizes one image once per window.

    Args:
        image: uint8 [h, w, c], c static.
        boxes: int32 [v, 4], windows.
        example: dict of its "id" int64 [] and "epoch" int32 [].
        seed: int. views: config.Views.
        image_size: int, s.
    Returns:
        uint8 [v, s, s, c]; not flipped, `device.make_views` does that. Rounding to uint8 changes
        a view by at most 0.5 / 255 before the operators and saves 3/4 of the bytes.
    """
    crops = _resized(image, boxes, views, image_size)
    if policy.wanted(views):
        place = {name: example[name][None] for name in ("id", "epoch")}
        crops = policy.distort(crops, views, seed, d.rows_of(place, boxes.shape[0]))
    return crops


def check_canvas(canvas_size, image_size, num_views):
    """Raises SettingsError if `num_views` crops of an image do not fit on the canvas (pixels)."""
    if (canvas_size // image_size) ** 2 < num_views:
        raise SettingsError(
            f"canvas_size={canvas_size} cannot hold {num_views} crops of {image_size} pixels; give "
            f"at least {image_size * math.ceil(math.sqrt(num_views))}, or --resize_on=host."
        )


def host_canvas(image, boxes, views, image_size):
    """An image to be cropped on the device, and its windows; arguments as `host_crops`.

    An image larger than `views.canvas_size` is cropped and resized here: the crops are laid side
    by side, and the windows are theirs, so that the device copies them.

    Returns:
        uint8 [h, w, c] with h and w up to the canvas size, and int32 [v, 4].
    """
    side = views.canvas_size
    channels = image.shape[-1]
    num_views = boxes.shape[0]
    across = side // image_size

    def tiled():
        crops = _resized(image, boxes, views, image_size)
        empty = tf.zeros([across**2 - num_views, image_size, image_size, channels], tf.uint8)
        tiles = tf.concat([crops, empty], 0)
        tiles = tf.reshape(tiles, [across, across, image_size, image_size, channels])
        tiles = tf.transpose(tiles, [0, 2, 1, 3, 4])
        places = [
            (view // across * image_size, view % across * image_size, image_size, image_size)
            for view in range(num_views)
        ]
        tiles = tf.reshape(tiles, [across * image_size, across * image_size, channels])
        return tiles, tf.constant(places)

    fits = tf.reduce_all(tf.shape(image)[:2] <= side)
    return tf.cond(fits, lambda: (image, boxes), tiled)


def _resized(image, boxes, views, image_size):
    crops = []
    for y, x, height, width in map(tf.unstack, tf.unstack(boxes, num=boxes.shape[0])):
        crop = tf.slice(image, [y, x, 0], [height, width, image.shape[-1]])
        crop = tf.cast(crop, tf.float32)  # pixel by pixel, the kernel takes a third longer
        crop = tf.image.resize(
            crop, [image_size, image_size], views.resize, antialias=views.as_torchvision
        )
        rounded = tf.minimum(tf.nn.relu(crop + 0.5), 255.0)
        crops.append(tf.cast(rounded, tf.uint8))  # before they are joined: a quarter of the bytes
    return tf.stack(crops)
