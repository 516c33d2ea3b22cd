"""What can still be seen of an image file that could not be used."""

import os
import threading
import warnings

import numpy as np

from simclr_tf.data import formats

_KINDS = {"JPEG": "JPEG", "PNG": "PNG", "GIF": "GIF", "BMP": "BMP"}
_MOST_BYTES = 2**26
_MOST_PIXELS = 2**25  # decoded; a JPEG is decoded at an eighth of its size
_LOCK = threading.Lock()


def visible_part(path, side):
    """A thumbnail of what is left of a local image file.

    Args:
        path: of one of the run's own images.
        side: pixels.
    Returns:
        uint8 [side, side, 3], the whole picture with grey around it and where it is lost; None if
        there is no such file, no image, or nothing to be seen.
    """
    if "://" in path or not os.path.isfile(path) or os.path.getsize(path) > _MOST_BYTES:
        return None
    try:
        with open(path, "rb") as file:
            kind = _KINDS.get(formats.name_of(file.read(formats.MOST_HEAD)))
        return _decoded(path, kind, side) if kind else None
    except Exception:  # noqa: BLE001 - Pillow raises nearly anything for damaged bytes
        return None


def _decoded(path, kind, side):
    from PIL import Image, ImageFile

    # the switch is one for the whole process, so it is on for a moment only
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            with Image.open(path, formats=[kind]) as image:
                image.draft("RGB", (side, side))
                if image.width * image.height > _MOST_PIXELS:
                    return None
                small = image.convert("RGB")
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before
    if all(low == high for low, high in small.getextrema()):
        return None  # one colour: nothing of it was decoded
    small.thumbnail((side, side))
    whole = Image.new("RGB", (side, side), (128, 128, 128))
    whole.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return np.asarray(whole)
