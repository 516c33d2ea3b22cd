"""Several labels per image: a source whose labels are rows of a table of label sets."""

import numpy as np

from simclr_tf.data.info import Facts
from simclr_tf.data.source import Source
from simclr_tf.stack import no_autograph, tf


class LabelSets(Source):
    """The images of a Source with a set of labels each.

    The "label" of an example is its row in `targets`; so it goes the way of any label, and a
    stand-in for a bad image brings the labels that belong to it. `truth` and `with_targets` turn
    rows into label sets.

    Args:
        whole: Source of the images; its bad images, seed and limits are shared.
        targets: bool [n, c] in the order of its ids; class_names: c names.
    """

    def __init__(self, whole, targets, class_names):
        super().__init__(
            Facts(
                name=whole.name,
                num_examples=whole.num_examples,
                class_names=class_names,
                fingerprint=whole.fingerprint,
                image_shape=whole.image_shape,
                channels=whole.channels,
            )
        )
        self.whole = whole
        self.targets = np.asarray(targets, bool)
        self.labels = np.arange(self.num_examples, dtype=np.int32)
        self.seed = whole.seed
        self.max_image_pixels = whole.max_image_pixels
        self.quarantine = whole.quarantine
        self.needs_python = whole.needs_python

    def arrays(self):
        return self.whole.arrays()

    def load(self, example_id):
        """int64 [] -> the reference of an image; of sources in memory only."""
        return self.whole.load(example_id)

    def references(self, seed, start=0):
        return self.whole.references(seed, start).map(_row_as_label)

    def references_in_order(self):
        return self.whole.references_in_order().map(_row_as_label)

    def fetch(self, example_id):
        return self.whole.fetch(example_id)[0], tf.cast(example_id, tf.int32)

    def resolve(self, reference):
        return self.whole.resolve(reference)

    def name_of(self, example_id):
        return self.whole.name_of(example_id)

    def files(self):
        return self.whole.files()

    def encoded(self, reference):
        return self.whole.encoded(reference)

    def _resolved(self, references):
        return self.whole._resolved(references)


def _row_as_label(example):
    return {**example, "label": tf.cast(example["id"], tf.int32)}


def truth(source, labels):
    """What is right for examples of a source.

    Args:
        source: Source; labels: int [n], as it gives them.
    Returns:
        the labels, or bool [n, c] of a LabelSets.
    """
    return labels if source.targets is None else source.targets[labels]


@no_autograph
def with_targets(batches, source):
    """Batches of a source with "label" bool [b, c] instead of rows, if it is a LabelSets."""
    if source.targets is None:
        return batches
    with tf.device("CPU:0"):
        targets = tf.constant(source.targets)
    found = batches.map(lambda batch: {**batch, "label": tf.gather(targets, batch["label"])})
    return found.prefetch(1)
