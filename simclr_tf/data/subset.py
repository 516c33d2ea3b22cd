"""Parts of a source: labelled shares for fine-tuning, samples for statistics."""

import numpy as np

from simclr_tf import streams
from simclr_tf.data.info import Facts, fingerprint_of
from simclr_tf.data.label_sets import LabelSets
from simclr_tf.data.source import RandomAccessSource
from simclr_tf.stack import tf


def labelled_ids(labels, fraction, seed):
    """A seeded class-balanced share of the examples.

    The share of a class is a beginning of one permutation of its examples that depends on the
    seed only, so smaller shares are subsets of larger ones.

    Args:
        labels: int [n]; fraction: float, 0 < fraction <= 1; seed: int >= 0.
    Returns:
        int64, ascending: round(fraction * n_c) examples of each class c with n_c examples, at
        least one.
    """
    labels = np.asarray(labels)
    picked = []
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        # RandomState: its stream is frozen by NumPy, so every version draws the same share.
        order = np.random.RandomState(streams.label_fraction(seed, int(label))).permutation(
            len(members)
        )
        picked.append(members[order[: max(1, int(round(fraction * len(members))))]])
    return np.sort(np.concatenate(picked)).astype(np.int64)


def all_labels(source):
    """int32 [n] in the order of the ids; of a streamed source by one pass that decodes nothing."""
    if source.labels is not None:
        return source.labels
    labels = source.references_in_order().map(lambda one: one["label"]).batch(4096)
    return np.concatenate(list(labels.as_numpy_iterator())).astype(np.int32)


def labelled_subset(source, fraction, seed):
    """The source with a class-balanced share of its labelled examples; see `labelled_ids`.

    Where images have several labels each, classes overlap, and the share is of all images.
    """
    if fraction >= 1.0:
        return source
    several = source.targets is not None
    labels = np.zeros(source.num_examples, int) if several else all_labels(source)
    return subset(source, labelled_ids(labels, fraction, seed))


def sample(source, count, seed):
    """The source with `count` (or all, if it has fewer) examples drawn by seed, without labels."""
    if count >= source.num_examples:
        return source
    order = np.random.RandomState(streams.sample(seed, count)).permutation(source.num_examples)
    ids = order[:count]
    return subset(source, np.sort(ids).astype(np.int64))


def subset(source, ids):
    """The source with some of its examples, in this order, with ids from 0.

    Args:
        source: Source; ids: int64 [m], ascending.
    Returns:
        Source of m examples; bad images are noted in the quarantine of `source`.
    """
    if isinstance(source, LabelSets):
        return LabelSets(subset(source.whole, ids), source.targets[ids], source.class_names)
    facts = Facts(
        name=source.name,
        num_examples=len(ids),
        class_names=source.class_names,
        fingerprint=fingerprint_of(source.fingerprint, *ids),
        image_shape=source.image_shape,
        channels=source.channels,
    )
    part = source.part(ids, facts)
    part = part if part is not None else _Subset(source, ids, facts)
    part.seed = source.seed
    part.max_image_pixels = source.max_image_pixels
    part.value_range = source.value_range
    part.converts_profiles = source.converts_profiles
    part.quarantine = source.quarantine
    return part


class _Subset(RandomAccessSource):
    """Some examples of a RandomAccessSource."""

    def __init__(self, whole, ids, facts):
        super().__init__(facts, whole.labels[ids])
        self._whole = whole
        self._ids = ids
        self.needs_python = whole.needs_python
        with tf.device("CPU:0"):
            self._ids_tensor = tf.constant(ids)

    def arrays(self):
        images = self._whole.arrays()
        return None if images is None else images[self._ids]

    def load(self, example_id):
        return self._whole.load(tf.gather(self._ids_tensor, example_id))

    def resolve(self, reference):
        return self._whole.resolve(reference)

    def name_of(self, example_id):
        return self._whole.name_of(int(self._ids[int(example_id)]))

    def files(self):
        files = self._whole.files()
        return [files[example_id] for example_id in self._ids] if files else []

    def encoded(self, reference):
        return self._whole.encoded(reference)

    def _resolved(self, references):
        return self._whole._resolved(references)
