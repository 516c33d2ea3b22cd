"""Colour, grayscale and blur of a batch, in the two forms that suit a CPU and an accelerator.

Both give the same views (within 2e-6). `switch` visits one image after another and runs only the
operators drawn for it; that is fastest on a CPU. `select` applies every operator to the whole
batch and keeps what was drawn; that is what wide devices want.
"""

from simclr_tf.stack import tf
from simclr_tf.views import blur, color
from simclr_tf.views import draws as d

_STEPS = 7  # at most: four colour operators, grayscale, blur down and across


def _clip(images):
    return tf.clip_by_value(images, 0.0, 1.0)


def switch(images, draws, views):
    """One image at a time, only the drawn operators.

    Args:
        images: float32 [n, s, 3, s], around [0, 1].
        draws: draws.Draws of n rows.
        views: config.Views.
    Returns:
        float32 [n, s, 3, s] in [0, 1].
    """
    if not (views.color_jitter_strength > 0 or views.use_blur):
        return _clip(images)
    codes, steps = _program(draws)

    def distort(row):
        image, codes, steps, factors = row
        _, image = tf.while_loop(
            lambda step, image: step < steps,
            lambda step, image: (step + 1, _apply(image, codes[step], factors, views)),
            (0, image),
            maximum_iterations=_STEPS,
        )
        return _clip(image)

    rows = (images, codes, steps, draws.factors)
    return tf.map_fn(distort, rows, fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32))


def _apply(image, code, factors, views):
    radius = blur.radius_of(image.shape[-1])
    branches = [
        lambda operator=operator, at=at: _clip(operator(image, factors[at]))
        for at, operator in enumerate(color.operators(views.aug_impl))
    ]
    branches.append(lambda: color.grayscale(image))
    branches.append(lambda: blur.along(_clip(image), 0, factors[d.BLUR], radius))
    branches.append(lambda: blur.along(image, 2, factors[d.BLUR], radius))
    return tf.switch_case(code, branches)


def _program(draws):
    """The operators of each row in order, then NOTHING: int32 [n, 7], and their number [n]."""

    def code_if(drawn, code):
        return tf.where(drawn[:, None], code, d.NOTHING)

    codes = tf.concat(
        [
            code_if(draws.jitter, draws.order),
            code_if(draws.grayscale, d.GRAYSCALE),
            code_if(draws.blur, d.BLUR),
            code_if(draws.blur, d.BLUR_ACROSS),
        ],
        axis=1,
    )
    idle = tf.cast(codes == d.NOTHING, tf.int32)
    codes = tf.gather(codes, tf.argsort(idle, axis=1, stable=True), axis=1, batch_dims=1)
    return codes, _STEPS - tf.reduce_sum(idle, axis=1)


def select(images, draws, views):
    """The whole batch at once; arguments and result as `switch`."""
    if views.color_jitter_strength > 0:
        operators = color.operators(views.aug_impl)
        factors = [draws.factors[:, at, None, None, None] for at in range(len(operators))]

        def step(k, images):
            drawn = tf.where(draws.jitter, draws.order[:, k], d.NOTHING)[:, None, None, None]
            result = images
            for at, operator in enumerate(operators):
                result = tf.where(drawn == at, _clip(operator(images, factors[at])), result)
            return k + 1, result

        # a loop, not four copies: XLA would compute each step anew for every use in the next
        _, images = tf.while_loop(lambda k, _: k < 4, step, (0, images), maximum_iterations=4)
        gray = draws.grayscale[:, None, None, None]
        images = tf.where(gray, color.grayscale(images), images)
    images = _clip(images)
    radius = blur.radius_of(images.shape[-1])
    if views.use_blur and radius:
        images = blur.by_matrices(images, draws.factors[:, d.BLUR], draws.blur, radius)
    return _clip(images)
