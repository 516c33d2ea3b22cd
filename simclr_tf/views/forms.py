"""The operators on a batch of crops, in the two forms that suit a CPU and an accelerator.

Both give the same views (within 2e-6). `switch` visits one image after another and runs only the
operators drawn for it; that is fastest on a CPU. `select` applies every operator to the whole
batch and keeps what was drawn; that is what wide devices want.
"""

from simclr_tf.config import listed
from simclr_tf.stack import tf
from simclr_tf.views import blur, color, study
from simclr_tf.views import draws as d

_STUDY_NAMES = tuple(study.OPERATORS)
_NOTHING = d.STUDY + len(_STUDY_NAMES)


def _clip(images):
    return tf.clip_by_value(images, 0.0, 1.0)


def stages(views):
    """The operators that can change anything, in their order."""
    idle = set()
    if views.color_jitter_strength == 0:
        idle.add("color")
    if not views.use_blur:
        idle.add("blur")
    return tuple(name for name in listed(views.operators) if name not in idle)


def switch(images, drawn, views):
    """One image at a time, only the drawn operators.

    Args:
        images: float32 [n, s, 3, s], around [0, 1].
        drawn: {"draws": draws.Draws of n rows, "study": study.StudyDraws if any is wanted}.
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
    """One operator on one image float32 [s, 3, s], by its code."""
    factors = drawn["draws"].factors
    radius = blur.radius_of(image.shape[-1])
    operators = color.operators(views.aug_impl)
    branches = {}
    if "color" in names:
        for at, operator in enumerate(operators):
            branches[at] = lambda operator=operator, at=at: _clip(operator(image, factors[at]))
        branches[d.GRAYSCALE] = lambda: color.grayscale(image)
    if "blur" in names:
        branches[d.BLUR] = lambda: blur.along(_clip(image), 0, factors[d.BLUR], radius)
        branches[d.BLUR_ACROSS] = lambda: blur.along(image, 2, factors[d.BLUR], radius)
    for name in names:
        if name in study.OPERATORS:
            alone = tf.nest.map_structure(lambda x: x[None], drawn["study"])
            branches[d.STUDY + _STUDY_NAMES.index(name)] = lambda name=name, alone=alone: (
                study.OPERATORS[name](_clip(image)[None], alone, views)[0]
            )
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
            at = _STUDY_NAMES.index(name)
            add(drawn["study"].applied[:, at], d.STUDY + at)
    codes = tf.concat(columns, axis=1)
    idle = tf.cast(codes == _NOTHING, tf.int32)
    codes = tf.gather(codes, tf.argsort(idle, axis=1, stable=True), axis=1, batch_dims=1)
    return codes, codes.shape[1] - tf.reduce_sum(idle, axis=1)


def select(images, drawn, views):
    """The whole batch at once; arguments and result as `switch`."""
    draws = drawn["draws"]
    size = images.shape[-1]
    for name in stages(views):
        if name == "color":
            images = _select_color(images, draws, views)
        elif name == "blur" and blur.radius_of(size):
            sigma = draws.factors[:, d.BLUR]
            images = blur.by_matrices(_clip(images), sigma, draws.blur, blur.radius_of(size))
        elif name in study.OPERATORS:
            applied = drawn["study"].applied[:, _STUDY_NAMES.index(name)]
            result = study.OPERATORS[name](_clip(images), drawn["study"], views)
            images = tf.where(applied[:, None, None, None], result, images)
    return _clip(images)


def _select_color(images, draws, views):
    operators = color.operators(views.aug_impl)
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
