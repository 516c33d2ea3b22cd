"""A pretraining run as it lies on disk, without the training; and a folder of drawn images."""

import os

import numpy as np
from PIL import Image, ImageDraw

from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.runs import restore
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf

SETTINGS = {
    "image_size": 16,
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "proj_out_dim": 8,
    "crop_area_min": 0.25,
    "flip": False,
    "use_blur": False,
}


def save_tiny_run(folder, **changes):
    """Writes config.json and a checkpoint of step 7 of a randomly initialised encoder.

    Returns:
        the run folder, str.
    """
    run_dir = os.path.join(str(folder), "run")
    settings = config.build(config.Pretrain, {**SETTINGS, "model_dir": run_dir, **changes})
    info = sources.describe(settings.data)
    dataset = {"name": info.name, "fingerprint": info.fingerprint, "num_train": info.num_train, "num_classes": info.num_classes}  # fmt: skip
    RunFolder(run_dir).claim("pretrain", config.flatten(settings), frozenset(), dataset)
    encoder, head, probe = restore.build_parts(settings, info.num_classes)
    parts = {"encoder": encoder, "head": head}
    if probe is not None:
        parts["probe"] = probe
    checkpoint = tf.train.Checkpoint(step=tf.Variable(7, dtype=tf.int64), **parts)
    manager = tf.train.CheckpointManager(checkpoint, os.path.join(run_dir, "checkpoints"), 1)
    manager.save(checkpoint_number=7)
    return run_dir


def images_in_folders(root, counts, side=24):
    """Draws images: {class folder ("" for a flat folder): number}; shapes differ by class."""
    rng = np.random.default_rng(sum(counts.values()))
    for number, (name, count) in enumerate(counts.items()):
        folder = os.path.join(str(root), name)
        os.makedirs(folder, exist_ok=True)
        for index in range(count):
            image = Image.new("RGB", (side, side), tuple(int(v) for v in rng.integers(0, 90, 3)))
            draw = ImageDraw.Draw(image)
            colour = tuple(int(v) for v in rng.integers(150, 256, 3))
            x, y, size = (int(v) for v in rng.integers(2, side // 2, 3))
            if number % 3 == 0:
                draw.rectangle([x, 0, x + 3, side], fill=colour)
            elif number % 3 == 1:
                draw.ellipse([x, y, x + 6, y + 6], fill=colour)
            else:
                draw.ellipse([x, y, x + size, y + size], outline=colour, width=2)
            image.save(os.path.join(folder, f"{index:03d}.png"))
