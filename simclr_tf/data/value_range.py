"""Images whose values do not use the range of their type, such as 12 bits in 16-bit files.

The setting `value_range` says which values become black and white. It concerns 16-bit PNGs, TIFFs,
PGMs and PPMs, and `.npy` files of uint16 or float32; images of 8 bit stay as they are.
"""

import dataclasses
import math

import numpy as np

from simclr_tf import names
from simclr_tf.config import parse_value_range
from simclr_tf.data import diagnosis, pillow, stacks
from simclr_tf.errors import DataError
from simclr_tf.stack import tf

_NARROW = 2**14  # 16-bit values below it use less than a quarter of their range
_FEW = 16
_MANY = 128


@dataclasses.dataclass(frozen=True)
class Look:
    """What some images of a source hold.

    Attributes:
        count: images looked at.
        unusable: ((name, reason), ...) of those that cannot be used.
        least, most: smallest and largest value of 16-bit and float images, None without any.
        wide: whether some of these are of 16 bit.
    """

    count: int
    unusable: tuple
    least: float = None
    most: float = None
    wide: bool = False

    @property
    def is_narrow(self):
        """Whether 16-bit images use less than a quarter of their range."""
        return self.wide and self.most < _NARROW

    def words(self):
        """The sample in words, for a plan."""
        good = self.count - len(self.unusable)
        text = f"{good} of {self.count} images decoded"
        if self.unusable:
            name, reason = self.unusable[0]
            text += f"; {names.shown(name)} cannot be used ({reason})"
        return text

    def advice(self):
        """What to do about narrow values, a sentence without a stop, or ""."""
        if not self.is_narrow:
            return ""
        return (
            f"the 16-bit images hold values up to {self.most:,.0f} of 65,535, so they become "
            f"nearly black; --value_range=auto (here {_text_of(self)}) stretches them"
        )


def look(source, value_range=None):
    """Decodes a few images of a source, evenly spaced.

    Args:
        source: Source whose images are encoded.
        value_range: (least, most) or None.
    Returns:
        Look; of more images if none of the first few can be used.
    Raises:
        DataError: none of many images can be used.
    """
    found = _look(source, _FEW, value_range)
    if len(found.unusable) == found.count:
        found = _look(source, _MANY, value_range)
    if len(found.unusable) == found.count:
        name, reason = found.unusable[0]
        raise DataError(
            f"none of {found.count} images of {names.shown(source.name)} can be used, such as "
            f"{names.shown(name)} ({reason}); mend or replace them."
        )
    return found


def _look(source, count, value_range):
    ids = np.unique(np.linspace(0, source.num_examples - 1, count).astype(np.int64))
    unusable = []
    values = []
    wide = False
    for example_id in ids:
        encoded, reason = source.encoded(source.fetch(tf.constant(example_id))[0].numpy())
        if reason is None and value_range is not None:
            encoded, reason = diagnosis.in_range(encoded, value_range)
        reason = reason or diagnosis.why_unusable(encoded, source.max_image_pixels, source.channels)
        raw = _raw_values(encoded) if reason is None or "values outside" in reason else None
        if raw is not None:
            values += [raw.min(), raw.max()]
            wide = wide or raw.dtype == np.uint16
        if reason is not None:
            unusable.append((source.name_of(example_id), reason))
    least, most = (float(np.min(values)), float(np.max(values))) if values else (None, None)
    return Look(len(ids), tuple(unusable), least, most, wide)


def _raw_values(encoded):
    """The values of an image of 16 bits or of a .npy of float32; None for other images."""
    if stacks.is_stack(encoded):
        values = stacks.values_of(encoded)
        return None if values.dtype == np.uint8 or not np.isfinite(values).all() else values
    if encoded[:4] == b"\x89PNG" and encoded[24:25] == b"\x10":
        return tf.io.decode_png(encoded, 3, tf.uint16).numpy()
    values = pillow.wide_values(encoded)
    return None if values is None or values.dtype == np.uint8 else values


def settled(value_range, source):
    """The setting with auto replaced by the range found in some images: "LO,HI" or "".

    Args:
        value_range: the setting.
        source: function () -> Source of the images.
    """
    if value_range != "auto":
        return value_range
    opened = source()
    found = _look(opened, _MANY, None)
    return _text_of(found) if found.most is not None else ""


def _text_of(found):
    """ "0,4095": from 0 to the largest value of so many bits, which a few images tell safely."""
    if found.least < 0:
        raise DataError(
            f"value_range=auto takes 0 for black, but images hold {found.least:g}; give both ends, "
            f"such as --value_range={found.least:g},{found.most:g}."
        )
    if not found.wide and found.most <= 1:
        return ""
    return f"0,{2 ** math.ceil(math.log2(found.most + 1)) - 1}"


def limits(value_range):
    """(least, most) of a settled setting, or None."""
    return parse_value_range(value_range) if value_range else None
