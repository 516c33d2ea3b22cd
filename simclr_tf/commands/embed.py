"""`--mode=embed`: embeddings of every image, and what can be seen in them."""

import dataclasses
import os
import sys
import tempfile
import time

import numpy as np
from tqdm.auto import tqdm

from simclr_tf import config as settings_of
from simclr_tf import names
from simclr_tf.commands import evaluation_run, plan
from simclr_tf.data import listing, memory, sources
from simclr_tf.data.source import Source
from simclr_tf.distribution.strategy import describe as describe_strategy
from simclr_tf.embedding import duplicates, finished, projector, sheet, stream, tables
from simclr_tf.embedding.output import Output
from simclr_tf.embedding.parts import Parts
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.frozen import weights_hash
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.runs.lock import releases
from simclr_tf.stack import tf
from simclr_tf.training.progress import in_notebook
from simclr_tf.views import channels

_WRITERS = {".npz": tables.write_npz, ".parquet": tables.write_parquet}


@dataclasses.dataclass(frozen=True)
class _Job:
    """One command, everything read and checked."""

    config: settings_of.Embed
    trained: restore.Trained
    source: Source
    output: Output
    strategy: tf.distribute.Strategy
    names: object  # function (start, stop) -> paths of the images with these ids


@releases
def run(config, given=frozenset()):
    """Embeds every image of a folder or split; the same command again continues.

    Args:
        config: config.Embed.
        given: names of the settings that the user gave; data and model settings that are not
            among them come from the pretraining.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, the data, the checkpoint or the output cannot be used.
    """
    output = Output.of(config.embed.output)
    if ".parquet" in output.files:
        tables.check_parquet()
    strategy = evaluation_run.make_strategy(config, given, config.source.checkpoint)
    with strategy.scope():
        trained = evaluation_run.load(config, given)
    config = restore.inherit(config, given, trained.settings)
    if config.embed.embed_head and trained.head is None:
        raise SettingsError(
            f"embed_head=True, but {config.source.checkpoint} holds no projection head; leave out "
            "--embed_head, or give a run folder."
        )
    source = sources.open_whole(config.data, config.embed.split)
    channels.check(source, config.model)
    job = _Job(config, trained, source, output, strategy, _names(config, source))
    print(_plan(job), flush=True)
    if config.run.dry_run:
        return None
    weights = _weights(job)
    stamps = _stamps(job)
    done = _claim(job, weights, stamps)
    if done is not None:
        print(f"nothing left to do: {output.folder.path} is finished")
        print(_next(job), flush=True)
        return done
    return _work(job, weights, stamps)


def _next(job):
    return plan.next_line(f"export --checkpoint={job.config.source.checkpoint}")


def _names(config, source):
    """Paths below image_dir, DATASET/SPLIT/NUMBER, or what images in memory are called."""
    if not config.data.is_folder:
        prefix = f"{source.name}/{config.embed.split}"
        return lambda start, stop: [f"{prefix}/{number}" for number in range(start, stop)]
    if memory.is_address(config.data.image_dir):
        return memory.find(config.data.image_dir).names
    root = names.as_text(listing.join(listing.checked_folder(config.data.image_dir), ""))
    return lambda start, stop: [name[len(root) :] for name in source.names(start, stop)]


def _plan(job):
    wanted = "h and z" if job.config.embed.embed_head else "h"
    rows = [
        ("encoder", f"{job.config.source.checkpoint}, step {job.trained.step}"),
        ("images", f"{job.source.num_examples:,} of {job.source.name}"),
        ("columns", f"path, {wanted}; {job.trained.encoder.feature_dim} numbers per h"),
        ("strategy", describe_strategy(job.strategy)),
        ("precision", job.config.run.precision),
        ("output", ", ".join(job.output.files.values())),
    ]
    return plan.format_plan("plan: embed", rows)


def _weights(job):
    """A hash that changes when what makes the columns does."""
    found = weights_hash(job.trained.encoder, job.strategy)
    if job.config.embed.embed_head:
        found += weights_hash(job.trained.head, job.strategy)
    return found


def _image_files(job):
    """Paths of the images, [] where they are no files of their own."""
    folder = job.config.data.image_dir
    if not folder or memory.is_address(folder):
        return []
    return job.source.names(0, job.source.num_examples)


def _stamps(job):
    """{"times": hash, "contents": hash with --verify} of the images, see `finished.stamp_of`."""
    paths = _image_files(job)
    stamps = {"times": finished.stamp_of(paths)}
    if job.config.embed.verify:
        stamps["contents"] = finished.stamp_of(paths, verify=True)
    return stamps


def _why_again(job, results, stamps):
    """Why a finished embedding has to be made again, in words; "" if it is complete."""
    stored = results.get("images")
    if stored is None:  # written before the times were
        info = tf.io.gfile.stat(job.output.folder.join("results.json"))
        if finished.newest_change(_image_files(job)) > info.mtime_nsec / 1e9:
            return "images changed after it was written"
    elif "contents" in stamps:
        if stored.get("contents") != stamps["contents"]:
            return "the contents of the images changed, or were not hashed before"
    elif stored.get("times") != stamps["times"]:
        return "images changed, came back or can be read now"
    return finished.missing_output(job.output.folder.path, results, job.output.files)


def _claim(job, weights, stamps):
    """Makes the folder this command's; returns the results if it is finished already."""
    fields = settings_of.fields_of(type(job.config))
    folder = job.output.folder
    free = {name for name, (_, field) in fields.items() if field.metadata["free"]}
    dataset = {"name": job.source.name, "fingerprint": job.source.fingerprint}
    folder.claim("embed", settings_of.flatten(job.config), free, dataset)
    path = folder.join("results.json")
    results = read_json(path) if tf.io.gfile.exists(path) else None
    if results and results["weights"] != weights:
        raise SettingsError(
            f"{folder.path} holds embeddings of other weights (step {results['step']}); give "
            "another --output."
        )
    reason = _why_again(job, results, stamps) if results else ""
    if reason:
        print(f"embedding again: {reason}", flush=True)
        tf.io.gfile.remove(path)
        if tf.io.gfile.exists(job.output.quarantine):
            tf.io.gfile.remove(job.output.quarantine)
        return None
    return results


def _work(job, weights, stamps):
    """Everything that takes long; returns the results."""
    began = time.monotonic()
    source = job.source
    output = job.output
    source.quarantine.attach(output.quarantine)
    identity = {"weights": weights}
    parts = Parts(output.folder.join("unfinished"), identity, {"images": stamps["times"]})
    start = parts.next
    if 0 < start < source.num_examples:
        print(f"continuing with image {start:,} of {source.num_examples:,}", flush=True)
    _embed(job, parts)
    seconds = time.monotonic() - began
    table = tables.Table(parts, job.names)
    if not table.num_rows:
        parts.remove()
    finished.refuse_empty(table.num_rows, source.num_examples, output.quarantine)
    for suffix, path in output.files.items():
        _WRITERS[suffix](path, table)
    results = {
        "mode": "embed",
        "checkpoint": job.config.source.checkpoint,
        "step": job.trained.step,
        "dataset": source.name,
        "num_images": table.num_rows,
        "num_unusable": source.num_examples - table.num_rows,
        "feature_dim": job.trained.encoder.feature_dim,
        "images_per_second": round((source.num_examples - start) / seconds, 2),
        "weights": weights,
    }
    if output.pictures:
        results.update(_pictures(job, parts))
        if finished.stamp_of(_image_files(job)) != stamps["times"]:
            print("note: images changed meanwhile; run the same command again", flush=True)
            stamps = {}
        made = ("projector", "neighbours.png", "duplicates.tsv")
        places = [*output.files.values(), *map(output.folder.join, made)]
        results["images"] = stamps
        results["outputs"] = finished.sizes_of(output.folder.path, places)
    results["wall_seconds"] = round(time.monotonic() - began, 2)
    _finish(output, parts, results)
    print(_next(job), flush=True)
    return results


def _embed(job, parts):
    """Makes the missing parts."""
    embed = job.config.embed
    size = job.config.data.image_size
    encoder = job.trained.encoder
    head = job.trained.head

    def spaces(images, training):
        h = encoder(images, training=training)
        return {"h": h, "z": head(h, training=training)} if embed.embed_head else {"h": h}

    sprites = stream.Sprites.of(job.source.num_examples, embed.projector_images, size)
    with _Bar("embed", job.source.num_examples, parts.next) as bar:
        extractor = Extractor(spaces, embed.eval_batch_size, job.strategy)
        stream.embed(job.source, extractor, parts, size, sprites, bar)


def _pictures(job, parts):
    """Makes projector, sheet and list of duplicates; returns their figures."""
    folder = job.output.folder
    embed = job.config.embed
    found = {}
    if embed.projector_images:
        found["projector_images"] = projector.write_projector(
            folder.join("projector"), parts, job.names, job.source.class_names
        )
    with tempfile.TemporaryDirectory() as local:
        path = _local(job.output.files[".npz"], local)
        paths = tables.mapped(path, "path")
        if len(paths) < 2:
            return found
        h = tables.mapped(path, "h")
        ids = np.concatenate([columns["id"] for _, columns in parts if "id" in columns])
        sheet.draw_neighbours(folder.join("neighbours.png"), job.source, h, ids, paths)
        if embed.duplicate_similarity:
            with _Bar("compare", len(h), 0) as bar:
                *pairs, found["near_duplicate_pairs"] = duplicates.near_duplicates(
                    h, embed.duplicate_similarity, progress=bar
                )
            duplicates.write_duplicates(folder.join("duplicates.tsv"), pairs, paths)
    return found


def _local(path, folder):
    """The path, or a copy in a local folder: only local files can be mapped into memory."""
    if not listing.is_remote(path):
        return path
    copy = os.path.join(folder, "embeddings.npz")
    tf.io.gfile.copy(path, copy)
    return copy


def _finish(output, parts, results):
    """Says what was made, writes results.json, removes what only a resumed run needs."""
    bad = results["num_unusable"]
    pairs = results.get("near_duplicate_pairs")
    lines = [
        f"embedded {results['num_images']:,} images at {results['images_per_second']:g} images/s: "
        f"{', '.join(output.files.values())}"
    ]
    if bad:
        lines.append(f"{bad:,} images could not be used: {output.quarantine}")
    if pairs is not None:
        listed = min(pairs, duplicates.MOST_PAIRS)
        lines.append(f"near-duplicates: {pairs:,} pairs, {listed:,} of them in duplicates.tsv")
    if results.get("projector_images"):
        lines.append(f"look at them: tensorboard --logdir={output.folder.join('projector')}")
    print("\n".join(lines), flush=True)
    if output.pictures:
        write_json(output.folder.join("results.json"), results)
        parts.remove()
    else:
        tf.io.gfile.rmtree(output.folder.path)


class _Bar:
    """A tqdm bar that is told how many are done; every ten seconds where nobody watches."""

    def __init__(self, words, total, start):
        live = sys.stderr.isatty() or in_notebook(sys.stderr)
        every = 0.2 if live else 10.0
        self._bar = tqdm(desc=words, total=total, initial=start, unit="image", mininterval=every)

    def __call__(self, done):
        self._bar.update(done - self._bar.n)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._bar.close()
