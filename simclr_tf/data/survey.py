"""A look at some images: what the choice of views, sizes and networks depends on."""

import dataclasses

import numpy as np

from simclr_tf.data import decoding, stacks
from simclr_tf.errors import DataError
from simclr_tf.stack import tf

MOST = 200  # images looked at
_SIDE = 48  # they are looked at in this size
_NEAR = 12 / 255  # colours nearer than this are the same ground
_GREY = 4 / 255  # channels nearer than this are grey


@dataclasses.dataclass(frozen=True)
class Survey:
    """What some images of a source look like.

    Attributes:
        count: images of the source.
        looked: images that were decoded.
        side: median of the shorter sides, in pixels.
        longest: median of the longer sides, in pixels.
        colored: share of the images that are not grey.
        plain: share of the images that stand on a ground of one colour.
        transparent: share of the images that have transparent parts.
        chroma: share of the variance of all pixels that is colour, not brightness, from 0 to 1.
        channels: of the images; 3 is RGB.
    """

    count: int
    looked: int
    side: int
    longest: int
    colored: float
    plain: float
    transparent: float
    chroma: float
    channels: int

    def words(self):
        """The survey as one line of a plan."""
        parts = [f"{self.looked} images looked at", f"median {self.longest} x {self.side} pixels"]
        if self.channels == stacks.RGB:
            parts += [f"{self.colored:.0%} in colour"]
            parts += [f"{self.chroma:.0%} of the variance is colour"] if self.colored else []
        parts += [f"{self.plain:.0%} on a plain ground"]
        parts += [f"{self.transparent:.0%} with transparency"] if self.transparent else []
        return ", ".join(parts)


def survey(source, most=MOST):
    """Looks at images, evenly spaced; those that cannot be decoded are passed over.

    Args:
        source: Source with random access.
        most: images to look at.
    Returns:
        Survey.
    Raises:
        DataError: none can be decoded.
    """
    ids = np.unique(np.linspace(0, source.num_examples - 1, most).astype(np.int64))
    found = [one for one in (_of_image(source, example_id) for example_id in ids) if one]
    if not found:
        raise DataError(
            f"none of {len(ids)} images of {source.name} can be decoded; mend or replace them."
        )
    columns = {name: np.asarray([one[name] for one in found]) for name in found[0]}
    variance = columns["brightness"].mean() + columns["color"].mean()
    return Survey(
        count=source.num_examples,
        looked=len(found),
        side=int(np.median(columns["side"])),
        longest=int(np.median(columns["longest"])),
        colored=float(np.mean(columns["colored"])),
        plain=float(np.mean(columns["plain"])),
        transparent=float(np.mean(columns["transparent"])),
        chroma=float(columns["color"].mean() / variance) if variance else 0.0,
        channels=source.channels,
    )


def _of_image(source, example_id):
    """{name: figure} of one image, None if it cannot be decoded."""
    try:
        reference = source.fetch(tf.constant(example_id))[0]
        image = source.resolve(reference)
        transparent = image.dtype == tf.string and _has_alpha(image.numpy())
        if image.dtype == tf.string and decoding.pixels(image) > source.max_image_pixels:
            return None
        pixels = decoding.decode(image, source.channels)
    except (tf.errors.OpError, ValueError, OSError):
        return None
    height, width, channels = pixels.shape
    small = tf.image.resize(tf.cast(pixels, tf.float32) / 255.0, [_SIDE, _SIDE], "area").numpy()
    grey = small.mean(axis=-1)
    return {
        "side": min(height, width),
        "longest": max(height, width),
        "colored": channels == stacks.RGB and np.ptp(small, axis=-1).max() > _GREY,
        "plain": _on_plain_ground(small),
        "transparent": transparent,
        "brightness": float(grey.var()) * channels,
        "color": float(((small - grey[..., None]) ** 2).sum(axis=-1).mean()),
    }


def _on_plain_ground(image):
    """Whether most of the edge of an image [s, s, c] has one colour."""
    edge = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    near = np.abs(edge - np.median(edge, axis=0)).max(axis=-1) < _NEAR
    return bool(near.mean() > 0.5)


def _has_alpha(encoded):
    """Whether a PNG has an alpha channel or a transparent colour."""
    return encoded[:4] == b"\x89PNG" and (encoded[25:26] in (b"\x04", b"\x06") or b"tRNS" in encoded[:2048])  # fmt: skip
