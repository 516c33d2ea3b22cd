"""`Source`: examples by position. The sources that can read any example at once."""

import numpy as np

from simclr_tf.data import order
from simclr_tf.stack import tf


class Source:
    """A set of images whose shuffled stream is a pure function of (seed, position).

    Attributes:
        name, fingerprint: str.
        num_examples: int.
        class_names: tuple of str; num_classes is its length, 0 without labels.
        image_shape: (h, w, 3) if all images are stored as equal-size arrays, else None.
        labels: int32 [n] in the order of the ids (-1: none) where they are in memory, else None.
    """

    labels = None

    def __init__(self, facts):
        self.name = facts.name
        self.num_examples = facts.num_examples
        self.class_names = tuple(facts.class_names)
        self.num_classes = len(self.class_names)
        self.fingerprint = facts.fingerprint
        self.image_shape = facts.image_shape

    def arrays(self):
        """uint8 [n, h, w, 3] in the order of the ids, or None if images differ or are many."""
        return None

    def stream(self, seed, start=0):
        """The endless shuffled stream from global position `start`.

        Args:
            seed: int.
            start: int >= 0; skipping costs no reading of what lies before.
        Returns:
            tf.data.Dataset of {"image": string [] (encoded) or uint8 [h, w, 3], "label": int32
            [] (-1: none), "id": int64 [], "epoch": int32 []}. Element number p of the stream
            from 0 belongs to epoch p // num_examples, and each epoch holds each id once.
        """
        raise NotImplementedError

    def in_order(self):
        """Every example once, ids ascending, epoch 0: the same dicts as `stream`."""
        raise NotImplementedError


class RandomAccessSource(Source):
    """A source with labels in memory and an image loader by id."""

    # Reading memory needs no threads; waiting for files does.
    num_parallel_calls = None

    def __init__(self, facts, labels):
        super().__init__(facts)
        self.labels = np.asarray(labels, np.int32)
        with tf.device("CPU:0"):
            self._labels = tf.constant(self.labels)

    def load(self, example_id):
        """int64 [] -> the image, string [] or uint8 [h, w, 3]; runs in tf.data."""
        raise NotImplementedError

    def _example(self, example_id, epoch):
        return {
            "image": self.load(example_id),
            "label": tf.gather(self._labels, example_id),
            "id": example_id,
            "epoch": epoch,
        }

    def _map(self, dataset, fn):
        if self.num_parallel_calls is None:
            return dataset.map(fn)
        return dataset.map(fn, num_parallel_calls=self.num_parallel_calls, deterministic=True)

    def stream(self, seed, start=0):
        def at(position):
            return self._example(*order.shuffled_ids(position, self.num_examples, seed))

        return self._map(tf.data.Dataset.range(start, tf.int64.max), at)

    def in_order(self):
        ids = tf.data.Dataset.range(self.num_examples)
        return self._map(ids, lambda example_id: self._example(example_id, tf.constant(0)))


class ArraySource(RandomAccessSource):
    """Equal-size images, decoded, in memory."""

    def __init__(self, facts, images, labels):
        super().__init__(facts, labels)
        self._images = images
        with tf.device("CPU:0"):
            self._tensor = tf.constant(images)

    def arrays(self):
        return self._images

    def load(self, example_id):
        return tf.gather(self._tensor, example_id)


class BytesSource(RandomAccessSource):
    """Encoded images in memory."""

    def __init__(self, facts, encoded, labels):
        super().__init__(facts, labels)
        with tf.device("CPU:0"):
            self._encoded = tf.constant(encoded, tf.string)

    def load(self, example_id):
        return tf.gather(self._encoded, example_id)


class FileSource(RandomAccessSource):
    """One file per image. In memory: the paths (their length + about 30 bytes each)."""

    num_parallel_calls = tf.data.AUTOTUNE

    def __init__(self, facts, paths, labels):
        super().__init__(facts, labels)
        with tf.device("CPU:0"):
            self.paths = tf.constant(paths, tf.string)

    def load(self, example_id):
        return tf.io.read_file(tf.gather(self.paths, example_id))
