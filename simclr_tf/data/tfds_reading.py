"""Reading a prepared tensorflow-datasets split: into memory when it is small, else by windows.

Images stay encoded (JPEG or PNG bytes) until they are used. Small equal-size images are decoded
once and kept as one array.
"""

import dataclasses

import numpy as np

from simclr_tf.data import decoding
from simclr_tf.data.batches import as_written
from simclr_tf.data.holdout import held_out
from simclr_tf.data.source import ArraySource, BytesSource
from simclr_tf.data.tfds_features import image_key, label_key
from simclr_tf.data.windows import WindowSource
from simclr_tf.stack import no_autograph, tf

import tensorflow_datasets as tfds  # isort: skip

MEMORY_LIMIT_BYTES = 2**30  # encoded or decoded size up to which a split is kept in memory
_AT_ONCE = 1024  # examples that go from TensorFlow to Python together


@dataclasses.dataclass(frozen=True)
class Part:
    """The trained-on or the held-out share of a split."""

    which: str
    fraction: float
    seed: int

    def chosen(self, num_examples):
        """bool [num_examples]: the examples of this part."""
        held = held_out(np.full(num_examples, -1), self.fraction, self.seed)
        return held if self.which == "eval" else ~held


def _encoded(builder, name):
    """Decoders that leave every image encoded, and the function to our names."""
    features = builder.info.features
    image = image_key(name, features)
    label = label_key(features)
    images = [key for key, kind in features.items() if isinstance(kind, tfds.features.Image)]
    decoders = {key: tfds.decode.SkipDecoding() for key in images}

    def rename(example):
        value = tf.cast(example[label], tf.int32) if label else tf.constant(-1)
        return {"image": example[image], "label": value}

    return decoders, rename


def open_split(builder, split, part, facts, keep_in_memory, has_value_range=False):
    """The `Source` of a split.

    Args:
        builder: a prepared tensorflow-datasets builder.
        split: a split or an expression such as train[:90%].
        part: `Part`, or None for the whole split.
        facts: `Facts`, without the image shape.
        keep_in_memory: False streams even a small split.
        has_value_range: whether values are stretched when an image is used, so that images stay
            encoded until then.
    """
    decoders, rename = _encoded(builder, facts.name)
    found = builder.info.splits[split]
    chosen = part.chosen(found.num_examples) if part else np.ones(found.num_examples, bool)

    def examples():
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        dataset = builder.as_dataset(
            split=split, decoders=decoders, read_config=config, shuffle_files=False
        )
        return dataset.map(rename)

    bytes_per_example = found.num_bytes / max(found.num_examples, 1)
    if not keep_in_memory or bytes_per_example * facts.num_examples > MEMORY_LIMIT_BYTES:
        return WindowSource(
            facts,
            builder,
            split,
            chosen,
            decoders=decoders,
            rename=rename,
            examples=examples,
        )
    shape = None if has_value_range else _fixed_shape(builder, facts.name)
    return _in_memory(facts, examples(), chosen, shape)


def _fixed_shape(builder, name):
    """(h, w, 3) if the data set promises one size for all its images, else None."""
    features = builder.info.features
    height, width, _ = features[image_key(name, features)].shape
    return (height, width, 3) if height and width else None


@no_autograph
def _in_memory(facts, examples, chosen, shape):
    encoded = []
    labels = []
    for batch in as_written(examples.batch(_AT_ONCE)).as_numpy_iterator():
        encoded.extend(batch["image"])
        labels.extend(batch["label"])
    keep = np.flatnonzero(chosen)
    encoded = [encoded[i] for i in keep]
    labels = np.asarray(labels, np.int32)[keep]
    if shape is None or len(encoded) * np.prod(shape) > MEMORY_LIMIT_BYTES:
        return BytesSource(facts, encoded, labels)
    images = np.empty((len(encoded), *shape), np.uint8)
    flat = all(map(decoding.is_flat_png, encoded))
    decode = _decode_flat_png if flat else decoding.decode
    decoded = tf.data.Dataset.from_tensor_slices(encoded).map(
        decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    done = 0
    for batch in as_written(decoded.batch(_AT_ONCE)).as_numpy_iterator():
        images[done : done + len(batch)] = batch
        done += len(batch)
    return ArraySource(dataclasses.replace(facts, image_shape=shape), images, labels)


def _decode_flat_png(encoded):
    return tf.io.decode_png(encoded, channels=3)
