"""`--mode=pack`: a folder of images becomes TFRecord shards."""

import dataclasses
import logging
import os

from simclr_tf.commands import plan
from simclr_tf.data import sources
from simclr_tf.data.shards import packing
from simclr_tf.errors import SettingsError

_LOG = logging.getLogger(__name__)


def run(config, given=frozenset()):
    """Writes the shards; the same command again continues.

    Args:
        config: config.Pack.
        given: names of the settings that the user gave (not needed here).
    Returns:
        the content of manifest.json, or None for a dry run.
    Raises:
        UserError: the images cannot be read, or the folder cannot be written.
    """
    del given
    if not config.data.image_dir:
        raise SettingsError(
            "image_dir is not given; name the folder of images, such as --image_dir=photos."
        )
    data = dataclasses.replace(config.data, eval_fraction=0.0)  # own split folders only
    settings = config.pack
    info = sources.describe(data)
    made = {"train": sources.open_source(data, "train")}
    if info.num_eval:
        made["validation"] = sources.open_source(data, "eval")
    work = packing.Packing(
        sources=made,
        fingerprint=info.fingerprint,
        name=info.name,
        output=settings.output,
        images_per_shard=settings.images_per_shard,
        seed=config.run.seed,
    )
    counts = ", ".join(f"{source.num_examples:,} {split}" for split, source in made.items())
    rows = [
        ("images", f"{info.name}: {counts}"),
        ("labels", plan.classes_in_words(info) if info.num_classes else "none"),
        ("shards", f"{len(work.shards()):,} of up to {settings.images_per_shard:,} images"),
        ("output", settings.output),
    ]
    print(plan.format_plan("plan: pack", rows), flush=True)
    if config.run.dry_run:
        return None
    manifest = packing.pack(work)
    out = manifest["left_out"]
    if out:
        first = f"{out[0]['name']} ({out[0]['reason']})"
        _LOG.warning("%d images could not be read and are left out, such as %s; manifest.json lists them", len(out), first)  # fmt: skip
    size = plan.size_text(sum(one["bytes"] for one in manifest["shards"]))
    records = sum(one["records"] for one in manifest["shards"])
    shards = f"--shards={os.path.join(settings.output, 'train-*')}"
    if "validation" in made:
        shards += f" --eval_shards={os.path.join(settings.output, 'validation-*')}"
    print(
        plan.format_done(
            f"{records:,} images in {len(manifest['shards']):,} shards, {size}",
            settings.output,
            (
                "train",
                f'pretrain "{shards}" --model_dir=runs/first'.replace(" --eval", '" "--eval'),
            ),
        )
    )
    return manifest
