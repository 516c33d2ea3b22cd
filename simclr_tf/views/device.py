"""The part of the views that runs per batch: inside the train step, compiled with XLA."""

from simclr_tf.stack import tf
from simclr_tf.views import draws as d
from simclr_tf.views import forms, geometry

WHOLE_MAX = 64  # images up to this side are stored whole and cropped on the device


def make_views(views, image_size, seed, num_views=2, form="auto"):
    """Builds the function from a batch to its views.

    Args:
        views: config.Views.
        image_size: int, s.
        seed: int, the run's seed.
        num_views: int, v.
        form: "switch" (fastest on a CPU), "select" (for accelerators) or "auto".
    Returns:
        a function(batch) -> float32 [v * b, s, s, 3] in [0, 1], all first views first. `batch` is
        a dict of "id" int64 [b], "epoch" int32 [b] and "images", one of
        uint8 [b, h, w, 3], whole images: crop, resize, flip, colour and blur happen here;
        uint8 [b, v, s, s, 3], crops from `host.host_crops`: flip, colour and blur happen here;
        float32 [b, v, s, s, 3], views finished on the host: only their order changes.
        Shapes must be static; it compiles alone and inside a compiled step.
    """

    def build(images, ids, epoch):
        if images.dtype == tf.float32:
            return _views_first(images)
        rows = d.rows_of({"id": ids, "epoch": epoch}, num_views)
        drawn = d.draw(views, seed, rows)
        if len(images.shape) == 5:
            planes = _flip(tf.transpose(_views_first(images), [0, 1, 3, 2]), drawn.flip)
            planes = tf.cast(planes, tf.float32)
        else:
            planes = _crop_on_device(images, rows, drawn.flip)
        chosen = form if form != "auto" else preferred_form()
        planes = getattr(forms, chosen)(planes * (1.0 / 255.0), drawn, views)
        return tf.transpose(planes, [0, 1, 3, 2])

    def _crop_on_device(images, rows, flip):
        height, width = images.shape[1:3]
        boxes = geometry.windows(d.window_uniforms(seed, rows), height, width, views)
        whole = tf.tile(images, [num_views, 1, 1, 1])
        return geometry.crop_resize(whole, boxes, flip, image_size, views.resize)

    compiled = tf.function(build, jit_compile=True)
    return lambda batch: compiled(batch["images"], batch["id"], batch["epoch"])


def preferred_form():
    """"select" where there is a GPU or TPU, else "switch"."""
    wide = [*tf.config.list_logical_devices("GPU"), *tf.config.list_logical_devices("TPU")]
    return "select" if wide else "switch"


def _views_first(images):
    """[b, v, s, s, 3] -> [v * b, s, s, 3]."""
    _, _, *shape = images.shape
    return tf.reshape(tf.transpose(images, [1, 0, 2, 3, 4]), [-1, *shape])


def _flip(planes, flip):
    """Left-right, of [n, s, 3, s]."""
    return tf.where(flip[:, None, None, None], planes[..., ::-1], planes)
