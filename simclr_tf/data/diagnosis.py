"""Why an image cannot be used, in a few words. Runs only for images that failed."""

from simclr_tf.data import decoding, stacks, tiff
from simclr_tf.errors import first_line
from simclr_tf.stack import tf


def read(path, max_pixels):
    """(bytes as `stacks.read` gives them, None) of a file, or (None, reason)."""
    try:
        return stacks.read(path, max_pixels), None
    except (tf.errors.OpError, OSError) as error:
        return None, f"cannot be read: {first_line(error)}"


def in_range(encoded, value_range):
    """(bytes as `decoding.in_range` makes them, None), or (None, reason); value_range: two numbers."""
    try:
        return decoding.in_range(tf.constant(encoded), *value_range).numpy(), None
    except (tf.errors.OpError, ValueError) as error:
        return None, f"cannot be decoded: {first_line(error)}"


def why_unusable(encoded, max_pixels, channels=3):
    """The reason, or None if the bytes decode to an image within the limit.

    Args:
        encoded: bytes.
        max_pixels: int.
        channels: of the images of this source.
    """
    if not encoded:
        return "empty file"
    try:
        readable = channels == stacks.RGB or stacks.is_stack(encoded) or tiff.is_tiff(encoded)
        pixels = int(decoding.pixels(encoded)) if readable else 0
        if pixels > max_pixels:
            scans = encoded.count(b"\xff\xda") if encoded[:2] == b"\xff\xd8" else 0
            work = f"{scans} scans, the work of " if scans > decoding.SCANS else ""
            return f"{work}{pixels} pixels, more than --max_image_pixels={max_pixels}"
        decoding.decode(encoded, channels)
    except (tf.errors.OpError, ValueError) as error:
        return f"cannot be decoded: {first_line(error)}"
    return None
