"""A pretraining that is stopped and started again against one that is not."""

import contextlib
import dataclasses
import io
import os

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.errors import PreemptedError
from simclr_tf.runs.checkpoints import latest_in, reader_of
from simclr_tf.selftest import encoder
from simclr_tf.selftest.checks import STEP, Outcome
from simclr_tf.stack import tf

_IMAGES = 32
_SIDE = 40
_AT_ONCE = 1e-6  # minutes: over before the first step ends


def resume(job):
    """Stops after the first step by --max_wall_minutes, resumes, compares every stored value."""
    images = os.path.join(job.scratch, "images")
    draw_images(images)
    found = []
    for name, limits in (("whole", [0.0]), ("stopped", [_AT_ONCE, 0.0])):
        folder = os.path.join(job.scratch, name)
        for minutes in limits:
            _train(job, images, folder, minutes)
        found.append(stored_values(latest_in(os.path.join(folder, "checkpoints"))))
    differing = different(*found)
    meaning = f"of {len(found[0])} stored tensors differ from those of the uninterrupted run"
    return [Outcome("resume", not differing, f"{len(differing)}", meaning)]


def draw_images(folder):
    """Writes small PNG files of noise."""
    tf.io.gfile.makedirs(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (_IMAGES, _SIDE, _SIDE, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        with tf.io.gfile.GFile(os.path.join(folder, f"{number:02d}.png"), "wb") as file:
            file.write(tf.io.encode_png(image).numpy())


def _train(job, images, folder, max_minutes):
    """Part of the training, quietly; every part is a run of its own, as after a kill."""
    changes = {"image_dir": images, "max_wall_minutes": max_minutes, "encoder": encoder.NAME}
    changes["operators"] = ""  # crop and flip only: compiled sooner
    config = settings_of.build(settings_of.Pretrain, {**STEP, **changes})
    strategy = "auto" if job.run.use_tpu else "default"
    run = dataclasses.replace(
        job.run, model_dir=folder, deterministic=True, strategy=strategy, logical_cpus=0
    )
    config = dataclasses.replace(config, run=run)
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        with contextlib.suppress(PreemptedError):
            job.pretrain(config)


def stored_values(prefix):
    """{key: array} of a checkpoint, without how often its run was saved."""
    with reader_of(prefix) as reader:
        names = reader.get_variable_to_shape_map()
        keys = [name for name in names if name.endswith("VARIABLE_VALUE")]
        keys = [name for name in keys if not name.startswith("save_counter")]
        return {key: reader.get_tensor(key) for key in keys}


def different(first, second):
    """The keys of two checkpoints whose values are not equal bit for bit."""
    return [
        key
        for key in sorted({*first, *second})
        if key not in first
        or key not in second
        or np.asarray(first[key]).tobytes() != np.asarray(second[key]).tobytes()
    ]
