"""Two random views per example by `tf.image` operators, one example at a time.

The plain way that the fast forms are measured against: what the official code does, op by op
(arXiv:2002.05709, appendix A), with the stateful draws, the conversions of the whole image to float, the nested
`tf.cond` of the random order, and the blur of the finished batch with one sigma per view.
"""

from simclr_tf.stack import tf


def random_apply(function, probability, image):
    draw = tf.random.uniform([], 0.0, 1.0)
    return tf.cond(draw < probability, lambda: function(image), lambda: image)


def crop_and_resize(image, size):
    box = tf.constant([0.0, 0.0, 1.0, 1.0], shape=[1, 1, 4])
    begin, extent, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image),
        box,
        min_object_covered=0.1,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=100,
        use_image_if_no_bounding_boxes=True,
    )
    y, x, _ = tf.unstack(begin)
    height, width, _ = tf.unstack(extent)
    crop = tf.image.crop_to_bounding_box(image, y, x, height, width)
    return tf.image.resize([crop], [size, size], "bicubic")[0]


def color_jitter(image, strength):
    spread = 0.8 * strength
    turn = 0.2 * strength
    order = tf.random.shuffle(tf.range(4))

    def brightness(image):
        return image * tf.random.uniform([], max(1.0 - spread, 0.0), 1.0 + spread)

    def contrast(image):
        return tf.image.random_contrast(image, 1.0 - spread, 1.0 + spread)

    def saturation(image):
        return tf.image.random_saturation(image, 1.0 - spread, 1.0 + spread)

    def hue(image):
        return tf.image.random_hue(image, turn)

    for place in range(4):
        number = order[place]

        def low(image=image, number=number):
            return tf.cond(number < 1, lambda: brightness(image), lambda: contrast(image))

        def high(image=image, number=number):
            return tf.cond(number < 3, lambda: saturation(image), lambda: hue(image))

        image = tf.clip_by_value(tf.cond(number < 2, low, high), 0.0, 1.0)
    return image


def to_gray(image):
    return tf.tile(tf.image.rgb_to_grayscale(image), [1, 1, 3])


def one_view(image, size, strength):
    """uint8 [h, w, 3] -> float32 [size, size, 3], everything but the blur."""
    image = tf.image.convert_image_dtype(image, tf.float32)
    image = random_apply(lambda image: crop_and_resize(image, size), 1.0, image)
    image = tf.image.random_flip_left_right(image)
    image = random_apply(lambda image: color_jitter(image, strength), 0.8, image)
    image = random_apply(to_gray, 0.2, image)
    return tf.clip_by_value(tf.reshape(image, [size, size, 3]), 0.0, 1.0)


def two_views(image, size, strength):
    """uint8 [h, w, 3] -> float32 [size, size, 6]: both views, along the channels."""
    return tf.concat([one_view(image, size, strength) for _ in range(2)], -1)


def gaussian_blur(images, size):
    """One sigma for the batch; half of the images keep their pixels."""
    radius = size // 10 // 2
    sigma = tf.random.uniform([], 0.1, 2.0)
    x = tf.cast(tf.range(-radius, radius + 1), tf.float32)
    taps = tf.exp(-tf.square(x) / (2.0 * tf.square(sigma)))
    taps = tf.reshape(taps / tf.reduce_sum(taps), [1, -1, 1, 1])
    taps = tf.tile(taps, [1, 1, 3, 1])
    blurred = tf.nn.depthwise_conv2d(images, taps, [1, 1, 1, 1], "SAME")
    down = tf.transpose(taps, [1, 0, 2, 3])
    blurred = tf.nn.depthwise_conv2d(blurred, down, [1, 1, 1, 1], "SAME")
    keep = tf.random.uniform([tf.shape(images)[0], 1, 1, 1]) < 0.5
    return tf.where(keep, images, blurred)


def blur_batch(pairs, size):
    """float32 [b, size, size, 6] -> float32 [2 b, size, size, 3], blurred and clipped."""
    views = [gaussian_blur(view, size) for view in tf.split(pairs, 2, axis=-1)]
    return tf.clip_by_value(tf.concat(views, 0), 0.0, 1.0)
