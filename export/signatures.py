"""Serving signatures: named inputs, named outputs `h`, `z`, `logits` (those that exist).

serving_default: images float32 [b, h, w, c] in [0, 1], already preprocessed.
serving_uint8: images uint8 [b, h, w, c], any size; the evaluation preprocessing is inside.
serving_bytes: image_bytes string [b], encoded images of different sizes; also returns `ok` [b].
Without RGB (c other than 3) there are no encoded images, so that one is left out.
"""

from simclr_tf.data import decoding, preprocess
from simclr_tf.data.exif import jpeg_orientation
from simclr_tf.stack import tf

SERVED = ("h", "z", "logits")


def make_signatures(module, image_size, channels=3):
    """{signature name: tf.function} over the inference body of `export.module.make_module`.

    Args:
        module: the root object; `module.serve` is called.
        image_size: side in pixels that serving_uint8 and serving_bytes resize to.
        channels: of the images, c.
    """

    def served(images):
        outputs = module.serve(images)
        # each output is an operation of its own name, which converters keep apart
        return {name: tf.identity(outputs[name], name) for name in SERVED if name in outputs}

    floats = tf.TensorSpec([None, None, None, channels], tf.float32, name="images")
    pixels = tf.TensorSpec([None, None, None, channels], tf.uint8, name="images")
    strings = tf.TensorSpec([None], tf.string, name="image_bytes")

    @tf.function(input_signature=[floats], autograph=False)
    def serving_default(images):
        return served(images)

    @tf.function(input_signature=[pixels], autograph=False)
    def serving_uint8(images):
        return served(_preprocess(images, image_size))

    @tf.function(input_signature=[strings], autograph=False)
    def serving_bytes(image_bytes):
        images, ok = decode_tolerantly(image_bytes, image_size)
        outputs = {
            name: tf.where(ok[:, tf.newaxis], value, tf.zeros_like(value))
            for name, value in served(images).items()
        }
        return {**outputs, "ok": ok}

    found = {"serving_default": serving_default, "serving_uint8": serving_uint8}
    return {**found, "serving_bytes": serving_bytes} if channels == 3 else found


def _preprocess(images, image_size):
    with tf.device("cpu:0"):  # bicubic resize has no kernel on accelerators
        return tf.map_fn(
            lambda image: preprocess.eval_image(image, image_size),
            images,
            fn_output_signature=tf.TensorSpec(
                [image_size, image_size, images.shape[-1]], tf.float32
            ),
        )


def decode_tolerantly(image_bytes, image_size):
    """Decodes and preprocesses encoded images; those that cannot be decoded become zeros.

    A graph cannot catch an error, but a dataset can drop the elements that raise one.

    Args:
        image_bytes: string [b], see `decode_in_graph`.
        image_size: side of the result in pixels.
    Returns:
        (float32 [b, s, s, 3] in [0, 1], bool [b]: decoded).
    """

    def decode(index, encoded):
        return index, preprocess.eval_image(decode_in_graph(encoded), image_size)

    with tf.device("cpu:0"):
        b = tf.shape(image_bytes, out_type=tf.int64)[0]
        size = [image_size, image_size, 3]
        decoded = tf.data.Dataset.from_tensor_slices((tf.range(b), image_bytes))
        decoded = decoded.map(decode, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
        # One row before the images: a dataset without a single good image still has an element.
        first = tf.data.Dataset.from_tensors((tf.constant(-1, tf.int64), tf.zeros(size)))
        index, images = first.concatenate(decoded).batch(b + 1).get_single_element()
        index = index[1:, tf.newaxis]
        ok = tf.scatter_nd(index, tf.ones_like(index[:, 0], tf.int32), b[tf.newaxis])
        shape = tf.concat([b[tf.newaxis], tf.constant(size, tf.int64)], 0)
        images = tf.scatter_nd(index, images[1:], shape)
        return tf.ensure_shape(images, [None, *size]), ok > 0


def decode_in_graph(encoded):
    """`simclr_tf.data.decoding.decode` without its Python fallback, which no file can hold.

    Args:
        encoded: string [], JPEG, PNG, BMP (24 bit, uncompressed) or GIF (first frame).
    Returns:
        uint8 [h, w, 3], upright, alpha over white (as in decoding).
    Raises:
        tf.errors.InvalidArgumentError: anything else.
    """

    def jpeg():
        return decoding.upright(tf.io.decode_jpeg(encoded, channels=3), jpeg_orientation(encoded))

    def png():
        return decoding.decode(tf.io.decode_png(encoded, channels=4))

    def other():
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    is_jpeg = tf.strings.substr(encoded, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(encoded, 0, 4) == b"\x89PNG"
    image = tf.cond(is_jpeg, jpeg, lambda: tf.cond(is_png, png, other))
    return tf.ensure_shape(image, [None, None, 3])
