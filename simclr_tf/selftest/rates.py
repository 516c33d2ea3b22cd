"""How fast this machine decodes images and draws views, and whether they come out right."""

import itertools
import time

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.data.info import Facts
from simclr_tf.data.source import BytesSource
from simclr_tf.selftest.checks import Outcome
from simclr_tf.stack import tf
from simclr_tf.views.batches import train_batches
from simclr_tf.views.device import make_views

SIZE = 224
BATCH = 32
SECONDS = 3.0
_HEIGHT = 375  # the usual size of an ImageNet photograph
_WIDTH = 500
_IMAGES = 64


def photographs():
    """A source of JPEGs of smooth noise, of the size of ImageNet's."""
    generator = np.random.default_rng(0)
    coarse = generator.uniform(0, 255, (_IMAGES, 24, 32, 3)).astype(np.float32)
    smooth = tf.image.resize(coarse, [_HEIGHT, _WIDTH], "bicubic")
    images = tf.cast(tf.clip_by_value(smooth, 0, 255), tf.uint8)
    encoded = [tf.io.encode_jpeg(image).numpy() for image in images]
    facts = Facts("photographs", _IMAGES, (), "", None)
    return BytesSource(facts, encoded, np.full(_IMAGES, -1))


def rates(job):
    """Decoding with two crops on the host, then the views of such batches on the device."""
    source = photographs()
    views = settings_of.Views()
    batches = train_batches(source, views, SIZE, BATCH, job.run.seed)
    host, first = _rate(iter(batches))
    again = next(iter(train_batches(source, views, SIZE, BATCH, job.run.seed)))
    same = bool(tf.reduce_all(first["images"] == again["images"])) and not len(source.quarantine)
    view = make_views(views, SIZE, job.run.seed)
    device, drawn = _rate(view(first) for _ in itertools.count())
    pixels = drawn.numpy()
    within = bool(pixels.min() >= 0 and pixels.max() <= 1 and pixels.std() > 0.01)
    words = f"images/s of {_WIDTH}x{_HEIGHT} JPEG to two crops of {SIZE}"
    return [
        Outcome("decode and crop", same, f"{host:.0f}", f"{words}, again the same"),
        Outcome("views", within, f"{device:.0f}", f"images/s to two views of {SIZE}, in [0, 1]"),
    ]


def _rate(iterator):
    """(images per second after the first batch, the first batch); waits for every batch."""
    first = next(iterator)
    count = 0
    began = time.monotonic()
    while time.monotonic() - began < SECONDS or not count:
        tf.nest.map_structure(lambda tensor: tensor[0].numpy(), next(iterator))
        count += BATCH
    return count / (time.monotonic() - began), first
