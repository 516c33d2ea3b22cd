"""Images that Pillow decodes: WebP, TIFF, AVIF, PPM and PGM, JPEG 2000, HEIC, GIF, rare BMP and PNG.

Runs as Python in tf.data. Pillow gives Python's lock away while it decodes, so several images are
decoded at once on the threads of tf.data, which keep their order. TensorFlow is not needed here.
"""

import functools
import io
import re
import struct
import threading
import warnings

import numpy as np

from simclr_tf.data import avif, formats, tiff

_WHITE = 255
_MOST_PROFILE = 2**22  # bytes of a colour profile
_PROFILE_STARTS = 2**17  # in the first bytes of a JPEG or PNG
_SAME = 2  # levels of 255 up to which a profile counts as sRGB
_PNM = re.compile(rb"P([56])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")
_DAMAGES = (OSError, SyntaxError, ValueError, EOFError, LookupError, struct.error, MemoryError)
_DAMAGES += (AssertionError, RuntimeError, OverflowError, TypeError, ZeroDivisionError)
"""What damaged files bring about in the plugins of Pillow."""
_OPENING = threading.Lock()  # warnings are switched off for the whole process, so one at a time


def pixels(encoded):
    """Width times height as the decoder will use them, int64; see `decoding.pixels`.

    A GIF has the size of its screen or, if that is larger, of the frame; of two headers in a PNG
    the last one counts; of a TIFF whose tiles are larger than the page, the tile counts; of an AVIF the largest picture in
    it, whatever its container says.

    Args:
        encoded: bytes.
    Raises:
        ValueError: not an image, damaged, or larger than Pillow opens.
    """
    kind = formats.name_of(encoded)
    if kind == "TIFF":
        return np.int64(tiff.page_of(encoded).pixels)
    if kind == "WebP":  # its decoder takes memory for the canvas as soon as it is opened
        size = _webp_size(encoded)
        if size > 2**28:
            return np.int64(size)
    coded = avif.coded_pixels(encoded) if kind == "AVIF" else 0
    with _opened(encoded, kind) as image:
        return max(np.int64(image.width) * np.int64(image.height), np.int64(min(coded, 2**62)))


def decode(encoded):
    """The first frame or page as upright sRGB, transparency over white.

    Args:
        encoded: bytes.
    Returns:
        uint8 [h, w, 3].
    Raises:
        ValueError: not an image, damaged, of values or channels that are not read.
    """
    values = wide_values(encoded)
    if values is not None:
        return _rgb_of(_eight_bits(values, encoded), encoded)
    from PIL import Image

    kind = formats.name_of(encoded)
    with _opened(encoded, kind) as image:
        if image.mode == "I" and kind == "PNM":  # written as text, scaled to 16 bits
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode in ("I", "F"):
            raise ValueError("values of 32 bits; save 8 or 16 bits, or float32 as .npy")
        return _as_rgb(image, image.info.get("icc_profile"))


def wide_values(encoded):
    """The values of an image that Pillow would cut down to 8 bits, or that has many channels.

    Args:
        encoded: bytes.
    Returns:
        uint8 or uint16 [h, w, c], upright, of a TIFF; uint16 of a PGM, PPM or JPEG 2000; else None.
    Raises:
        ValueError: damaged, or of values that are not read.
    """
    kind = formats.name_of(encoded)
    if kind == "TIFF":
        page = tiff.page_of(encoded)
        return tiff.values_of(encoded, page) if page.is_wide else None
    if kind == "JPEG 2000":
        with _opened(encoded, kind) as image:
            if not image.mode.startswith("I;16"):
                return None
            return np.asarray(image).astype(np.uint16)[..., np.newaxis]
    found = _PNM.match(encoded[:4096]) if kind == "PNM" else None
    if not found:
        return None
    magic, width, height, most = (int(part) for part in found.groups())
    if most <= 255:
        return None
    channels = 3 if magic == 6 else 1
    count = width * height * channels
    if len(encoded) - found.end() < 2 * count:
        raise ValueError(f"truncated: {len(encoded) - found.end()} bytes of {2 * count}")
    values = np.frombuffer(encoded, ">u2", count, found.end()).astype(np.uint16)
    return values.reshape(height, width, channels)


def in_range(encoded, least, most):
    """An image with wide values as the bytes of a .npy of uint8; others as they are.

    Args:
        encoded: bytes.
        least, most: values that become black and white.
    Raises:
        ValueError: as `wide_values`.
    """
    values = wide_values(encoded)
    if values is None or values.dtype.itemsize == 1:
        return encoded
    from simclr_tf.data import stacks

    content = io.BytesIO()
    if values.shape[-1] > 4:
        np.save(content, stacks.stretched(values, least, most), allow_pickle=False)
        return content.getvalue()
    alpha = _has_alpha(encoded, values.shape[-1])
    colors = stacks.stretched(values[..., : values.shape[-1] - alpha], least, most)
    opacity = (values[..., values.shape[-1] - alpha :] >> 8).astype(np.uint8)
    rgb = _rgb_of(np.concatenate([colors, opacity], -1), encoded)
    np.save(content, rgb, allow_pickle=False)
    return content.getvalue()


def _has_alpha(encoded, channels):
    """Whether the last channel of an image with wide values is opacity."""
    return channels in (2, 4) and tiff.is_tiff(encoded) and tiff.page_of(encoded).has_alpha


def _eight_bits(values, encoded):
    """uint8 of wide values: the high byte; of a PGM or PPM whose white is lower, in proportion."""
    if values.dtype.itemsize == 1:
        return values
    most = int(_PNM.match(encoded[:4096])[4]) if encoded[:1] == b"P" else 2**16 - 1
    if most == 2**16 - 1:
        return (values >> 8).astype(np.uint8)
    return np.rint(np.minimum(values, most) * (255 / most)).astype(np.uint8)


def _rgb_of(values, encoded):
    """uint8 [h, w, c] of an image with wide values -> uint8 [h, w, 3]."""
    from PIL import Image

    channels = values.shape[-1]
    if channels > 4:
        raise ValueError(f"{channels} channels, where the other images have {tiff.RGB}")
    profile = b""
    is_cmyk = False
    if tiff.is_tiff(encoded):
        page = tiff.page_of(encoded)
        profile = tiff.profile_of(encoded, page)
        is_cmyk = page.photometric == 5
    if channels in (2, 4) and not is_cmyk and not _has_alpha(encoded, channels):
        channels -= 1  # the last one says nothing of itself, as Pillow takes it too
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "CMYK" if is_cmyk else "RGBA"}[channels]
    size = values.shape[1], values.shape[0]
    return _as_rgb(Image.frombytes(mode, size, values[..., :channels].tobytes()), profile)


class _opened:
    """The first frame of an image, of its final size and not decoded yet; a context.

    Raises:
        ValueError: not an image, damaged, or larger than Pillow opens; also what fails inside.
    """

    def __init__(self, encoded, kind):
        self._encoded = encoded
        self._kind = kind

    def __enter__(self):
        from PIL import Image

        if not self._kind or not formats.FORMATS[self._kind].plugins:
            raise ValueError("not an image of a format that is read")
        missing = formats.why_missing(self._kind)
        if missing:
            raise ValueError(missing)
        if self._kind == "HEIC":
            _register_heic()
        try:
            with _OPENING, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the limit of pixels is ours
                self._image = Image.open(
                    io.BytesIO(self._encoded), formats=formats.FORMATS[self._kind].plugins
                )
                self._image.seek(0)
            return self._image
        except Exception as error:
            raise _as_value_error(error, self._kind) from None

    def __exit__(self, kind, error, trace):
        self._image.close()
        if error is not None and isinstance(error, Exception):
            raise _as_value_error(error, self._kind) from error


def _as_value_error(error, kind):
    """What a plugin of Pillow raises as a ValueError that says what is wrong."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return ValueError(f"damaged image: its header is not that of a {kind} image")
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(str(error))
    if isinstance(error, ValueError) and " bits; save" in str(error):
        return error
    if isinstance(error, _DAMAGES):
        return ValueError(f"damaged image: {error}")
    return error


@functools.lru_cache(maxsize=None)
def _register_heic():
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)


def _webp_size(encoded):
    """Pixels of the canvas of a WebP by its first chunk, 0 where it cannot be read."""
    kind = encoded[12:16]
    head = encoded[20:30]
    if len(head) < 10:
        return 0
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width * height


def _as_rgb(image, profile):
    """uint8 [h, w, 3] of a Pillow image: upright, sRGB, over white."""
    from PIL import Image, ImageOps

    image.load()
    image = ImageOps.exif_transpose(image)  # Pillow has turned a TIFF already, and says so
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    color = in_srgb(image, profile)
    if image.mode == "RGBA":
        color.putalpha(image.getchannel("A"))
        white = Image.new("RGBA", image.size, (_WHITE,) * 4)
        color = Image.alpha_composite(white, color).convert("RGB")
    return np.asarray(color, np.uint8)


def converted(encoded):
    """A JPEG or PNG whose colour profile is not sRGB as the bytes of a .npy, upright; others as
    they are, and so are damaged ones, which fail where they are decoded."""
    marker = b"ICC_PROFILE\0" if encoded[:1] == b"\xff" else b"iCCP"
    if encoded.find(marker, 0, _PROFILE_STARTS) < 0:
        return encoded
    from PIL import Image

    try:
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG"))
        with image:
            profile = image.info.get("icc_profile")
            grey = image.mode == "L"
            usual = image.mode in ("L", "RGB", "RGBA", "P", "LA")
            if not (usual and profile and _to_srgb(profile, grey)):
                return encoded
            rgb = _as_rgb(image, profile)
    except _DAMAGES:
        return encoded
    content = io.BytesIO()
    np.save(content, rgb, allow_pickle=False)
    return content.getvalue()


def in_srgb(image, profile):
    """A Pillow image as one of mode RGB in sRGB.

    Args:
        image: of any mode; opacity is left out.
        profile: its ICC profile, bytes; None or b"" for none. Profiles of CMYK, damaged ones and
            those that look like sRGB change nothing, as in most viewers.
    """
    grey = image.mode in ("L", "1")
    transform = _to_srgb(profile, grey) if profile and image.mode != "CMYK" else None
    if transform is None:
        return image.convert("RGB")
    from PIL import ImageCms

    return ImageCms.applyTransform(image.convert("L" if grey else "RGB"), transform)


@functools.lru_cache(maxsize=16)
def _to_srgb(profile, grey):
    """The ImageCmsTransform of a profile to sRGB; None if it is sRGB, or not of such images."""
    from PIL import Image, ImageCms

    if len(profile) > _MOST_PROFILE:
        return None
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space.strip() != ("GRAY" if grey else "RGB"):
            return None
        mode = "L" if grey else "RGB"
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    shown = Image.fromarray(cube).convert(mode)
    changed = np.asarray(ImageCms.applyTransform(shown, transform), int)
    same = np.abs(changed - np.asarray(shown.convert("RGB"), int)).max() <= _SAME
    return None if same else transform
