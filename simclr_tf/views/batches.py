"""Batches for the train step and for evaluation: composes `data` (images) and `views` (crops)."""

from typing import Any, Dict, Iterable, Union

from simclr_tf import config
from simclr_tf.data import decoding, order, preprocess
from simclr_tf.data.batches import as_written, mapped_batches
from simclr_tf.stack import no_autograph, tf
from simclr_tf.views import device, host, policy

_AHEAD = 2  # batches prepared while a step runs, besides what tf.data tunes itself


@no_autograph
def train_batches(
    source: Any,
    views: config.Views,
    image_size: int,
    global_batch_size: Union[int, order.Share],
    seed: int,
    start_step: int = 0,
    num_views: int = 2,
) -> tf.data.Dataset:
    """Endless shuffled batches of images, ready for the function of `device.make_views`.

    Args:
        source: data.sources.Source.
        views: config.Views.
        image_size: int, s.
        global_batch_size: int, b, images per step over all replicas;
            `strategy.experimental_distribute_dataset` splits the batches. Or data.order.Share of
            it, of one worker: b is then its piece, and replicas take the batches in turns.
        seed: int, the run's seed.
        start_step: int; the batches of a resumed run continue those of the first.
        num_views: int, v.
    Returns:
        tf.data.Dataset of {"images": uint8 [b, h, w, 3] for small images of one size, else crops
        uint8 [b, v, s, s, 3], "id": int64 [b], "epoch": int32 [b], "label": int32 [b]}.
        With resize_on=device larger images come as uint8 [b, c, c, 3] and "boxes" int32
        [b, v, 4]; with augment_on=host all come as finished views float32 [b, v, s, s, 3].
        Images of `source.channels` other than 3 have those in place of 3.
    """
    share = order.share_of(global_batch_size).at(start_step)
    if stored_whole(source, views):
        batches = _whole_batches(source, share, seed)
    else:
        shapes, crop = _cropper(source.channels, views, image_size, seed, num_views)

        def draw(examples):
            return host.window_draws(examples, seed, views, num_views)

        batches = mapped_batches(source, crop, share.piece, seed, share, shapes, draw)
    if views.augment_on == "host":
        finish = _finisher(source.channels, views, image_size, seed, num_views)
        batches = batches.map(finish, tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(_AHEAD)


def _cropper(channels, views, image_size, seed, num_views):
    """What is done to each larger image: (shapes to pad to or None, example -> its tensors)."""
    on_canvas = views.resize_on == "device"
    if on_canvas:
        host.check_canvas(views.canvas_size, image_size, num_views)

    def crop(example):
        windows = host.windows_of(example, views)
        image, boxes = decoding.decode_windows(example["image"], windows, channels)
        if not on_canvas:
            crops = host.host_crops(image, boxes, example, seed, views, image_size)
            shape = [num_views, image_size, image_size, channels]
            return _batch_of(tf.ensure_shape(crops, shape), example)
        canvas, boxes = host.host_canvas(image, boxes, views, image_size)
        return {**_batch_of(canvas, example), "boxes": tf.ensure_shape(boxes, [num_views, 4])}

    canvas = {"images": [views.canvas_size] * 2 + [channels], "boxes": [num_views, 4]}
    return {**canvas, "id": [], "epoch": [], "label": []} if on_canvas else None, crop


def _finisher(channels, views, image_size, seed, num_views):
    """The map of a batch to finished views, for --augment_on=host: float32 [b, v, s, s, 3]."""
    make_views = device.make_views(views, image_size, seed, num_views, form="switch")

    def finish(batch):
        by_view = tf.reshape(make_views(batch), [num_views, -1] + [image_size] * 2 + [channels])
        return _batch_of(tf.transpose(by_view, [1, 0, 2, 3, 4]), batch)

    return finish


def _whole_batches(source, share, seed):
    """Batches of small images as they are stored; `device.make_views` crops them."""
    shape = [share.piece, *source.image_shape]
    if source.arrays() is None:
        examples = source.stream(seed, share)
        batches = examples.batch(share.piece, drop_remainder=True)
        return batches.map(lambda e: _batch_of(tf.ensure_shape(e["image"], shape), e))
    labels = tf.constant(source.labels)

    def at(piece):  # one gather per batch: a quarter of the cost of one per image
        numbers = piece * share.piece + tf.range(share.piece, dtype=tf.int64)
        ids, epochs = order.shuffled_ids(share.positions(numbers), source.num_examples, seed)
        example = {"id": ids, "epoch": epochs, "label": tf.gather(labels, ids)}
        return _batch_of(tf.ensure_shape(source.load(ids), shape), example)

    pieces = tf.data.Dataset.range(tf.int64.max // (share.batch * share.stride))
    return as_written(pieces.map(at, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True))


def stored_whole(source, views):
    """Whether train batches hold the images of a source as they are; views: config.Views."""
    return cropped_on_device(source) and not policy.wanted(views)


def cropped_on_device(source):
    """Whether the images of a source are small and equal, so that whole batches are cropped."""
    return source.image_shape is not None and max(source.image_shape[:2]) <= device.WHOLE_MAX


@no_autograph
def eval_batches(source: Any, image_size: int, batch_size: int) -> Iterable[Dict[str, tf.Tensor]]:
    """One pass in source order, without randomness; the last batch may be smaller.

    An image that cannot be read is replaced by another one with that one's label, and noted in
    `source.quarantine`.

    Args:
        source: data.sources.Source.
        image_size: int, s.
        batch_size: int, images per batch.
    Returns:
        an iterable of {"images": float32 [<= batch_size, s, s, c] in [0, 1], "label": int32,
        "id": int64}, as often as wanted.
    Raises:
        DataError: (while it is read) an image cannot be used and --strict_data is set, or no
            stand-in can be used either.
    """

    channels = source.channels

    def prepare(example):
        image = preprocess.eval_image(decoding.decode(example["image"], channels), image_size)
        image = tf.ensure_shape(image, [image_size, image_size, channels])
        return {"images": image, "label": example["label"], "id": example["id"]}

    return _Checked(mapped_batches(source, prepare, batch_size).prefetch(_AHEAD), source.quarantine)


class _Checked:
    """The batches of a dataset; if an image stops them, the error names it and says what to do."""

    def __init__(self, dataset, quarantine):
        self._dataset = dataset
        self._quarantine = quarantine

    def __iter__(self):
        try:
            yield from self._dataset
        except tf.errors.OpError:
            self._quarantine.check()
            raise


def _batch_of(images, example):
    return {"images": images, **{name: example[name] for name in ("id", "epoch", "label")}}
