"""`Source`: examples by position. The sources that can read any example at once."""

import os

import numpy as np

from simclr_tf import names
from simclr_tf.data import decoding, diagnosis, order, stacks
from simclr_tf.data.quarantine import Quarantine
from simclr_tf.stack import tf

_STACK = stacks.SUFFIX.encode()


class Source:
    """A set of images whose shuffled stream is a pure function of (seed, position).

    Attributes:
        name, fingerprint: str.
        num_examples: int.
        class_names: tuple of str; num_classes is its length, 0 without labels.
        image_shape: (h, w, 3) if all images are stored as equal-size arrays, else None.
        channels: c of the decoded images, 3 (RGB) unless they are .npy files.
        labels: int32 [n] in the order of the ids (-1: none) where they are in memory, else None.
        targets: bool [n, c] where images have several labels each (label_sets.LabelSets), else
            None.
        needs_python: whether images are read by Python, in the process that made the source.
        value_range: (least, most) value of images that are not of 8 bit, or None for all values.
        converts_profiles: whether JPEGs and PNGs with a colour profile become sRGB.
        seed, max_image_pixels, quarantine: how bad images are told and replaced; see `batches`.
    """

    labels = targets = None
    needs_python = False
    value_range = None
    converts_profiles = False
    seed = 0
    max_image_pixels = 100_000_000

    def __init__(self, facts):
        self.name = facts.name
        self.num_examples = facts.num_examples
        self.class_names = tuple(facts.class_names)
        self.num_classes = len(self.class_names)
        self.fingerprint = facts.fingerprint
        self.image_shape = facts.image_shape
        self.channels = facts.channels
        self.quarantine = Quarantine()

    @property
    def original(self):
        """The source of the images as they are, where this one holds them in another size."""
        return self

    def arrays(self):
        """uint8 [n, h, w, 3] in the order of the ids, or None if images differ or are many."""
        return None

    def part(self, ids, facts):
        """Some of the examples as a source of its own, of sources that are streamed; else None.

        Args:
            ids: int64 [m], ascending; facts: `Facts` of them.
        """
        return None

    def stream(self, seed, start=0):
        """The endless shuffled stream from global position `start`.

        Args:
            seed: int.
            start: int >= 0; skipping costs no reading of what lies before. Or order.Share, whose
                positions alone are then in the stream.
        Returns:
            tf.data.Dataset of {"image": string [] (encoded) or uint8 [h, w, 3], "label": int32
            [] (-1: none), "id": int64 [], "epoch": int32 []}. Element number p of the stream
            from 0 belongs to epoch p // num_examples, and each epoch holds each id once.
        """
        return self._resolved(self.references(seed, start))

    def in_order(self):
        """Every example once, ids ascending, epoch 0: the same dicts as `stream`."""
        return self._resolved(self.references_in_order())

    def references(self, seed, start=0):
        """As `stream`, but "image" is what `resolve` turns into the image: never fails."""
        raise NotImplementedError

    def references_in_order(self):
        """As `in_order`, with references for images."""
        raise NotImplementedError

    def resolve(self, reference):
        """A reference -> the image, string [] or uint8 [h, w, 3]; runs in tf.data."""
        return self._in_range(reference)

    def _in_range(self, image):
        """An image in sRGB, its values stretched to 8 bit, if the source is to do so."""
        if image.dtype != tf.string:
            return image
        # what is too large is judged before it is decoded, and left as it is
        most = self.max_image_pixels
        if self.value_range is not None:
            small = decoding.pixels(image) <= most
            least, largest = self.value_range
            stored = image
            image = tf.cond(
                small, lambda: decoding.in_range(stored, least, largest), lambda: stored
            )
        return decoding.in_srgb(image, most) if self.converts_profiles else image

    def fetch(self, example_id):
        """int64 [] -> (reference, label int32 []) of any example; runs in tf.data."""
        raise NotImplementedError

    def name_of(self, example_id):
        """What the user calls an example, in one printable line."""
        return names.shown(f"{self.name} example {example_id}")

    def names(self, start, stop):
        """Names of the examples from `start` to before `stop`, list of str, for tables of data."""
        return [self.name_of(example_id) for example_id in range(start, stop)]

    def files(self):
        """Paths of the examples in the order of the ids as the system has them, list of str.

        Unlike `names` they can be opened: bytes that are no UTF-8 are surrogate escapes. [] where
        examples are no files of their own.
        """
        return []

    def encoded(self, reference):
        """In Python: (bytes, None) of a reference, or (None, why they cannot be read)."""
        return reference, None

    def report(self, example_id, reference):
        """In Python, from the pipeline: notes a bad image in the quarantine.

        Raises:
            DataError: the quarantine is strict.
            RuntimeError: the image is not bad, so the failure is not the image's.
        """
        encoded, reason = self.encoded(reference)
        if reason is None and self.value_range is not None:
            encoded, reason = diagnosis.in_range(encoded, self.value_range)
        reason = reason or diagnosis.why_unusable(encoded, self.max_image_pixels, self.channels)
        if reason is None:
            raise RuntimeError(
                f"{self.name_of(example_id)} can be decoded, but making its views failed"
            )
        self.quarantine.add(self.name_of(example_id), reason)
        return np.int64(0)

    def report_hopeless(self, example_id):
        """In Python, from the pipeline: no stand-in could be used either."""
        name = self.name_of(example_id)
        reason = self.quarantine.reasons.get(name)
        self.quarantine.fail(
            f"{name}{f' ({reason})' if reason else ''} and all tried in its place cannot be used; "
            f"check the images of {names.shown(self.name)}."
        )

    def _resolved(self, references):
        return references.map(lambda one: {**one, "image": self.resolve(one["image"])})


class RandomAccessSource(Source):
    """A source with labels in memory and an image loader by id."""

    def __init__(self, facts, labels):
        super().__init__(facts)
        self.labels = np.asarray(labels, np.int32)
        with tf.device("CPU:0"):
            self._labels = tf.constant(self.labels)

    def load(self, example_id):
        """int64 [] -> the reference of an image; runs in tf.data."""
        raise NotImplementedError

    def fetch(self, example_id):
        return self.load(example_id), tf.gather(self._labels, example_id)

    def _example(self, example_id, epoch):
        image, label = self.fetch(example_id)
        return {"image": image, "label": label, "id": example_id, "epoch": epoch}

    def references(self, seed, start=0):
        share = order.share_from(start)

        def at(number):
            position = share.positions(number)
            return self._example(*order.shuffled_ids(position, self.num_examples, seed))

        return tf.data.Dataset.range(tf.int64.max // (share.workers * share.stride)).map(at)

    def references_in_order(self):
        ids = tf.data.Dataset.range(self.num_examples)
        return ids.map(lambda example_id: self._example(example_id, tf.constant(0)))


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
    """Encoded images in memory; a reference is the id."""

    def __init__(self, facts, encoded, labels):
        super().__init__(facts, labels)
        with tf.device("CPU:0"):
            self._encoded = tf.constant(encoded, tf.string)

    def load(self, example_id):
        return example_id

    def resolve(self, reference):
        return self._in_range(tf.gather(self._encoded, reference))

    def encoded(self, reference):
        return self._encoded[int(reference)].numpy(), None


class FileSource(RandomAccessSource):
    """One file per image; a reference is its path.

    In memory: the paths (their length + about 30 bytes each).
    """

    def __init__(self, facts, paths, labels):
        super().__init__(facts, labels)
        self.needs_python = any(path.lower().endswith(_STACK) for path in paths)
        with tf.device("CPU:0"):
            self._paths = tf.constant(paths, tf.string)

    def load(self, example_id):
        return tf.gather(self._paths, example_id)

    def resolve(self, reference):
        return self._in_range(self._read(reference))

    def _read(self, reference):
        if not self.needs_python:
            return tf.io.read_file(reference)

        def limited():
            read = lambda path: stacks.read(path, self.max_image_pixels)  # noqa: E731
            return decoding.in_python(read, reference, tf.string)

        suffix = tf.strings.lower(tf.strings.substr(reference, -len(_STACK), len(_STACK)))
        return tf.cond(suffix == _STACK, limited, lambda: tf.io.read_file(reference))

    def name_of(self, example_id):
        return names.shown(self._paths[int(example_id)].numpy())

    def names(self, start, stop):
        paths = self._paths[start:stop].numpy()
        return [names.as_text(path) for path in paths]

    def files(self):
        return [os.fsdecode(path) for path in self._paths.numpy()]

    def encoded(self, reference):
        return diagnosis.read(reference, self.max_image_pixels)

    def _resolved(self, references):
        def read(one):
            return {**one, "image": self.resolve(one["image"])}

        return references.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
