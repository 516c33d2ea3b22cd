"""What an encoder makes of a few images: thumbnails, h, z, labels and names, in memory."""

import dataclasses

import numpy as np

from simclr_tf import phases
from simclr_tf.data import sources, stacks
from simclr_tf.evaluation.features import extract_features
from simclr_tf.report import findings
from simclr_tf.report.html import SIDE
from simclr_tf.report.sample import Sample
from simclr_tf.runs import restore
from simclr_tf.stack import tf
from simclr_tf.views.batches import eval_batches

BATCH = 128


@dataclasses.dataclass(frozen=True)
class Looks:
    """Rows of images.

    Attributes:
        kind: "held-out" or "training".
        thumbnails: uint8 [n, t, t, 3], t <= SIDE.
        h: float32 [n, d] of length 1.
        labels: int [n], -1 without one.
        ids: int [n], of the images in their source.
        names: list of str.
    """

    kind: str
    thumbnails: np.ndarray
    h: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    names: list

    def __len__(self):
        return len(self.h)

    def part(self, rows):
        """The Looks of some rows."""
        columns = {name: getattr(self, name)[rows] for name in ("thumbnails", "h", "labels", "ids")}
        return Looks(self.kind, names=[self.names[int(row)] for row in rows], **columns)


def thumbnail_side(image_size):
    """Pixels of a thumbnail of images of this size."""
    return min(SIDE, image_size)


def look(encoder, sample, kind, image_size, side=None):
    """The Looks of a source, without the images that cannot be used.

    Args:
        encoder: built model, images -> h.
        sample: data.source.Source or Sample.
        kind: see Looks.
        image_size: pixels that the encoder gets.
        side: pixels of a thumbnail; default those of `image_size`.
    """
    side = side or thumbnail_side(image_size)
    kept = []

    def batches():
        whole = eval_batches(sample, image_size, BATCH)
        count = getattr(sample, "count", None)
        for batch in phases.counted(whole, f"{kind} images of the page", count):
            kept.append(thumbnails_of(batch["images"], side))
            yield batch

    features = extract_features(encoder, batches(), BATCH)
    several = getattr(sample, "targets", None) is not None  # several labels each: none of them
    labels = np.full(len(features.ids), -1) if several else np.asarray(features.labels)
    called = [sample.name_of(int(one)) for one in features.ids]
    names = [_short(name, sample.name) for name in called]
    found = Looks(kind, np.concatenate(kept), findings.unit(features.h), labels, features.ids, names)  # fmt: skip
    # what stands in for an image that cannot be used would be shown as its near-duplicate
    bad = sample.quarantine.reasons
    return found.part([row for row, name in enumerate(called) if name not in bad]) if bad else found


def _short(name, source):
    """A name below a thumbnail: the end of a path, or the number."""
    if name.startswith(f"{source} example "):
        return "no. " + name[len(f"{source} example ") :]
    return "/".join(name.split("/")[-2:])


def thumbnails_of(images, side):
    """float [n, s, s, c] in [0, 1] -> uint8 [n, side, side, 3]."""
    if images.shape[1] != side:
        images = tf.image.resize(images, [side, side], method="area")
    return np.uint8(np.rint(255.0 * np.clip(stacks.as_rgb(np.asarray(images)), 0, 1)))


def held_out_and_bank(trained, most_queries, most_bank, images_of=None):
    """Looks of held-out images, and of training images beside them.

    Without held-out images the training images are shared out: queries are never in the bank.

    Args:
        trained: restore.Trained.
        most_queries, most_bank: int, images at most.
        images_of: {setting name: value} of the run whose images are looked at; default its own.
    Returns:
        (Looks, Looks, names of the classes: () without labels).
    Raises:
        DataError: the images cannot be read.
    """
    settings = images_of or trained.settings
    data = restore.data_of(settings)
    size = trained.settings["image_size"]
    seed = settings["seed"]
    source = sources.open_source(data, "train", seed)
    if sources.describe(data).num_eval:
        held_out = sources.open_source(data, "eval", seed)
        queries = look(trained.encoder, Sample(held_out, seed, most_queries), "held-out", size)
        bank = look(trained.encoder, Sample(source, seed, most_bank), "training", size)
    else:
        both = look(trained.encoder, Sample(source, seed, most_queries + most_bank), "training", size)  # fmt: skip
        cut = min(most_queries, -(-len(both) // 2))
        queries = both.part(np.arange(cut))
        bank = both.part(np.arange(cut, len(both)))
    known = len(source.class_names) > 1 and source.targets is None and (queries.labels >= 0).any()
    return queries, bank, tuple(source.class_names) if known else ()
