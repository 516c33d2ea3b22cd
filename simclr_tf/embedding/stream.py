"""Embeddings of many images, in order, in bounded memory, continued after an interruption."""

import dataclasses

import numpy as np

from simclr_tf.data import batches, preprocess, stacks
from simclr_tf.stack import tf

PART_ROWS = 1024  # images between two files on disk: what an interruption can cost
SPRITE = 48  # largest side of the pictures in the projector


@dataclasses.dataclass(frozen=True)
class Sprites:
    """Which images are kept as small pictures: every `stride`-th (0: none), `factor` times less."""

    stride: int
    factor: int

    @classmethod
    def of(cls, num_images, most, image_size):
        """At most `most` of `num_images`, evenly spaced, with sides of at most SPRITE pixels."""
        return cls(-(-num_images // most) if most else 0, -(-image_size // SPRITE))

    def of_batch(self, ids, images):
        """(kept rows of the batch int64 [k], their pictures uint8 [k, s/factor, s/factor, 3])."""
        rows = np.flatnonzero(ids % self.stride == 0) if self.stride else np.zeros(0, np.int64)
        kept = images if len(rows) == len(ids) else tf.gather(images, rows)
        small = tf.nn.avg_pool2d(kept, self.factor, self.factor, "VALID") if len(rows) else kept
        return rows, np.uint8(np.rint(255.0 * stacks.as_rgb(small.numpy())))


def prepared_batches(source, image_size, batch_size, start=0):
    """Images ready for the encoder; those that cannot be decoded are left out.

    Args:
        source: data.source.Source.
        image_size: int, s.
        batch_size: int.
        start: id of the first image.
    Returns:
        tf.data.Dataset of {"images": float32 [m, s, s, 3] in [0, 1], "id": int64 [m], "label":
        int32 [m]}, ids ascending; m = batch_size in all batches but the last.
    """

    def prepare(example):
        images = preprocess.eval_encoded(example["image"], image_size, source.channels)
        return {"images": images, "id": example["id"], "label": example["label"]}

    return batches.usable(source, prepare, start).batch(batch_size).prefetch(2)


def embed(source, extractor, parts, image_size, sprites, progress=None):
    """Makes the missing parts: columns id, label, sprite, sprite_id, and the extractor's.

    Which images share a batch depends on the images alone, so an interrupted run ends with the
    same bytes as one that was not.

    Args:
        source: data.source.Source.
        extractor: evaluation.features.Extractor, images -> {name: float [b, d]}.
        parts: Parts.
        image_size: int, s.
        sprites: Sprites.
        progress: function of the number of images done, or None.
    Raises:
        DataError: an image cannot be used and the source is strict.
    """
    progress = progress or (lambda done: None)
    batch_size = extractor.global_batch_size
    if parts.next >= source.num_examples:
        return
    dataset = prepared_batches(source, image_size, batch_size, parts.next)
    rows = []
    per_part = max(1, PART_ROWS // batch_size)
    for batch, features in extractor.each(dataset):
        ids = batch["id"].numpy()
        kept, pictures = sprites.of_batch(ids, batch["images"])
        labels = batch["label"].numpy()
        rows.append({"id": ids, "label": labels, "sprite": pictures, "sprite_id": ids[kept], **features})  # fmt: skip
        progress(int(ids[-1]) + 1)
        if len(rows) == per_part:
            _add(parts, rows, int(ids[-1]) + 1, source)
            rows = []
    if parts.next < source.num_examples:
        _add(parts, rows, source.num_examples, source)
    progress(source.num_examples)


def _add(parts, rows, next_id, source):
    """Reports the images left out, then writes a part."""
    names = rows[0] if rows else ()
    columns = {name: np.concatenate([one[name] for one in rows]) for name in names}
    left_out = np.setdiff1d(np.arange(parts.next, next_id), columns.get("id", []))
    for example_id in left_out:
        source.report(example_id, source.fetch(tf.constant(example_id))[0].numpy())
    source.quarantine.save()
    parts.add(next_id, columns)
