"""The EXIF orientation of a JPEG or PNG, read from its bytes inside the graph.

Every pipeline of images holds this graph, and starting one takes time for each of its operations. So
bytes are compared and added up as vectors.
"""

from simclr_tf.stack import tf

_SEGMENTS = 4  # EXIF is the first or second segment in practice
_TIFF_BYTES = 4096  # the first directory, which holds the orientation, is at the beginning
_ORIENTATION_TAG = 0x0112
_CHUNKS = 4096  # of a PNG in which eXIf is looked for; with 8 KiB in each it is 32 MiB long
_SEGMENT_OF_EXIF = (0xE1, *b"Exif\x00\x00")  # marker and name
_SEGMENT_PLACES = (1, 4, 5, 6, 7, 8, 9)  # where these stand in a segment


def jpeg_orientation(encoded):
    """The orientation stored in a JPEG.

    Args:
        encoded: string [], a JPEG.
    Returns:
        int32 [], 1 (upright) to 8; 1 where there is none or it cannot be read.
    """
    place = tf.constant(2)
    exif = tf.constant(-1)
    for _ in range(_SEGMENTS):
        head = _bytes(encoded, place, 10)
        is_exif = tf.reduce_all(tf.gather(head, _SEGMENT_PLACES) == _SEGMENT_OF_EXIF)
        exif = tf.where(is_exif & (exif < 0), place + 10, exif)
        place = place + 2 + tf.reduce_sum(head * [0, 0, 256, 1, 0, 0, 0, 0, 0, 0])
    return tf.cond(exif >= 0, lambda: _read_tiff(encoded, exif), lambda: tf.constant(1))


def png_orientation(encoded):
    """The orientation in the eXIf chunk of a PNG, wherever it stands among the first chunks; as
    `jpeg_orientation`."""
    length = tf.strings.length(encoded)

    def step(place, exif):
        head = _bytes(encoded, place, 8)  # length, name; the data and 4 bytes of checksum follow
        size = tf.reduce_sum(head[:4] * [256**3, 256**2, 256, 1])
        exif = tf.where(tf.reduce_all(head[4:] == tuple(b"eXIf")), place + 8, exif)
        return place + 12 + tf.clip_by_value(size, 0, length), exif

    def more(place, exif):
        return (exif < 0) & (place + 12 <= length)

    start = (tf.constant(8), tf.constant(-1))
    _, exif = tf.while_loop(more, step, start, maximum_iterations=_CHUNKS)
    return tf.cond(exif >= 0, lambda: _read_tiff(encoded, exif), lambda: tf.constant(1))


def _bytes(encoded, start, count):
    """int32 [count], zero beyond the end."""
    start = tf.minimum(start, tf.strings.length(encoded))
    found = tf.strings.substr(encoded, start, count)
    return tf.cast(tf.io.decode_raw(found, tf.uint8, fixed_length=count), tf.int32)


def _read_tiff(encoded, start):
    tiff = _bytes(encoded, start, _TIFF_BYTES)
    little = tiff[0] == 0x49

    def number(places, width):
        digits = tf.gather(tiff, tf.minimum(places[..., tf.newaxis] + tf.range(width), _TIFF_BYTES - 1))  # fmt: skip
        places_of = [256**i for i in range(width)]
        weights = tf.where(little, places_of, places_of[::-1])
        return tf.reduce_sum(digits * weights, axis=-1)  # a sign bit wraps, as in int32

    directory = tf.clip_by_value(number(tf.constant(4), 4), 8, _TIFF_BYTES - 14)
    count = tf.minimum(number(directory, 2), 256)
    entries = directory + 2 + 12 * tf.range(count)
    values = number(entries + 8, 2) * tf.cast(number(entries, 2) == _ORIENTATION_TAG, tf.int32)
    found = tf.reduce_max(tf.concat([values, [0]], 0))
    return tf.where((found >= 1) & (found <= 8), found, 1)
