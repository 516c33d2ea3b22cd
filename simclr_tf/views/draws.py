"""What is drawn for each view: the random numbers turned into windows, factors and an order."""

import itertools
import typing

from simclr_tf import streams
from simclr_tf.config import listed
from simclr_tf.stack import tf
from simclr_tf.views import rng

TRIES = streams.CROP_TRIES
_RECIPE = streams.VIEW["recipe"]
_ORDERS = tuple(itertools.permutations(range(4)))
BRIGHTNESS, CONTRAST, SATURATION, HUE, GRAYSCALE, BLUR, BLUR_ACROSS, OPERATORS = range(8)  # codes


class Rows(typing.NamedTuple):
    """Which views to draw: int32 [n], int64 [n], int32 [n]."""

    epoch: typing.Any
    ids: typing.Any
    view: typing.Any


class Draws(typing.NamedTuple):
    """The colour and blur choices of n views.

    flip, jitter, grayscale, blur: bool [n]. order: int32 [n, 4], operator codes.
    factors: float32 [n, 6] indexed by operator code (grayscale's is unused; blur's is sigma).
    """

    flip: typing.Any
    jitter: typing.Any
    order: typing.Any
    grayscale: typing.Any
    blur: typing.Any
    factors: typing.Any


def rows_of(batch, num_views):
    """Rows of the views of a batch, all first views first; "id" int64 [b], "epoch" int32 [b].

    `num_views` is an int, or the range of the numbers of the views where they do not begin at 0.
    With "view" int32 [b] in the batch: one row per image, its view of that number.
    """
    if "view" in batch:
        return Rows(batch["epoch"], batch["id"], batch["view"])
    numbers = num_views if isinstance(num_views, range) else range(num_views)
    view = tf.repeat(tf.range(numbers.start, numbers.stop), batch["id"].shape[0])
    times = [len(numbers)]
    return Rows(tf.tile(batch["epoch"], times), tf.tile(batch["id"], times), view)


def crop_rows(views, rows):
    """The rows whose crop and flip are drawn: the first view's for all if asymmetric."""
    return rows._replace(view=tf.zeros_like(rows.view)) if views.asymmetric else rows


def distorted(views, rows):
    """bool [n]: whether the operators apply to a row; if asymmetric, only to first views."""
    return (rows.view == 0) | (not views.asymmetric)


def ranges(views):
    """(low, high) of each factor by operator code, at the settings' strength."""
    strength = views.color_jitter_strength

    def around_one(spread):
        return max(1.0 - spread * strength, 0.0), 1.0 + spread * strength

    brightness = around_one(views.brightness)
    if views.aug_impl == "simclr_v1":
        brightness = (-views.brightness * strength, views.brightness * strength)
    return (
        brightness,
        around_one(views.contrast),
        around_one(views.saturation),
        (-views.hue * strength, views.hue * strength),
        (0.0, 0.0),
        (views.blur_sigma_min, views.blur_sigma_max),
    )


def draw(views, seed, rows, u=None):
    """Draws flip, colour and blur of each row.

    Args:
        views: config.Views.
        seed: int.
        rows: Rows.
        u: float32 [n, 10], the draws "recipe" of streams.VIEW, if they are made already.
    Returns:
        Draws.
    """
    if u is None:
        u = rng.uniforms(seed, *rows, first=_RECIPE.first, count=_RECIPE.count)
    shared = crop_rows(views, rows)
    u_flip = u if shared is rows else rng.uniforms(seed, *shared, first=_RECIPE.first, count=2)
    names = listed(views.operators)
    active = distorted(views, rows)
    color = views.color_jitter_strength > 0 and "color" in names
    jitter_prob = views.jitter_prob if color else 0.0
    grayscale_prob = views.grayscale_prob if color else 0.0
    blur_prob = views.blur_prob if views.use_blur and "blur" in names else 0.0
    low, high = zip(*ranges(views))
    u_factors = tf.gather(u, [3, 4, 5, 6, 7, 9], axis=1)
    factors = tf.constant(low) + u_factors * (tf.constant(high) - tf.constant(low))
    return Draws(
        flip=u_flip[:, 0] < (0.5 if views.flip else 0.0),
        jitter=(u[:, 1] < jitter_prob) & active,
        order=tf.gather(tf.constant(_ORDERS), tf.cast(u[:, 2] * len(_ORDERS), tf.int32)),
        grayscale=(u[:, 7] < grayscale_prob) & active,
        blur=(u[:, 8] < blur_prob) & active,
        factors=factors,
    )


def window_uniforms(seed, rows, numbers=streams.VIEW["crop"]):
    """The draws of `geometry.windows`.

    Args:
        seed: int.
        rows: Rows.
        numbers: streams.Draws, `streams.WINDOW` of them.
    Returns:
        float32 [n, TRIES, 2], the shapes tried, and float32 [n, 2], the place.
    """
    return of_window(rng.uniforms(seed, *rows, first=numbers.first, count=numbers.count))


def of_window(u):
    """float32 [n, streams.WINDOW] in [0, 1) as the two parts that `geometry.windows` takes."""
    place = 2 * TRIES
    return tf.reshape(u[:, :place], [-1, TRIES, 2]), u[:, place:]
