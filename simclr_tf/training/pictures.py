"""Pictures of a pretraining while it runs: pairs of views, similarities, points for a projector."""

import logging
import math
import time

import numpy as np

from simclr_tf import names
from simclr_tf.data import stacks, subset
from simclr_tf.evaluation.features import Extractor
from simclr_tf.stack import tf
from simclr_tf.views.batches import eval_batches, train_batches
from simclr_tf.views.device import make_views

_LOG = logging.getLogger(__name__)
PAIRS = 32  # images whose two views are compared
SHOWN = 8  # of them drawn
POINTS = 200  # images of the projector
_BATCH = 64
_SPRITE = 48  # pixels
_SHARE = 50  # pictures take at most one of so many seconds


class Pictures:
    """An observer of `loop.train` that makes pictures now and then.

    The same images and views are looked at each time. It reads the weights and changes nothing.

    Args:
        config: config.Pretrain.
        model: SimCLR in training.
        source: training Source.
        strategy: tf.distribute.Strategy that holds the model.
        total: last step of the training.
        loggers: loggers.Loggers that get the pictures.
    """

    def __init__(self, config, model, source, strategy, total, loggers):
        self._config = config
        self._source = source
        self._total = total
        self._loggers = loggers
        self._seconds = 60.0 * config.training.picture_minutes
        self._began = time.monotonic()
        self._next = self._began + self._seconds
        self._views = None
        self._failed = False

        def spaces(images, training):
            h = model.encoder(images, training=training)
            return {"h": h, "z": h if model.head is None else model.head(h, training=training)}

        self._extract = Extractor(spaces, _BATCH, strategy)

    def __call__(self, step, logs):
        """Makes the pictures if it is time, or at the end of a training that is long enough."""
        del logs
        now = time.monotonic()
        last = step == self._total and now - self._began >= self._seconds
        if self._failed or not (last or now >= self._next):
            return
        try:
            self._make(step)
        except Exception as error:  # noqa: BLE001 - a picture must not end a training of days
            self._failed = True
            _LOG.warning("no more pictures of this run are made (%s: %s)", type(error).__name__, error)  # fmt: skip
        cost = time.monotonic() - now
        self._next = now + max(self._seconds, _SHARE * cost if self._seconds else 0.0)

    def _make(self, step):
        if self._views is None:
            self._views = self._make_views()
            self._loggers.image(step, "views", grid(self._views[:, :SHOWN]))
        pairs = self._views
        count = pairs.shape[1]
        rows = self._features(pairs.reshape((-1, *pairs.shape[2:])))["z"]
        unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        cosine = unit[:count] @ unit[count:].T
        self._loggers.histogram(step, "similarity/positives", np.diag(cosine))
        others = cosine[~np.eye(count, dtype=bool)]
        if len(others):
            self._loggers.histogram(step, "similarity/negatives", others)
        self._loggers.points(*self._points())

    def _make_views(self):
        """float32 [2, n, s, s, c], two views of the first images of the training."""
        config = self._config
        size = config.data.image_size
        seed = config.run.seed
        count = min(PAIRS, self._source.num_examples)
        batch = next(iter(train_batches(self._source, config.views, size, count, seed)))
        views = make_views(config.views, size, seed, once=True)(batch).numpy()
        return views.reshape((2, count, *views.shape[1:]))

    def _features(self, images):
        """{"h": float32 [n, d], "z": float32 [n, p]} of images float32 [n, s, s, c]."""
        blocks = [tf.constant(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)]
        nothing = [tf.zeros([len(block)], tf.int64) for block in blocks]
        batches = [{"images": block, "label": zero, "id": zero} for block, zero in zip(blocks, nothing)]  # fmt: skip
        return self._extract(batches).h

    def _points(self):
        """(h float32 [n, d], pictures uint8 [n, t, t, 3], lines of names.tsv)."""
        source = subset.sample(self._source.original, POINTS, self._config.run.seed)
        size = self._config.data.image_size
        factor = math.ceil(size / _SPRITE)
        rows, pictures, ids, labels = [], [], [], []
        for batch, found in self._extract.each(eval_batches(source, size, _BATCH)):
            small = tf.nn.avg_pool2d(batch["images"], factor, factor, "VALID").numpy()
            pictures.append(np.uint8(np.rint(255.0 * stacks.as_rgb(small))))
            rows.append(found["h"])
            ids += batch["id"].numpy().tolist()
            labels += batch["label"].numpy().tolist()
        lines = [names.cell(source.name_of(one)) for one in ids]
        if source.class_names:
            called = [names.cell(source.class_names[one]) if one >= 0 else "" for one in labels]
            lines = ["image\tclass", *map("\t".join, zip(lines, called))]
        return np.concatenate(rows), np.concatenate(pictures), lines


def grid(pairs):
    """A picture uint8 [2s, n * s, 3] of pairs of views float [2, n, s, s, c]: a column per image."""
    pixels = np.uint8(np.rint(255.0 * stacks.as_rgb(pairs)))
    rows = pixels.transpose(0, 2, 1, 3, 4)  # [2, s, n, s, 3]
    return rows.reshape(2 * pixels.shape[2], -1, 3)
