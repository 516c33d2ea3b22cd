"""What a set of images holds: formats, sizes, broken files, duplicates, uniform images.

`examine` decodes images once, several at a time, and keeps of each a thumbnail of 32 x 32 and a few
numbers. Everything else is a function of these.
"""

import collections
import dataclasses

import numpy as np
from scipy import fft

from simclr_tf.data import batches, decoding, diagnosis, formats, subset
from simclr_tf.stack import tf

THUMBNAIL = 32
UNIFORM = 3.0  # standard deviation of every channel of the thumbnail, of 255
ALIKE_BITS = 12  # of 63 of two perceptual hashes; two unrelated pictures differ in 31
ALIKE_LEVELS = 5.0  # mean difference of two thumbnails, of 255
MOST_COMPARED = 20_000  # images of which every pair is compared
MOST_DIAGNOSED = 1_000  # broken images whose reason is looked for
_BLOCK = 1024


@dataclasses.dataclass
class Examined:
    """What is known of the images that were decoded, one row each.

    Attributes:
        source: Source of the images that were looked at.
        ids: int64 [n], in the source.
        height, width: int32 [n], pixels.
        size: int64 [n], bytes; 0 for images that are held decoded.
        digest: int64 [n], equal for equal bytes.
        kind: list of n names of formats.
        small: uint8 [n, 32, 32, c], c at most 3.
        label: int32 [n], -1 without.
        broken: {name: reason} of those that cannot be used.
    """

    source: object
    ids: np.ndarray
    height: np.ndarray
    width: np.ndarray
    size: np.ndarray
    digest: np.ndarray
    kind: list
    small: np.ndarray
    label: np.ndarray
    broken: dict

    def __len__(self):
        return len(self.ids)

    def name(self, row):
        """What the user calls the image of a row."""
        return self.source.name_of(int(self.ids[row]))

    @property
    def is_uniform(self):
        """bool [n], whether an image shows hardly anything."""
        deviations = [one.std(axis=(0, 1), dtype=np.float32).max() for one in self.small]
        return np.asarray(deviations, np.float32) < UNIFORM


def examine(source, count, seed, progress=None):
    """Decodes some images of a source, drawn by seed.

    Args:
        source: Source; its images are looked at as they are stored.
        count: how many at most; 0 for all.
        seed: int.
        progress: function of the number of images done, or None.
    Returns:
        Examined.
    """
    chosen = subset.sample(source, count, seed) if count else source
    chosen.value_range = None
    chosen.converts_profiles = False
    rows = collections.defaultdict(list)
    done = 0
    for batch in batches.usable(chosen, lambda one: _look(one, source.channels)).batch(64):
        for name, values in batch.items():
            rows[name].append(values.numpy())
        done += len(rows["id"][-1])
        if progress is not None:
            progress(done)
    found = {name: np.concatenate(parts) for name, parts in rows.items()}
    ids = found.get("id", np.zeros(0, np.int64))
    broken = {}
    for example_id in np.setdiff1d(np.arange(chosen.num_examples), ids):
        broken[chosen.name_of(example_id)] = _reason(chosen, example_id, len(broken))
    empty = np.zeros(0, np.int64)
    shape = [0, THUMBNAIL, THUMBNAIL, 3]
    return Examined(
        chosen,
        ids,
        found.get("height", empty),
        found.get("width", empty),
        found.get("size", empty),
        found.get("digest", empty),
        [formats.name_of(head) or "array" for head in found.get("head", ())],
        found.get("small", np.zeros(shape, np.uint8)),
        found.get("label", empty),
        broken,
    )


def _look(example, channels):
    """The row of one image; runs in tf.data."""
    image = example["image"]
    pixels = decoding.decode(image, channels)
    shape = tf.shape(pixels)
    small = tf.raw_ops.ResizeArea(images=pixels[tf.newaxis], size=[THUMBNAIL] * 2)[0]
    is_encoded = image.dtype == tf.string
    content = image if is_encoded else tf.io.serialize_tensor(image)
    return {
        "id": example["id"],
        "label": example["label"],
        "height": shape[0],
        "width": shape[1],
        "size": tf.strings.length(image) if is_encoded else tf.constant(0),
        "digest": tf.strings.to_hash_bucket_fast(content, 2**62),
        "head": tf.strings.substr(image, 0, formats.MOST_HEAD) if is_encoded else tf.constant(b""),
        "small": tf.cast(tf.math.rint(small[..., :3]), tf.uint8),
    }


def _reason(source, example_id, known):
    """Why an image cannot be used."""
    if known >= MOST_DIAGNOSED:
        return "cannot be used"
    reference = source.fetch(tf.constant(example_id, tf.int64))[0].numpy()
    encoded, reason = source.encoded(reference)
    return reason or diagnosis.why_unusable(encoded, source.max_image_pixels, source.channels) or "cannot be used"  # fmt: skip


def groups_of_equal(examined):
    """[[row, row, ...]] of images with the same bytes, largest groups first."""
    order = np.argsort(examined.digest, kind="stable")
    bounds = np.flatnonzero(np.diff(examined.digest[order])) + 1
    groups = [sorted(group.tolist()) for group in np.split(order, bounds) if len(group) > 1]
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def perceptual_hashes(grey):
    """bool [n, 63]: the signs of the 8 x 8 lowest frequencies against their median, without the mean.

    Two pictures of one thing in other sizes, qualities and formats have nearly the same bits.

    Args:
        grey: float [n, 32, 32].
    """
    low = fft.dctn(np.asarray(grey, np.float32), axes=(1, 2), norm="ortho")[:, :8, :8]
    low = low.reshape(len(grey), 64)[:, 1:]
    return low > np.median(low, axis=1, keepdims=True)


def near_duplicates(examined, equal):
    """[(row, row)] of images that look alike and are not the same file, ascending.

    The bits of their hashes differ at ALIKE_BITS places at most, and their thumbnails by
    ALIKE_LEVELS on average. Uniform images look alike and say nothing, so they are left out; of a
    group of equal files the first one stands for all. Of more than MOST_COMPARED images the first
    ones are compared.

    Args:
        examined: Examined.
        equal: groups of `groups_of_equal`.
    """
    repeated = {row for group in equal for row in group[1:]}
    uniform = examined.is_uniform
    rows = [row for row in range(len(examined)) if row not in repeated and not uniform[row]]
    rows = np.asarray(rows[:MOST_COMPARED], np.int64)
    if len(rows) < 2:
        return []
    grey = examined.small[rows].mean(axis=-1, dtype=np.float32)
    signs = np.where(perceptual_hashes(grey), 1, -1).astype(np.float32)
    pairs = []
    for start in range(0, len(rows), _BLOCK):
        same = signs[start : start + _BLOCK] @ signs[start:].T  # 63 - 2 * different bits
        for first, second in np.argwhere(same >= 63 - 2 * ALIKE_BITS):
            if second > first:
                one, other = rows[start + first], rows[start + second]
                difference = np.abs(examined.small[one] - examined.small[other].astype(int)).mean()
                if difference <= ALIKE_LEVELS:
                    pairs.append((int(one), int(other)))
    return pairs


def histogram(values, edges):
    """[(words, count)] of values in ranges such as "64 to 127"; empty ranges are left out.

    Args:
        values: int [n]. edges: ascending int, the first of each range but the lowest.
    """
    places = np.searchsorted(edges, values, side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    words = [f"below {edges[0]:,}"]
    words += [f"{low:,} to {high - 1:,}" for low, high in zip(edges, edges[1:])]
    words.append(f"{edges[-1]:,} and more")
    return [(word, int(count)) for word, count in zip(words, counts) if count]
