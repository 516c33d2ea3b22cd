"""The work of an embedding: missing parts, tables, pictures, results."""

import time

from simclr_tf import names, phases
from simclr_tf.embedding import duplicates, finished, pictures, stream, tables
from simclr_tf.embedding.parts import Parts
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.frozen import fastest
from simclr_tf.runs.files import write_json
from simclr_tf.stack import tf


def embed_images(job, weights, stamps):
    """Everything that takes long; returns the results."""
    began = time.monotonic()
    source = job.source
    output = job.output
    source.quarantine.attach(output.quarantine)
    identity = {"weights": weights}
    parts = Parts(output.folder.join("unfinished"), identity, {"images": stamps["times"]})
    states = job.states()  # before the files are read: a later change is seen
    start = parts.next
    if 0 < start < source.num_examples:
        print(f"continuing with image {start:,} of {source.num_examples:,}", flush=True)
    _embed(job, parts)
    seconds = time.monotonic() - began
    table = tables.Table(parts, job.names, states)
    if not table.num_rows:
        parts.remove()
    finished.refuse_empty(table.num_rows, source.num_examples, output.quarantine)
    for suffix, path in output.files.items():
        if suffix == ".npz":
            tables.write_npz(path, table, job.made())
        else:
            tables.write_parquet(path, table)
    results = {
        "mode": "embed",
        "checkpoint": job.config.trained.checkpoint,
        "step": job.trained.step,
        "dataset": source.name,
        "num_images": table.num_rows,
        "num_unusable": source.num_examples - table.num_rows,
        "feature_dim": job.trained.encoder.feature_dim,
        "images_per_second": round((source.num_examples - start) / seconds, 2),
        "weights": weights,
    }
    if output.pictures:
        results.update(pictures.draw(job, parts))
        if finished.stamp_of(job.image_files()) != stamps["times"]:
            print("note: images changed meanwhile; run the same command again", flush=True)
            stamps = {}
        made = ("projector", "neighbours.png", "duplicates.tsv")
        places = [*output.files.values(), *map(output.folder.join, made)]
        results["images"] = stamps
        results["outputs"] = finished.sizes_of(output.folder.path, places)
    results["wall_seconds"] = round(time.monotonic() - began, 2)
    _finish(output, parts, results)
    return results


def _embed(job, parts):
    """Makes the missing parts."""
    embed = job.config.embed
    size = job.config.data.image_size
    encoder = fastest(job.trained.encoder, job.strategy)
    head = job.trained.head

    def spaces(images, training):
        h = encoder(images, training=training)
        return {"h": h, "z": head(h, training=training)} if embed.embed_head else {"h": h}

    sprites = stream.Sprites.of(job.source.num_examples, embed.projector_images, size)
    with phases.phase("embed", job.source.num_examples, start=parts.next) as phase:
        extractor = Extractor(spaces, embed.eval_batch_size, job.strategy)
        stream.embed(job.source, extractor, parts, size, sprites, phase.reach)


def _finish(output, parts, results):
    """Says what was made, writes results.json, removes what only a resumed run needs."""
    bad = results["num_unusable"]
    pairs = results.get("near_duplicate_pairs")
    lines = [
        f"embedded {names.counted(results['num_images'], 'image')} at {results['images_per_second']:g} images/s: "
        f"{', '.join(output.files.values())}"
    ]
    if bad:
        lines.append(f"{names.counted(bad, 'image')} could not be used: {output.quarantine}")
    if pairs is not None:
        listed = min(pairs, duplicates.MOST_PAIRS)
        lines.append(
            f"near-duplicates: {names.counted(pairs, 'pair')}, {listed:,} of them in duplicates.tsv"
        )
    if results.get("projector_images"):
        lines.append(f"look at them: tensorboard --logdir={output.folder.join('projector')}")
    print("\n".join(lines), flush=True)
    if output.pictures:
        write_json(output.folder.join("results.json"), results)
        parts.remove()
    else:
        tf.io.gfile.rmtree(output.folder.path)
