"""The operators on a batch of crops, in the two forms that suit a CPU and an accelerator.

Both give the same views (within 2e-6). `switch` visits one image after another and runs only the
operators drawn for it; that is fastest on a CPU. `select` applies every operator to the whole
batch and keeps what was drawn; that is what wide devices want.
"""

from simclr_tf.config import listed
from simclr_tf.stack import tf
from simclr_tf.views import (
    blur,
    color,
    study,  # noqa: F401 (registers its operators)
)
from simclr_tf.views import draws as d
from simclr_tf.views.operators import OPERATORS, register

_NOTHING = 1000  # above all codes of operators


def _clip(images):
    return tf.clip_by_value(images, 0.0, 1.0)


def stages(views):
    """The operators that can change anything, in their order."""
    return tuple(name for name in listed(views.operators) if not OPERATORS[name].idle(views))


def needs_draws(views):
    """Whether any operator outside the paper's recipe is asked for, see `operators.draw`."""
    return any(not OPERATORS[name].in_recipe for name in stages(views))


def switch(images, drawn, views):
    """One image at a time, only the drawn operators.

    Args:
        images: float32 [n, s, 3, s], around [0, 1].
        drawn: {"draws": draws.Draws of n rows, "operators": operators.AllDraws if
            `needs_draws`}.
        views: config.Views.
    Returns:
        float32 [n, s, 3, s] in [0, 1].
    """
    names = stages(views)
    if not names:
        return _clip(images)
    codes, count = _program(names, drawn)
    most = codes.shape[1]

    def distort(row):
        image, codes, count, drawn = row
        _, image = tf.while_loop(
            lambda step, image: step < count,
            lambda step, image: (step + 1, _apply(image, codes[step], drawn, views, names)),
            (0, image),
            maximum_iterations=most,
        )
        return _clip(image)

    rows = (images, codes, count, drawn)
    return tf.map_fn(distort, rows, fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32))


def _apply(image, code, drawn, views, names):
    """One operator on one image float32 [s, 3, s], by its code.

    Color and blur are several codes each: every one is a step of the loop of its own.
    """
    factors = drawn["draws"].factors
    radius = blur.radius_of(image.shape[-1])
    branches = {}
    if "color" in names:
        for at, operator in enumerate(color.operators(views)):
            branches[at] = lambda operator=operator, at=at: _clip(operator(image, factors[at]))
        branches[d.GRAYSCALE] = lambda: color.grayscale(image)
    if "blur" in names:
        sigma = factors[d.BLUR]
        mirrored = views.as_torchvision
        branches[d.BLUR] = lambda: blur.along(_clip(image), 0, sigma, radius, mirrored)
        branches[d.BLUR_ACROSS] = lambda: blur.along(image, 2, sigma, radius, mirrored)
    for name in names:
        one = OPERATORS[name]
        if not one.in_recipe:
            alone = tf.nest.map_structure(lambda x: x[None], drawn["operators"]).of(name)
            branches[d.OPERATORS + one.number] = lambda one=one, alone=alone: one.function(
                _clip(image)[None], alone, views
            )[0]
    known = sorted(branches)
    place = tf.reduce_sum(tf.cast(tf.constant(known) < code, tf.int32))
    return tf.switch_case(place, [branches[code] for code in known])


def _program(names, drawn):
    """The drawn operators of each row in their order: codes int32 [n, k], and their number [n]."""
    draws = drawn["draws"]
    columns = []

    def add(applied, codes):
        columns.append(tf.where(applied[:, None], codes, _NOTHING))

    for name in names:
        if name == "color":
            add(draws.jitter, draws.order)
            add(draws.grayscale, d.GRAYSCALE)
        elif name == "blur":
            add(draws.blur, d.BLUR)
            add(draws.blur, d.BLUR_ACROSS)
        else:
            add(drawn["operators"].applied_of(name), d.OPERATORS + OPERATORS[name].number)
    codes = tf.concat(columns, axis=1)
    idle = tf.cast(codes == _NOTHING, tf.int32)
    codes = tf.gather(codes, tf.argsort(idle, axis=1, stable=True), axis=1, batch_dims=1)
    return codes, codes.shape[1] - tf.reduce_sum(idle, axis=1)


def select(images, drawn, views):
    """The whole batch at once; arguments and result as `switch`."""
    for name in stages(views):
        one = OPERATORS[name]
        if one.in_recipe:
            images = one.function(images, drawn["draws"], views)
        else:
            applied = drawn["operators"].applied_of(name)
            result = one.function(_clip(images), drawn["operators"].of(name), views)
            images = tf.where(applied[:, None, None, None], result, images)
    return _clip(images)


@register(
    "blur",
    settings=("use_blur", "blur_prob", "blur_sigma_min", "blur_sigma_max", "torchvision_ops"),
    in_recipe=True,
    idle=lambda views: not views.use_blur,
)
def _select_blur(images, draws, views):
    radius = blur.radius_of(images.shape[-1])
    if not radius:
        return images
    sigma = draws.factors[:, d.BLUR]
    return blur.by_matrices(_clip(images), sigma, draws.blur, radius, views.as_torchvision)


@register(
    "color",
    settings=(
        "aug_impl",
        "torchvision_ops",
        "color_jitter_strength",
        "jitter_prob",
        "brightness",
        "contrast",
        "saturation",
        "hue",
        "grayscale_prob",
    ),
    in_recipe=True,
    idle=lambda views: views.color_jitter_strength == 0,
)
def _select_color(images, draws, views):
    operators = color.operators(views)
    factors = [draws.factors[:, at, None, None, None] for at in range(len(operators))]

    def step(k, images):
        drawn = tf.where(draws.jitter, draws.order[:, k], _NOTHING)[:, None, None, None]
        result = images
        for at, operator in enumerate(operators):
            result = tf.where(drawn == at, _clip(operator(images, factors[at])), result)
        return k + 1, result

    # a loop, not four copies: XLA would compute each step anew for every use in the next
    _, images = tf.while_loop(lambda k, _: k < 4, step, (0, images), maximum_iterations=4)
    return tf.where(draws.grayscale[:, None, None, None], color.grayscale(images), images)
