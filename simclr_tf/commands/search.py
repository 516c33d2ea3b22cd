"""`--mode=search`: the images of a folder, or of embeddings, that are most similar to given ones."""

import dataclasses
import os
import tempfile

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf import names, phases
from simclr_tf.commands import evaluation_run, plan
from simclr_tf.data import listing, memory, sources
from simclr_tf.data.quarantine import Quarantine
from simclr_tf.embedding import index, sheet, stored, stream
from simclr_tf.embedding.job import image_names, made_by
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.frozen import fastest
from simclr_tf.evaluation.knn import nearest_neighbours
from simclr_tf.evaluation.results import csv_text, plain_table
from simclr_tf.files import is_remote, write_atomically
from simclr_tf.runs import lock, restore
from simclr_tf.runs.files import write_json
from simclr_tf.stack import tf
from simclr_tf.views import channels

SHEET_QUERIES = 20  # rows of the sheet
SHEET_NEAREST = 12  # pictures beside each query


@evaluation_run.releases
def run(config, given=frozenset()):
    """Embeds the queries and what is new among the images, then compares all of them.

    Args:
        config: config.Search.
        given: names of the settings that the user gave.
    Returns:
        the content of nearest.json with the keys "queries", "table", "sheet"; None for a dry run.
    Raises:
        UserError: a setting, a query, the images, the checkpoint, the embeddings or the output
            cannot be used.
    """
    files = None if memory.is_address(config.search.query) else _query_files(config.search.query)
    strategy = evaluation_run.make_strategy(config, given, config.trained.checkpoint)
    with strategy.scope():
        trained = evaluation_run.load(config, given)
    config = _resolved(config, given, trained)
    with tempfile.TemporaryDirectory() as scratch:
        rows = None
        if config.search.embeddings:
            rows = stored.read(os.path.expanduser(config.search.embeddings), scratch)
        folder = sources.open_whole(config.data, "train") if config.data.image_dir else None
        queries = memory.find(config.search.query) if files is None else memory.as_images(files)
        query_source = _query_source(config, queries, folder, rows)
        for source in (one for one in (query_source, folder) if one is not None):
            channels.check(source, config.model)
        print(_plan(config, trained, query_source, folder, rows, strategy), flush=True)
        made = made_by(config, trained, folder or query_source)
        if rows is not None:
            rows = _of_this_encoder(config, rows, made, trained, alone=folder is None)
        if config.run.dry_run:
            return None
        work = _Work(config, trained, strategy, scratch)
        query_h = work.embed_queries(query_source)
        tf.io.gfile.makedirs(config.search.output)
        lock.acquire(config.search.output, "--output")
        if folder is not None:
            refreshed = work.refresh(folder, made, rows)
        else:
            refreshed = index.Refreshed(rows, len(rows.paths), 0, 0)
        found = _search(config, query_h, queries, refreshed.rows, folder)
        results = _results(config, trained, found, refreshed)
        _write(config, results, found, query_source, folder)
        del rows, refreshed  # what is mapped lies in the scratch folder
    print(plan.next_line(f"export --checkpoint={config.trained.checkpoint}"), flush=True)
    return results


def _query_files(text):
    """Paths of the queries.

    Raises:
        DataError: one is no file.
    """
    files = settings_of.places_in(text)
    for path in files:
        there = tf.io.gfile.exists(path) if is_remote(path) else os.path.isfile(path)
        if not there:
            raise DataError(
                f"query={names.shown(path)} is no image file; give paths of images, comma-separated."
            )
    return files


def _resolved(config, given, trained):
    """The config with what was not given: size and folder of the pretraining, and the output."""
    values = settings_of.flatten(config)
    inherited = settings_of.flatten(restore.inherit(config, given, trained.settings))
    names_of_model = (*settings_of.setting_names(settings_of.Model), "image_size", "value_range")
    values.update({name: inherited[name] for name in names_of_model})
    if not config.search.embeddings and "image_dir" not in given:
        values.update(
            {name: inherited[name] for name in settings_of.setting_names(settings_of.Data)}
        )
        if not values["image_dir"] or memory.is_address(values["image_dir"]):
            raise SettingsError(
                "search needs images: give --image_dir=DIR, or --embeddings=PATH of --mode=embed."
            )
    if not values["output"]:
        values["output"] = os.path.join(trained.run_dir, "search")
    if tf.io.gfile.exists(os.path.join(values["output"], "config.json")):
        raise SettingsError(
            f"output={values['output']} holds the results of another command; give another --output."
        )
    resolved = settings_of.build(type(config), values)
    if resolved.data.image_dir:
        evaluation_run.check_place(resolved, given)
    return resolved


def _query_source(config, queries, folder, rows):
    """Source of the queries, whose values are read as those of the images that are searched."""
    data = dataclasses.replace(config.data, image_dir=queries.address, strict_data=False)
    if data.value_range == "auto":
        data = dataclasses.replace(data, value_range="")
    source = sources.open_whole(data, "train")
    if folder is not None:
        source.value_range = folder.value_range
    elif rows.made:
        text = str(rows.made.get("value_range", None)).strip("()")
        source.value_range = None if text == "None" else settings_of.parse_value_range(text)
        source.converts_profiles = rows.made.get("converts_profiles") == "True"
    return source


def _plan(config, trained, query_source, folder, rows, strategy):
    """The plan in words."""
    listed = [] if folder is None else [("images", f"{folder.num_examples:,} of {folder.name}")]
    if rows is not None:
        listed.append(("embeddings", f"{names.counted(len(rows.paths), 'row')} of {rows.where}"))
    return plan.format_plan(
        "plan: search",
        [
            ("encoder", f"{config.trained.checkpoint}, step {trained.step}"),
            (
                "queries",
                f"{query_source.num_examples:,}, {names.counted(config.search.nearest, 'image')} for each",
            ),
            *listed,
            evaluation_run.strategy_row(strategy),
            ("precision", config.run.precision),
            ("output", config.search.output),
        ],
    )


class _Work:
    """What needs the encoder."""

    def __init__(self, config, trained, strategy, scratch):
        self._config = config
        self._trained = trained
        self._scratch = scratch
        encoder = fastest(trained.encoder, strategy)

        def spaces(images, training):
            return {"h": encoder(images, training=training)}

        self._extractor = Extractor(spaces, config.search.eval_batch_size, strategy)

    def embed_queries(self, source):
        """float32 [m, d].

        Raises:
            DataError: a query cannot be used.
        """
        rows = self._config.search.eval_batch_size
        batches = stream.prepared_batches(source, self._config.data.image_size, rows)
        found = [(batch["id"].numpy(), out["h"]) for batch, out in self._extractor.each(batches)]
        ids = np.concatenate([one for one, _ in found]) if found else np.zeros(0, np.int64)
        for bad in np.setdiff1d(np.arange(source.num_examples), ids):
            source.quarantine = Quarantine()
            source.report(bad, source.fetch(tf.constant(bad))[0].numpy())
            ((name, reason),) = source.quarantine.reasons.items()
            raise DataError(
                f"query={name} cannot be used ({reason}); give images that can be decoded."
            )
        return np.concatenate([h for _, h in found])

    def refresh(self, source, made, rows):
        """index.Refreshed of the images."""
        config = self._config
        in_memory = memory.is_address(config.data.image_dir)
        total = source.num_examples
        return index.refresh(
            source,
            image_names(config, source)(0, total),
            [] if in_memory else source.files(),
            self._extractor,
            made,
            config.search.output,
            rows,
            config.data.image_size,
            self._trained.encoder.feature_dim,
            self._scratch,
        )


def _of_this_encoder(config, rows, made, trained, alone):
    """Embeddings of the user if this encoder made them; None if that is unknown and not needed.

    Raises:
        SettingsError: another encoder made them.
    """
    width = trained.encoder.feature_dim
    if not alone and rows.made and rows.mtime is None:
        print(f"note: {rows.where} is not of image files, so none of its rows can be taken")
        return None
    if rows.h.shape[1] != width:
        raise SettingsError(
            f"{rows.where} has {rows.h.shape[1]} numbers per image, and {config.trained.checkpoint} "
            f"makes {width}; run --mode=embed with this checkpoint, or give the checkpoint that "
            "made it."
        )
    known = made if not alone else {**made, **_as_stored(rows)}
    differs = rows.differs(known) if rows.made else ""
    if differs:
        raise SettingsError(
            f"{rows.where} was made with other {differs} than {config.trained.checkpoint} has; run "
            "--mode=embed with this checkpoint, or give the checkpoint that made it."
        )
    if not rows.made and alone:
        print(f"note: {rows.where} does not say which weights made it; they are taken for those of {config.trained.checkpoint}")  # fmt: skip
    elif not rows.made:
        print(f"note: {rows.where} does not say which files its rows are of, so none of them can be taken")  # fmt: skip
        return None
    return rows


def _as_stored(rows):
    """What only the searched images decide, and the queries follow."""
    decided = ("value_range", "converts_profiles", "precision")
    return {name: rows.made[name] for name in decided if name in rows.made}


@dataclasses.dataclass(frozen=True)
class _Found:
    """What was found for one query.

    Attributes:
        query: what it is called.
        paths: of its nearest images, most similar first.
        keys: str, their names in the rows.
        cosine: float, one each.
    """

    query: str
    paths: list
    keys: list
    cosine: list


def _search(config, query_h, queries, rows, folder):
    """[_Found] in the order of the queries; a file is not its own neighbour."""
    if not len(rows.paths):
        raise DataError(f"{rows.where} has no rows; embed some images first.")
    called = queries.names(0, len(queries.images))
    place = _place_of(config, rows, folder)
    are_files = isinstance(queries.images, list) and isinstance(queries.images[0], str)
    # a query that lies among the images is found once, or more often through links to it
    count = min(config.search.nearest + 1, len(rows.paths))
    with phases.phase("search", unit=""):
        cosine, at = nearest_neighbours(query_h, rows.h, count)
    found = []
    for number, name in enumerate(called):
        keys = [str(rows.paths[row]) for row in at[number]]
        kept = [
            (place(key), key, float(value))
            for key, value in zip(keys, cosine[number])
            if not (are_files and _is_one_file(place(key), name))
        ][: config.search.nearest]
        found.append(
            _Found(name, *(list(column) for column in zip(*kept)) if kept else ([], [], []))
        )
    return found


def _is_one_file(first, second):
    """Whether two paths lead to one file; links are followed on this machine only."""
    if is_remote(first) or is_remote(second):
        return first == second
    return names.as_text(os.path.realpath(first)) == names.as_text(os.path.realpath(second))


def _place_of(config, rows, folder):
    """Function from a name of the rows to the path of the image, as far as it is known."""
    if folder is None:
        root = rows.made.get("image_dir", "")
    else:
        root = config.data.image_dir
        if memory.is_address(root) or rows.made.get("image_dir", "") == "":
            root = ""
    return (lambda name: listing.join(root, name)) if root else (lambda name: name)


def _results(config, trained, found, refreshed):
    return {
        "mode": "search",
        "checkpoint": config.trained.checkpoint,
        "step": trained.step,
        "images": config.data.image_dir or config.search.embeddings,
        "num_images": len(refreshed.rows.paths),
        "num_embedded": refreshed.embedded,
        "num_unusable": refreshed.unusable,
        "queries": [
            {
                "query": names.shown(one.query),
                "nearest": [
                    {"path": path, "cosine": round(value, 6)}
                    for path, value in zip(one.paths, one.cosine)
                ],
            }
            for one in found
        ],
        "table": os.path.join(config.search.output, "nearest.csv"),
        "sheet": os.path.join(config.search.output, "nearest.png"),
    }


def _write(config, results, found, query_source, folder):
    """Writes tables and sheet, and prints the table."""
    rows = [
        [one.query, rank, f"{value:.4f}", path]
        for one in found
        for rank, (path, value) in enumerate(zip(one.paths, one.cosine), 1)
    ]
    header = ["query", "rank", "cosine", "path"]
    cells = [
        [names.cell(query), rank, value, names.cell(path)] for query, rank, value, path in rows
    ]
    write_atomically(results["table"], csv_text(header, cells))
    write_json(os.path.join(config.search.output, "nearest.json"), results)
    _draw(results["sheet"], config, found, query_source, folder)
    shown = [[names.shown(query), names.shown(path), value] for query, _, value, path in rows[:50]]
    print(plain_table(["query", "nearest", "cosine"], shown))
    if len(rows) > len(shown):
        more = names.counted(len(rows) - len(shown), "more row")
        print(f"... and {more} in {results['table']}")
    new = f", {results['num_embedded']:,} of them embedded now" if folder is not None else ""
    print(f"searched {names.counted(results['num_images'], 'image')}{new}")
    if results["num_unusable"]:
        where = os.path.join(config.search.output, "quarantine.txt")
        print(f"{names.counted(results['num_unusable'], 'image')} could not be used: {where}")
    print(f"written to {config.search.output}: nearest.csv, nearest.json, nearest.png", flush=True)


def _draw(path, config, found, query_source, folder):
    """The sheet: a row for each query, the first SHEET_QUERIES of them."""
    found = found[:SHEET_QUERIES]
    captions = {("query", number): one.query for number, one in enumerate(found)}
    lines = []
    for number, one in enumerate(found):
        shown = list(zip(one.keys, one.paths, one.cosine))[:SHEET_NEAREST]
        captions.update({("found", key): place for key, place, _ in shown})
        near = [(("found", key), f"{value:.3f}") for key, _, value in shown]
        lines.append([(("query", number), "query"), *near])
    of_query = sheet.Thumbnails(query_source, np.arange(query_source.num_examples))
    of_found = _thumbnails_of_found(config, captions, folder)

    def thumbnail(key):
        kind, name = key
        try:
            return of_query(name) if kind == "query" else of_found(name)
        except (tf.errors.OpError, KeyError):  # it changed meanwhile, or is not here
            return sheet.no_picture()

    sheet.draw_lines(path, lines, thumbnail, captions)


def _thumbnails_of_found(config, captions, folder):
    """Function from a name of the rows to its picture; KeyError where the image is not here."""
    wanted = {name: place for (kind, name), place in captions.items() if kind == "found"}
    if folder is not None:
        every = image_names(config, folder)(0, folder.num_examples)
        at = {name: number for number, name in enumerate(every) if name in wanted}
        source = folder
    else:
        here = [name for name, place in wanted.items() if os.path.isfile(place)]
        if not here:
            return {}.__getitem__
        held = memory.as_images([wanted[name] for name in here])
        source = sources.open_whole(
            dataclasses.replace(config.data, image_dir=held.address), "train"
        )
        at = {name: number for number, name in enumerate(here)}
    order = list(at)
    rows = {name: number for number, name in enumerate(order)}
    pictures = sheet.Thumbnails(source, np.array([at[name] for name in order], np.int64))
    return lambda name: pictures(rows[name])
