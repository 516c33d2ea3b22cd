"""The part of the views that runs per batch: inside the train step, compiled with XLA."""

import functools
from typing import Callable, Dict, Union

from simclr_tf import config, stack, streams
from simclr_tf.stack import tf
from simclr_tf.views import draws as d
from simclr_tf.views import forms, geometry, operators, rng, warp

WHOLE_MAX = 64  # images up to this side are stored whole and cropped on the device
_CHUNK_PIXELS = 16 * 32 * 32  # of the views that a CPU works on at once: they stay in its cache


def make_views(
    views: config.Views,
    image_size: int,
    seed: int,
    num_views: Union[int, range] = 2,
    form: str = "auto",
    once: bool = False,
) -> Callable[[Dict[str, tf.Tensor]], tf.Tensor]:
    """Builds the function from a batch to its views.

    Args:
        views: config.Views.
        image_size: int, s.
        seed: int, the run's seed.
        num_views: int, v, or the range of the numbers of v views.
        form: "switch" (fastest on a CPU), "select" (for accelerators) or "auto".
        once: for a single call: neither traced nor compiled, which takes seconds for each setting.
    Returns:
        a function(batch) -> float32 [v * b, s, s, 3] in [0, 1], all first views first; with
        "view" int32 [b] in the batch, [b, s, s, 3], that view of each image. `batch` is a dict of
        "id" int64 [b], "epoch" int32 [b] and "images", one of
        uint8 [b, h, w, 3], whole images: crop, resize, flip and operators happen here; the
        windows are drawn, or given as "boxes" int32 [b, v, 4] (y, x, height, width);
        uint8 [b, v, s, s, 3], crops from `host.host_crops`: flip and operators happen here;
        float32 [b, v, s, s, 3], views finished on the host: only their order changes.
        Shapes must be static; where 3 is written there may be any number of channels, if `views`
        are `channels.without_color`. It compiles alone and inside a compiled step.
    """
    if form == "auto":
        form = "select" if once else preferred_form()
    make = _function if once else _compiled
    function = make(views, image_size, seed, num_views, form)
    names = ("images", "id", "epoch", "view", "boxes")
    return lambda batch: function({name: batch[name] for name in names if name in batch})


# compiled once for the trainings of a process; 50 MiB and more each
@functools.lru_cache(maxsize=8)
def _compiled(*arguments):
    """`_function` of the arguments, compiled with XLA."""
    return tf.function(_function(*arguments), jit_compile=True, autograph=False)


def _function(views, image_size, seed, num_views, form):
    """The function of `make_views` for a batch without other entries; same arguments."""

    def build(batch):
        if batch["images"].dtype == tf.float32:
            return _rows_first(batch["images"], batch.get("view"))
        rows = d.rows_of(batch, num_views)
        drawn = _drawn_together(batch, rows, views, seed)
        finished = _recipe(batch, rows, views, image_size, seed, form, drawn)
        if warp.wanted(views):
            finished = warp.warp(finished, *warp.draw(views, seed, rows, drawn["warp"]))
        return finished

    return build


def _drawn_together(batch, rows, views, seed):
    """The draws of `streams.VIEW` that the views need, by name; without a crop of other rows."""
    names = ["recipe"]
    if len(batch["images"].shape) == 4 and "boxes" not in batch and not views.asymmetric:
        names.append("crop")
    if warp.wanted(views):
        names.append("warp")
    ranges = [streams.VIEW[name] for name in names]
    return dict(zip(names, rng.several_uniforms(seed, *rows, ranges)))


def _recipe(batch, rows, views, image_size, seed, form, uniforms):
    """Crop (of whole images), flip and operators: float32 [v * b, s, s, 3]."""
    images = batch["images"]
    view = batch.get("view")
    drawn = {"draws": d.draw(views, seed, rows, uniforms["recipe"])}
    if forms.needs_draws(views):
        drawn["operators"] = operators.draw(views, seed, rows, image_size)
    if len(images.shape) == 5:
        images = _rows_first(images, view)
    elif "boxes" in batch:
        drawn["boxes"] = _rows_first(batch["boxes"], view)
    else:
        if "crop" in uniforms:
            tries = d.of_window(uniforms["crop"])
        else:
            tries = d.window_uniforms(seed, d.crop_rows(views, rows))
        drawn["boxes"] = geometry.windows(tries, *images.shape[1:3], views)

    def finish(images, drawn):
        """uint8 [n, ...], draws of n rows -> float32 [n, s, s, 3]."""
        flip = drawn["draws"].flip
        if "boxes" in drawn:
            boxes = drawn["boxes"]
            exact = views.as_torchvision
            planes = geometry.crop_resize(images, boxes, flip, image_size, views.resize, exact)
            planes = tf.clip_by_value(planes, 0.0, 255.0) if exact else planes  # Pillow's are bytes
        else:
            planes = _planes(images, flip)
        planes = getattr(forms, form)(planes * (1.0 / 255.0), drawn, views)
        return tf.transpose(planes, [0, 1, 3, 2])

    if form == "select":
        times = rows.view.shape[0] // images.shape[0]
        return finish(tf.concat([images] * times, axis=0), drawn)
    return _in_chunks(finish, images, drawn, image_size)


def preferred_form():
    """select where there is a GPU or TPU, else switch."""
    return "select" if stack.accelerated() else "switch"


def _in_chunks(finish, images, drawn, image_size):
    """`finish` on a few rows after another; `images` may hold each image once for all views."""
    most = max(1, _CHUNK_PIXELS // image_size**2)
    size = max(c for c in range(1, most + 1) if images.shape[0] % c == 0)

    def split(rows):
        return tf.reshape(rows, [-1, size, *rows.shape[1:]])

    pieces = split(images)
    drawn = tf.nest.map_structure(split, drawn)
    count = drawn["draws"].flip.shape[0]

    def piece(at):
        rows = tf.nest.map_structure(lambda x: tf.gather(x, at), drawn)
        return finish(tf.gather(pieces, at % pieces.shape[0]), rows)

    shape = [size, image_size, image_size, images.shape[-1]]
    done = tf.map_fn(piece, tf.range(count), fn_output_signature=tf.TensorSpec(shape, tf.float32))
    return tf.reshape(done, [count * size, *shape[1:]])


def _rows_first(given, view):
    """[b, v, ...] -> [v * b, ...], or the one `view` int32 [b] of each, [b, ...]."""
    if view is not None:
        return tf.gather(given, view, axis=1, batch_dims=1)
    _, _, *shape = given.shape
    order = [1, 0, *range(2, len(given.shape))]
    return tf.reshape(tf.transpose(given, order), [-1, *shape])


def _planes(crops, flip):
    """uint8 [n, s, s, c] -> float32 [n, s, c, s], flipped left-right where `flip`."""
    planes = tf.transpose(crops, [0, 1, 3, 2])
    return tf.cast(tf.where(flip[:, None, None, None], planes[..., ::-1], planes), tf.float32)
