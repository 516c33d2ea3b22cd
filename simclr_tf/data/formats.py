"""Which format a file has: told by its first bytes, never by its name. Standard library only.

A new format is a row of `FORMATS`, and a reader in `decoding` or `pillow`.
"""

import dataclasses
import functools
import importlib.util

MOST_HEAD = 64  # bytes that tell every format
EARLY = ("JPEG", "PNG", "BMP", "GIF", ".npy")
"""Formats that were read before `image_formats` was a setting."""


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: what people call it.
        suffixes: of file names.
        plugins: what Pillow calls it; () if Pillow does not read it here.
        feature: of Pillow, where not every Pillow has it; or "heif" for the package pillow-heif.
        remedy: what to do where the feature is missing.
    """

    name: str
    suffixes: tuple
    plugins: tuple = ()
    feature: str = ""
    remedy: str = ""


FORMATS = {
    one.name: one
    for one in (
        Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif")),
        Format("PNG", (".png",), ("PNG",)),
        Format("BMP", (".bmp", ".dib"), ("BMP", "DIB")),
        Format("GIF", (".gif",), ("GIF",)),
        Format(".npy", (".npy",)),
        Format("WebP", (".webp",), ("WEBP",), "webp", "install a Pillow with libwebp"),
        Format("TIFF", (".tif", ".tiff"), ("TIFF",), "libtiff", "install a Pillow with libtiff"),
        Format("AVIF", (".avif",), ("AVIF",), "avif", "pip install 'pillow>=11.3'"),
        Format("PNM", (".ppm", ".pgm", ".pbm", ".pnm"), ("PPM",)),
        Format(
            "JPEG 2000",
            (".jp2", ".j2k", ".j2c", ".jpf", ".jpx"),
            ("JPEG2000",),
            "jpg_2000",
            "install a Pillow with OpenJPEG",
        ),
        Format("HEIC", (".heic", ".heif", ".hif"), ("HEIF",), "heif", "pip install pillow-heif"),
    )
}

SUFFIXES = tuple(suffix for one in FORMATS.values() for suffix in one.suffixes)


def name_of(head):
    """The name of a format in FORMATS, "" if it is none of them.

    Args:
        head: the first MOST_HEAD bytes of a file, or more.
    """
    if head[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if head[:4] == b"\x89PNG":
        return "PNG"
    if head[:4] == b"GIF8":
        return "GIF"
    if head[:6] == b"\x93NUMPY":
        return ".npy"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[4:8] == b"ftyp":
        return _name_by_brands(head)
    if head[:4] == b"\xff\x4f\xff\x51" or head[:12] == b"\0\0\0\x0cjP  \r\n\x87\n":
        return "JPEG 2000"
    if head[:2] == b"BM":
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#" and len(head) > 2:
        return "PNM"
    return ""


def _name_by_brands(head):
    """AVIF and HEIC share a container, whose first box lists what may read it."""
    box = head[8 : max(16, min(int.from_bytes(head[:4], "big"), MOST_HEAD))]
    brands = {box[place : place + 4] for place in range(0, len(box), 4)}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    known = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
    return "HEIC" if brands & known else ""


@functools.lru_cache(maxsize=None)
def why_missing(name):
    """Why a format cannot be read here, as "HEIC needs ...: do this"; "" if it can be."""
    one = FORMATS[name]
    if not one.feature or _has(one.feature):
        return ""
    return f"{name} is not read by the packages that are installed: {one.remedy}"


def _has(feature):
    if feature == "heif":
        return importlib.util.find_spec("pillow_heif") is not None
    from PIL import features

    try:
        return bool(features.check(feature))
    except ValueError:  # a Pillow that has never heard of it
        return False


def suffixes_of(choice):
    """Suffixes of the files that count as images.

    Args:
        choice: the setting `image_formats`: "all", or "early".
    """
    if choice == "early":
        return tuple(suffix for name in EARLY for suffix in FORMATS[name].suffixes)
    return tuple(
        suffix for name, one in FORMATS.items() if not why_missing(name) for suffix in one.suffixes
    )


def missing_by_suffix(suffix):
    """`why_missing` of the format that a suffix names, "" if there is none."""
    for name, one in FORMATS.items():
        if suffix in one.suffixes:
            return why_missing(name)
    return ""
