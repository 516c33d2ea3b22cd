"""Small images decoded once: the training then neither reads nor decodes files."""

import numpy as np

from simclr_tf import phases
from simclr_tf.data import decoding
from simclr_tf.data.batches import mapped_batches
from simclr_tf.data.info import Facts
from simclr_tf.data.source import ArraySource
from simclr_tf.stack import tf

_BATCH = 64


class StoredSource(ArraySource):
    """Every image of a source as its central square, in memory.

    Args:
        original: Source; bad images are noted in its quarantine and replaced as in any batch.
        images: uint8 [n, s, s, c].
        labels: int32 [n], -1 without.
    """

    def __init__(self, original, images, labels):
        facts = Facts(
            name=original.name,
            num_examples=original.num_examples,
            class_names=original.class_names,
            fingerprint=original.fingerprint,
            image_shape=images.shape[1:],
            channels=original.channels,
        )
        super().__init__(facts, images, labels)
        self._original = original
        self.seed = original.seed
        self.quarantine = original.quarantine

    @property
    def original(self):
        return self._original

    def name_of(self, example_id):
        return self._original.name_of(example_id)

    def names(self, start, stop):
        return self._original.names(start, stop)

    def files(self):
        return self._original.files()


def stored(source, side):
    """The source with every image decoded, cut to its central square and resized, once.

    Args:
        source: Source.
        side: of the squares in pixels.
    Returns:
        StoredSource; `source` itself if `side` is 0 or its images have this size already.
    Raises:
        DataError: an image cannot be used and --strict_data is set, or no stand-in can be used.
    """
    if not side or source.image_shape == (side, side, source.channels):
        return source

    def prepare(example):
        image = decoding.decode(example["image"], source.channels)
        return {"images": _square(image, side, source.channels), "label": example["label"]}

    images = []
    labels = []
    batches = phases.counted(
        mapped_batches(source, prepare, _BATCH), "decoding", source.num_examples
    )
    try:
        for batch in batches:
            images.append(batch["images"].numpy())
            labels.append(batch["label"].numpy())
    except tf.errors.OpError:
        source.quarantine.check()
        raise
    return StoredSource(source, np.concatenate(images), np.concatenate(labels).astype(np.int32))


def _square(image, side, channels):
    """uint8 [h, w, c] -> uint8 [side, side, c], the central square, antialiased if it shrinks."""
    shape = tf.shape(image)
    short = tf.minimum(shape[0], shape[1])
    top = (shape[0] - short) // 2
    left = (shape[1] - short) // 2
    square = image[top : top + short, left : left + short]

    def resize():
        resized = tf.image.resize(
            tf.cast(square, tf.float32), [side] * 2, "bicubic", antialias=True
        )
        return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)

    return tf.ensure_shape(tf.cond(short == side, lambda: square, resize), [side, side, channels])
