"""The views of a step of a finished or interrupted pretraining, made again from its number."""

import os
from typing import Dict, Union

from simclr_tf import config
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.runs.files import read_json
from simclr_tf.stack import no_autograph, tf
from simclr_tf.training import pretraining
from simclr_tf.views import multi_crop


def views_of_step(run_dir: Union[str, "os.PathLike[str]"], step: int) -> Dict[str, tf.Tensor]:
    """Makes the batch of views that a step of pretraining saw, from nothing but its number.

    Args:
        run_dir: folder of a pretraining run; its config.json says which images, seed and views.
        step: int, 1 for the first step; `metrics.jsonl` counts in the same way.
    Returns:
        {"views": float32 [v * b, s, s, 3] in [0, 1], all first views first, "id": int64 [b],
        "epoch": int32 [b], "label": int32 [b] (-1: none)}, b the global batch; with
        `--local_views` also "local_views" float32 [n * b, l, l, 3]. The pixels are
        those of the step (within 2e-6 where another kind of device made them).
    Raises:
        DataError: the folder holds no pretraining run, or its images cannot be read.
        SettingsError: `step` is below 1.
    """
    if step < 1:
        raise SettingsError(f"step={step} is not a step; give 1 for the first one or more.")
    stored = read_json(os.path.join(run_dir, "config.json"))
    if stored.get("mode") != "pretrain":
        raise DataError(f"{run_dir} is not the folder of a pretraining run; give one.")
    run = config.build_stored(config.Pretrain, stored["settings"])
    source = pretraining.open_images(run)
    count = run.training.num_views
    batch = run.training.global_batch_size
    found = next(iter(multi_crop.batches(source, run, count, batch, step - 1)))
    made = multi_crop.make_all_views(run, count)(found)
    views = zip(("views", "local_views"), made if isinstance(made, tuple) else (made,))
    return {**dict(views), **{name: found[name] for name in ("id", "epoch", "label")}}


@no_autograph
def examples_of_step(source, seed, global_batch_size, step):
    """Which examples the batch of a training step holds; reads no image.

    Args:
        source: data.source.Source that is trained on.
        seed: int, of the run.
        global_batch_size: int, b.
        step: int, 1 for the first step.
    Returns:
        (ids, names): lists of b int and of b str.
    """
    references = source.references(seed, (step - 1) * global_batch_size)
    batches = references.map(lambda one: one["id"]).batch(global_batch_size)
    ids = [int(example_id) for example_id in next(iter(batches)).numpy()]
    return ids, [source.name_of(example_id) for example_id in ids]
