"""Multi-crop (SwAV, arXiv:2006.09882): small local views beside the views of full size.

Local views are numbered after the others, so each is, as they are, a function of (seed, epoch,
example id, view), and the views of full size are the same with and without them.
"""

import dataclasses

from simclr_tf import config as settings_of
from simclr_tf.data import decoding, order
from simclr_tf.data.batches import mapped_batches
from simclr_tf.errors import SettingsError
from simclr_tf.stack import no_autograph, tf
from simclr_tf.views import host
from simclr_tf.views.batches import stored_whole, train_batches
from simclr_tf.views.device import make_views


def local_size(config):
    """Side of the local views in pixels; config: one with the sections data and multi_crop."""
    return config.multi_crop.local_size or max(8, config.data.image_size * 3 // 7)


def check(config, cached_batch_size=0):
    """Raises SettingsError for what local views do not work with.

    Args:
        config: config with the sections data, views and multi_crop.
        cached_batch_size: int, that of config.Training.
    """
    count = config.multi_crop.local_views
    size = config.data.image_size
    if not count:
        return
    if local_size(config) > size:
        raise SettingsError(
            f"local_size={local_size(config)} is above image_size={size}; local views are smaller, "
            f"such as --local_size={max(8, size * 3 // 7)}."
        )
    views = config.views
    clashes = {
        "cached_batch_size": cached_batch_size,
        "augment_on=host": views.augment_on == "host",
        "resize_on=device": views.resize_on == "device",
        "asymmetric": views.asymmetric,
        f"auto_augment={views.auto_augment}": views.auto_augment != "none",
    }
    for name, clashing in clashes.items():
        if clashing:
            raise SettingsError(f"local_views={count} does not work with {name}; leave one of them out.")  # fmt: skip


def check_encoder(encoder, config):
    """Raises SettingsError if a built encoder cannot take images of the local size.

    Args:
        encoder: built for images of full size; config: config.Pretrain.
    """
    if not config.multi_crop.local_views:
        return
    side = local_size(config)
    try:
        encoder(tf.zeros([1, side, side, config.model.image_channels]), training=False)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise SettingsError(
            f"encoder={config.model.encoder} cannot take local views of {side} pixels; give "
            f"--local_size={config.data.image_size}, or another encoder."
        ) from error


def make_all_views(config, num_views, once=False):
    """The function from a batch of `batches` to its views.

    Args:
        config: config with the sections run, data, views and multi_crop; n local views of l pixels.
        num_views: int, v, views of full size.
        once: as of `device.make_views`.
    Returns:
        that of `device.make_views`; with local views a function(batch) -> (float32 [v * b, s, s,
        c], float32 [n * b, l, l, c]) in [0, 1], all first views of each size first.
    """
    seed = config.run.seed
    whole = make_views(config.views, config.data.image_size, seed, num_views, once=once)
    if not config.multi_crop.local_views:
        return whole
    numbers = range(num_views, num_views + config.multi_crop.local_views)
    local = make_views(_local(config), local_size(config), seed, numbers, once=once)

    def both(batch):
        small = {**batch, "images": batch.get("local_images", batch["images"])}
        return whole(batch), local(small)

    return both


@no_autograph
def batches(source, config, num_views, batch_size, start_step=0):
    """Endless batches of training images, ready for the function of `make_all_views`.

    Args:
        source: data.source.Source.
        config: as of `make_all_views`.
        num_views: int, v.
        batch_size: int, b, images per step over all replicas, or data.order.Share of it.
        start_step: int; the batches of a resumed run continue those of the first.
    Returns:
        as `batches.train_batches`; with local views of larger images also "local_images" uint8
        [b, n, l, l, c]. Small images of one size are stored whole, and cropped to both on the
        device.
    """
    seed = config.run.seed
    views = config.views
    size = config.data.image_size
    if not config.multi_crop.local_views or stored_whole(source, views):
        return train_batches(source, views, size, batch_size, seed, start_step, num_views)
    side = local_size(config)
    count = config.multi_crop.local_views
    local = _local(config)
    channels = source.channels

    def draw(examples):
        return host.window_draws(examples, seed, views, num_views + count)

    def crop(example):
        def windows(height, width):
            large, small = (
                host.windows_of(_of_views(example, part), kind)(height, width)
                for part, kind in ((slice(num_views), views), (slice(num_views, None), local))
            )
            return tf.concat([large, small], axis=0)

        image, boxes = decoding.decode_windows(example["image"], windows, channels)
        large = host.host_crops(image, boxes[:num_views], example, seed, views, size)
        small = host.host_crops(image, boxes[num_views:], example, seed, local, side)
        return {
            "images": tf.ensure_shape(large, [num_views, size, size, channels]),
            "local_images": tf.ensure_shape(small, [count, side, side, channels]),
            **{name: example[name] for name in ("id", "epoch", "label")},
        }

    share = order.share_of(batch_size).at(start_step)
    return mapped_batches(source, crop, share.piece, seed, share, draw=draw).prefetch(2)


def _of_views(example, part):
    """The random numbers of some views of an example; part: slice of the views."""
    return {name: example[name][part] for name in ("tries", "place")}


def _local(config):
    """config.LocalViews: the views with the crops of the local ones."""
    views = dataclasses.asdict(config.views)
    views["crop_area_min"] = config.multi_crop.local_crop_area_min
    views["crop_area_max"] = config.multi_crop.local_crop_area_max
    return settings_of.LocalViews(**views)
