"""How fast this machine prepares images and trains on them."""

import time

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.data import batches, decoding
from simclr_tf.stack import tf
from simclr_tf.training import length, pretraining
from simclr_tf.views.batches import train_batches

SECONDS = 4.0  # that a rate is measured
_WARM = 2  # steps before a step is timed
_STEPS = 3
ENCODERS = ((18, 1), (34, 1), (50, 1), (101, 1), (50, 2))
"""(depth, width multiplier) of the ResNets whose epochs are estimated; the first one is measured."""


def decode_rate(source, seconds=SECONDS):
    """Images that are read and decoded in a second, several at once; read before, so from memory."""

    def decode(example):
        return tf.shape(decoding.decode(example["image"], source.channels))

    return _rate(batches.usable(source, decode).batch(16), 16, seconds)


def input_rate(source, data, seed, seconds=SECONDS):
    """Images in a second that come out of the training's input with both views cropped."""
    size = 16
    made = train_batches(source, settings_of.Views(), data.image_size, size, seed)
    return _rate(made, size, seconds)


def _rate(dataset, size, seconds):
    """Elements in a second after the first batches."""
    stream = iter(dataset)
    for _ in range(_WARM):
        if next(stream, None) is None:
            return 0.0
    began = time.perf_counter()
    count = 0
    for _ in stream:
        count += size
        if time.perf_counter() - began > seconds:
            break
    return count / (time.perf_counter() - began) if count else 0.0


def step_rate(source, data, seed):
    """Trains a ResNet-18 for a few steps.

    Returns:
        (images in a second of the training step alone, images of the batch, bytes of memory that
        the device used at most, 0 where it does not tell).
    """
    gpu = tf.config.list_logical_devices("GPU")
    batch_size = 64 if gpu else 16
    config = settings_of.Pretrain(
        data=data,
        model=settings_of.Model(resnet_depth=ENCODERS[0][0], image_channels=source.channels),
        training=settings_of.Training(train_batch_size=batch_size, train_steps=10),
    )
    steps = length.Steps(
        total=10, warmup=0, per_epoch=10, checkpoint=10, log=10, peak_learning_rate=0.01
    )
    model = pretraining.build_model(config, 0, steps)
    batch = next(iter(train_batches(source, config.views, data.image_size, batch_size, seed)))
    step = tf.function(lambda one: model.train_step(one)["loss"], autograph=False)
    for _ in range(_WARM):
        float(step(batch))
    times = []
    for _ in range(_STEPS):
        began = time.perf_counter()
        float(step(batch))
        times.append(time.perf_counter() - began)
    used = tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpu else 0
    return batch_size / float(np.median(times)), batch_size, used


def multiply_adds(depth, width, image_size, small_stem, channels=3):
    """Multiplications of one forward pass of a ResNet (arXiv:1512.03385, table 1).

    Args:
        depth: 18, 34, 50 or 101. width: multiplier of all widths. image_size: pixels.
        small_stem: 3x3 with stride 1 and no pooling, instead of 7x7 with stride 2 and pooling.
        channels: of the images.
    """
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
    bottleneck = depth >= 50
    side = image_size if small_stem else -(-image_size // 2)
    before = 64 * width
    total = side**2 * before * channels * (9 if small_stem else 49)
    side = side if small_stem else -(-side // 2)
    for stage, count in enumerate(blocks):
        inner = 64 * 2**stage * width
        out = 4 * inner if bottleneck else inner
        for block in range(count):
            stride = 2 if stage and not block else 1
            after = -(-side // stride)
            if bottleneck:
                total += side**2 * before * inner + after**2 * (9 * inner**2 + inner * out)
            else:
                total += after**2 * 9 * (before * inner + inner**2)
            if not block:  # the shortcut is projected, as in the official code
                total += after**2 * before * out
            before, side = out, after
    return total


def epochs(num_train, image_size, rate_of_step, rate_of_input, channels=3):
    """[{"encoder", "images_per_second", "minutes_per_epoch", "limited_by"}] of ENCODERS.

    The measured step is scaled by the multiplications of each encoder; an epoch takes as long as
    the slower one of the step and the input.
    """
    small = image_size <= 32
    first = multiply_adds(*ENCODERS[0], image_size, small, channels)
    found = []
    for depth, width in ENCODERS:
        work = multiply_adds(depth, width, image_size, small, channels)
        of_step = rate_of_step * first / work
        rate = min(of_step, rate_of_input) if rate_of_input else of_step
        found.append(
            {
                "encoder": f"ResNet-{depth}" + (f" ({width}x)" if width > 1 else ""),
                "measured": (depth, width) == ENCODERS[0],
                "images_per_second": round(rate, 2),
                "minutes_per_epoch": round(num_train / rate / 60, 2),
                "limited_by": "input" if rate < of_step else "training step",
            }
        )
    return found
