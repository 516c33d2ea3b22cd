"""Encoded bytes -> upright RGB, or the channels of a stack. Runs in tf.data, on the host.

| format | how |
|---|---|
| JPEG, 8 bit: grey, YCbCr, CMYK, YCCK, progressive | TensorFlow; EXIF orientation applied |
| PNG: palette; grey, RGB of 8 or 16 bit (high byte kept); alpha over white; EXIF | TensorFlow |
| BMP, 24 bit uncompressed | TensorFlow |
| WebP, TIFF, AVIF, PPM and PGM, JPEG 2000, HEIC; GIF (first frame); other BMP; grey PNG below 8 bit | Pillow, see `pillow` |
| `.npy`: uint8, uint16, float32 [h, w] or [h, w, c]; TIFF with more than 4 channels | see `stacks` |

The format is told by the first bytes, never by the file name. Pillow runs as Python on the host:
several images at once, because it gives Python's lock away while it decodes.
"""

from simclr_tf.data import pillow, stacks
from simclr_tf.data.exif import jpeg_orientation, png_orientation
from simclr_tf.stack import tf

# A JPEG stores colours at half the width: in a part of it, the last column is right only with the
# next ones, which are those of one block.
NEXT_COLUMNS = 16
SCANS = 16  # of a JPEG, decoded at the price of one image
_WHITE = 255


def decode(image, channels=3):
    """An image as upright RGB, or with the channels of its `.npy` file or TIFF.

    Args:
        image: string [], an encoded image; or uint8 [h, w, c] with 1, 3 or 4 channels, already
            decoded.
        channels: c; other than 3 only `.npy` files and TIFFs have them.
    Returns:
        uint8 [h, w, c].
    Raises:
        tf.errors.InvalidArgumentError: not an image, damaged, of an unknown format or with other
            channels (called outside a graph: ValueError where it is Python that decodes).
    """
    image = tf.convert_to_tensor(image)
    if image.dtype != tf.string:
        return _rgb(image) if channels == stacks.RGB else image
    if channels != stacks.RGB:
        return _decode_stack(image, channels)

    def plain():
        return tf.io.decode_image(image, channels=3, expand_animations=False)

    decoded = tf.cond(is_plain_jpeg(image), plain, lambda: _decode_with_care(image))
    decoded.set_shape([None, None, 3])
    return decoded


def decode_windows(image, windows, channels=3):
    """The part of an image that some windows of it need; of a plain JPEG no more is decoded.

    Args:
        image, channels: as of `decode`.
        windows: function(height, width: int32 []) -> int32 [v, 4]: y, x, height, width, inside.
    Returns:
        uint8 [h, w, c], the part, and int32 [v, 4], the windows in it. Their pixels are those of
        the decoded image.
    Raises:
        tf.errors.InvalidArgumentError: see `decode`.
    """
    if image.dtype != tf.string or channels != stacks.RGB:
        decoded = decode(image, channels)
        shape = tf.shape(decoded)
        return decoded, windows(shape[0], shape[1])
    plain = is_plain_jpeg(image)
    empty = tf.zeros([0, 0, 3], tf.uint8)
    whole = tf.cond(plain, lambda: empty, lambda: _decode_with_care(image))
    shape = tf.cond(plain, lambda: tf.io.extract_jpeg_shape(image), lambda: tf.shape(whole))
    boxes = windows(shape[0], shape[1])
    corner = tf.reduce_min(boxes[:, :2], axis=0)
    end = tf.reduce_max(boxes[:, :2] + boxes[:, 2:], axis=0)
    end = tf.minimum(end + [0, NEXT_COLUMNS], shape[:2])
    part = tf.concat([corner, end - corner], 0)

    def cut():
        return tf.image.decode_and_crop_jpeg(image, part, channels=3)

    pixels = tf.cond(plain, cut, lambda: tf.slice(whole, [*tf.unstack(part[:2]), 0], [*tf.unstack(part[2:]), 3]))  # fmt: skip
    pixels.set_shape([None, None, 3])
    return pixels, boxes - tf.concat([corner, [0, 0]], 0)


def is_plain_jpeg(encoded):
    """Whether one TensorFlow op decodes these bytes correctly: most JPEGs, told by one look.

    True for a JPEG whose tables follow the JFIF segment at once, so without EXIF; only such a
    file may be decoded in part (tf.image.decode_and_crop_jpeg). False says nothing.

    Args:
        encoded: string [].
    Returns:
        bool [].
    """
    behind_jfif = tf.minimum(20, tf.strings.length(encoded))  # beyond the end, substr fails
    return (tf.strings.substr(encoded, behind_jfif, 2) == b"\xff\xdb") & is_jpeg(encoded)


def is_jpeg(encoded):
    """bool []: whether the bytes begin like a JPEG."""
    return tf.strings.substr(encoded, 0, 3) == b"\xff\xd8\xff"


def is_flat_png(content):
    """Whether `tf.io.decode_png` alone decodes these bytes as `decode` does.

    True for a PNG of 8 bit, grey or RGB, with no orientation and no transparent colour. False says
    nothing. In Python, for whoever holds all images in memory: TensorFlow then needs one operation
    in place of the 1,500 that tell formats apart.

    Args:
        content: bytes.
    Returns:
        bool.
    """
    grey_or_rgb = content[24:26] in (b"\x08\x00", b"\x08\x02")
    plain = content[:8] == b"\x89PNG\r\n\x1a\n" and grey_or_rgb
    return plain and b"eXIf" not in content and b"tRNS" not in content


def pixels(encoded):
    """What decoding an image costs, in pixels, without decoding it.

    Width times height, as the decoder that `decode` uses will read them: another place of the
    header may say something else. A JPEG is decoded scan by scan, so `SCANS` scans (the usual
    progressive file has 10) count once, twice as many count twice.

    Args:
        encoded: string [].
    Returns:
        int64 [].
    Raises:
        tf.errors.InvalidArgumentError: no image, or a damaged header.
    """

    def jpeg():
        size = tf.reduce_prod(tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64))
        # every scan begins with this marker, which compressed data cannot contain
        parts = tf.shape(tf.strings.split([encoded], b"\xff\xda").values, tf.int64)[0]
        return size * ((parts - 1 + SCANS - 1) // SCANS)

    return tf.cond(is_jpeg(encoded), jpeg, lambda: _pixels_of_other(encoded))


def in_range(encoded, least, most):
    """An image with values of 16 bit or float as one of 8 bit; others stay as they are.

    Args:
        encoded: string [], as of `decode`.
        least, most: values that become black and white.
    Returns:
        string [], an encoded image: a PNG for a PNG, upright; a `.npy` for a `.npy`, TIFF or PGM.
    Raises:
        tf.errors.InvalidArgumentError: a damaged image.
    """
    head = _head(encoded)
    is_wide_png = tf.reduce_all(head[:4] == tuple(b"\x89PNG")) & (head[24] == 16)

    def png():
        image = tf.io.decode_png(encoded, 4, tf.uint16)
        share = (tf.cast(image[..., :3], tf.float32) - least) / (most - least)
        color = tf.cast(tf.math.rint(255.0 * tf.clip_by_value(share, 0.0, 1.0)), tf.uint8)
        alpha = tf.cast(tf.bitwise.right_shift(image[..., 3:], tf.constant(8, tf.uint16)), tf.uint8)
        image = upright(tf.concat([color, alpha], -1), png_orientation(encoded))
        return tf.io.encode_png(image, compression=1)

    def stack():
        return in_python(lambda content: stacks.in_range(content, least, most), encoded, tf.string)

    def with_pillow():
        return in_python(lambda content: pillow.in_range(content, least, most), encoded, tf.string)

    def others():
        plain = is_jpeg(encoded) | _is_plain_png(head) | _is_plain_bmp(head)
        return tf.cond(plain, lambda: encoded, with_pillow)

    def no_png():
        return tf.cond(is_stack(encoded), stack, others)

    return tf.cond(is_wide_png, png, no_png)


def in_srgb(encoded, max_pixels):
    """A JPEG or PNG whose colour profile is not sRGB as a `.npy` in sRGB; others as they are.

    Args:
        encoded: string [].
        max_pixels: images with more `pixels` are left as they are.
    Returns:
        string [].
    """
    is_png = tf.strings.substr(encoded, 0, 4) == b"\x89PNG"
    may_have_one = (is_jpeg(encoded) & ~is_plain_jpeg(encoded)) | is_png

    most = tf.cast(max_pixels, tf.int64)
    return tf.cond(may_have_one, lambda: _converted(encoded, most), lambda: encoded)


def _called(*dtypes):
    """Decorates a function of scalars: one graph for all pipelines, called and not inlined.

    Its hundreds of operations would otherwise be traced by every pipeline, and set up by every
    iterator, for images that nearly always are plain JPEGs.
    """
    return tf.function(
        input_signature=[tf.TensorSpec([], dtype) for dtype in dtypes],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


@_called(tf.string)
def _pixels_of_other(encoded):
    """`pixels` of what is no JPEG."""

    def stack():
        return in_python(stacks.pixels, tf.strings.substr(encoded, 0, stacks.MOST_HEAD), tf.int64)

    def with_pillow():
        return in_python(pillow.pixels, encoded, tf.int64)

    def other():
        head = _head(encoded)
        plain = _is_plain_png(head) | _is_plain_bmp(head)
        return tf.cond(plain, lambda: _pixels_of_plain(head), with_pillow)

    return tf.cond(is_stack(encoded), stack, other)


@_called(tf.string, tf.int64)
def _converted(encoded, max_pixels):
    """`in_srgb` of an image that may have a profile."""

    def look():
        return in_python(pillow.converted, encoded, tf.string)

    return tf.cond(pixels(encoded) <= max_pixels, look, lambda: encoded)


def is_stack(encoded):
    """bool []: whether the bytes begin like a `.npy` file."""
    return tf.strings.substr(encoded, 0, 6) == b"\x93NUMPY"


def _decode_stack(encoded, channels):
    def decode_it(content):
        return stacks.decode(content, channels)

    return in_python(decode_it, encoded, tf.uint8, [None, None, channels])


def in_python(function, content, dtype, shape=()):
    """function(bytes of a string []) as a tensor of this dtype and shape, also outside a graph."""

    def call(content):  # outside a graph it is an array of one bytes object
        return function(content if isinstance(content, bytes) else content.item())

    # outside a graph, bytes that are no tensor yet would lose their last zeros
    content = tf.convert_to_tensor(content)
    return tf.ensure_shape(tf.numpy_function(call, [content], dtype, stateful=False), shape)


def _is_plain_png(head):
    """Whether TensorFlow decodes a PNG: it leaves grey of 1, 2 and 4 bit unscaled."""
    packed_grey = (head[24] < 8) & (head[25] == 0)
    return tf.reduce_all(head[:4] == tuple(b"\x89PNG")) & ~packed_grey


def _is_plain_bmp(head):
    """Whether TensorFlow decodes a BMP: it reads only 24 bit, uncompressed, faithfully.

    The header of OS/2 has 12 bytes, with a size of 16 bit; those from 40 bytes on agree.
    """
    plain = tf.reduce_all(tf.gather(head, [0, 1, 28, 29, 30]) == (*b"BM", 24, 0, 0))
    return plain & (head[14] >= 40) & tf.reduce_all(head[15:18] == 0)


def _pixels_of_plain(head):
    """PNG stores its size big-endian at byte 16, BMP little-endian at 18."""
    head = tf.cast(head, tf.int64)

    def number(places):
        return sum(tf.gather(head, place) * 256**i for i, place in enumerate(places))

    sides = number((19, 18, 17, 16)), number((23, 22, 21, 20))
    height = number((22, 23, 24, 25))
    upright = number((18, 19, 20, 21)), tf.minimum(height, 2**32 - height)  # negative: from the top
    most = 2**31  # beyond what a decoder takes, and no overflow
    png, bmp = (tf.minimum(a, most) * tf.minimum(b, most) for a, b in (sides, upright))
    return tf.where(head[0] == 0x89, png, bmp)


def _head(encoded):
    """uint8 [34], the first bytes, zero beyond the end."""
    head = tf.io.decode_raw(tf.strings.substr(encoded, 0, 34), tf.uint8)
    return tf.pad(head, [[0, 34 - tf.size(head)]])


@_called(tf.string)
def _decode_with_care(encoded):
    return tf.cond(is_jpeg(encoded), lambda: _decode_jpeg(encoded), lambda: _decode_other(encoded))


def _rgb(image):
    channels = image.shape[-1]
    if channels == 1:
        return tf.repeat(image, 3, axis=-1)
    return _over_white(image) if channels == 4 else image


def _over_white(image):
    """uint8 [h, w, 4] -> uint8 [h, w, 3]: transparent parts show white, as on a web page."""
    color = image[..., :3]
    alpha = image[..., 3:]

    def blend():
        wide = tf.cast(color, tf.int32)
        opacity = tf.cast(alpha, tf.int32)
        mixed = wide * opacity + _WHITE * (255 - opacity)
        return tf.cast((mixed + 127) // 255, tf.uint8)

    return tf.cond(tf.reduce_all(alpha == 255), lambda: color, blend)


def _decode_jpeg(encoded):
    return upright(tf.io.decode_jpeg(encoded, channels=3), jpeg_orientation(encoded))


def _decode_other(encoded):
    head = _head(encoded)

    def with_pillow():
        return in_python(pillow.decode, encoded, tf.uint8, [None, None, 3])

    def bmp():
        return tf.cond(
            _is_plain_bmp(head), lambda: tf.io.decode_bmp(encoded, channels=3), with_pillow
        )

    def png():
        opaque = _over_white(tf.io.decode_png(encoded, channels=4))
        return upright(opaque, png_orientation(encoded))

    def no_png():
        return tf.cond(is_stack(encoded), lambda: _decode_stack(encoded, stacks.RGB), bmp)

    return tf.cond(_is_plain_png(head), png, no_png)


def upright(image, orientation):
    """Turns an image so that its EXIF orientation becomes 1.

    Args:
        image: uint8 [h, w, c].
        orientation: int32 [], 1 to 8 as in EXIF; anything else leaves the image as it is.
    """

    def turn():
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        # After the transposition (5 to 8): which axes still run backwards.
        rows = tf.reduce_any(orientation == [3, 4, 7, 8])
        columns = tf.reduce_any(orientation == [2, 3, 6, 7])
        turned = tf.cond(rows, lambda: turned[::-1], lambda: turned)
        return tf.cond(columns, lambda: turned[:, ::-1], lambda: turned)

    turned = tf.cond((orientation >= 2) & (orientation <= 8), turn, lambda: image)
    turned.set_shape([None, None, image.shape[-1]])
    return turned
