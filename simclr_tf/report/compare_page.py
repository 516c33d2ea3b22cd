"""The page that puts runs side by side."""

import dataclasses
import logging
import math
import os

import numpy as np

from simclr_tf.errors import DataError
from simclr_tf.evaluation.predictions import NAME as PREDICTIONS
from simclr_tf.evaluation.predictions import read_predictions
from simclr_tf.evaluation.significance import permutation_test
from simclr_tf.report import looks
from simclr_tf.report.history import CURVES, points, read_history
from simclr_tf.report.html import Markup, Page, chart, figure, table, text, thumbnail
from simclr_tf.report.run_page import curve_spec, gallery_rows
from simclr_tf.report.summary import summary_figures
from simclr_tf.runs import restore

_LOG = logging.getLogger(__name__)
QUERIES = 8
NEAR = 6
BANK = 1000
SIGNIFICANT = 0.05
_PLACES = frozenset({"model_dir", "dry_run", "trust_code", "download", "bind", "workers", "worker_index"})  # fmt: skip
_WITH_PREDICTIONS = {"linear": "linear_eval", "k-NN": "knn"}  # row: folder of its evaluation


@dataclasses.dataclass(frozen=True)
class Row:
    """One evaluation that all runs have.

    Attributes:
        evaluation: what was measured.
        figures: {run: (value, low, high)}, with the 95 % interval.
        p_values: {run: p of its difference from the first run}, without the first run.
        paired: whether the same images were compared one by one.
    """

    evaluation: str
    figures: dict
    p_values: dict
    paired: bool

    def as_dict(self):
        """As JSON holds it."""
        return {"evaluation": self.evaluation, "figures": {name: list(one) for name, one in self.figures.items()}, "p_values": self.p_values, "paired": self.paired}  # fmt: skip


def write_compare_page(runs, path, trust_code=False):
    """Writes the page of runs; it reads their folders without their locks.

    Args:
        runs: {name: folder of a pretraining run}; the others are compared with the first.
        path: of the page.
        trust_code: see `restore.load_trained`.
    Returns:
        list of Row.
    Raises:
        SettingsError: a run names code that is not trusted.
        DataError: a folder holds no pretraining run, or the page cannot be written.
    """
    settings = {name: restore.stored_settings_of(folder) for name, folder in runs.items()}
    notes = []
    page = Page(f"Runs: {', '.join(runs)}", "")
    page.add("settings", "Settings that differ", *_differing(settings))
    _add_curves(page, {name: read_history(folder) for name, folder in runs.items()})
    rows = common_rows(runs, notes)
    if rows:
        page.add("evaluations", "Evaluations", *_evaluations(rows, list(runs)))
    _add_neighbours(page, runs, trust_code, notes)
    page.lead = "".join(f'<p class="note">{text(note)}</p>' for note in notes)
    page.write(path)
    return rows


def differing_settings(settings):
    """[(setting, value of each run)] of those whose values are not all the same.

    Args:
        settings: {run: {setting name: value}}.
    """
    names = dict.fromkeys(name for one in settings.values() for name in one)
    rows = []
    for name in names:
        values = [one.get(name, "") for one in settings.values()]
        if name not in _PLACES and any(value != values[0] for value in values):
            rows.append((name, *values))
    return rows


def _differing(settings):
    rows = differing_settings(settings)
    if not rows:
        return ["All settings are the same."]
    return [Markup(table(["setting", *settings], rows, kind="settings"))]


def _add_curves(page, histories):
    cards = []
    for at, (title, metrics, limits) in enumerate(CURVES):
        for metric, words in metrics.items():
            series = {name: points(history, metric) for name, history in histories.items()}
            series = {name: rows for name, rows in series.items() if rows}
            if not series:
                continue
            name = f"curve-{at}-{metric}"
            full = title if len(metrics) == 1 else f"{title}: {words}"
            page.data["charts"][name] = curve_spec(series, limits)
            says = "; ".join(f"{run} ends at {rows[-1][1]:.4g}" for run, rows in series.items())
            cards.append(f"<div><h3>{text(full)}</h3>{chart(name, f'{full}: {says}', 220)}</div>")
    if cards:
        page.add("curves", "Curves", Markup(f'<div class="charts">{"".join(cards)}</div>'))


def common_rows(runs, notes):
    """[Row] of the evaluations that all runs have.

    Args:
        runs: {name: folder}.
        notes: list, to which what cannot be read is added.
    """
    found = {}
    for name, folder in runs.items():
        try:
            found[name] = summary_figures(folder)
        except (DataError, KeyError, TypeError, ValueError) as error:
            notes.append(f"Without the evaluations of {name}: {error}")
            return []
    first = next(iter(runs))
    rows = []
    for evaluation in found[first]:
        if not all(evaluation in one for one in found.values()):
            continue
        figures = {name: one[evaluation] for name, one in found.items()}
        p_values = {}
        paired = []
        for name in list(runs)[1:]:
            pair = _pair(evaluation, runs[first], runs[name], notes)
            paired.append(pair is not None)
            p_values[name] = (
                unpaired_p(figures[first], figures[name]) if pair is None else paired_p(*pair)
            )
        rows.append(Row(evaluation, figures, p_values, all(paired)))
    return rows


def _pair(evaluation, first, second, notes):
    """The predictions of two runs if they are of the same images, else None."""
    folder = _WITH_PREDICTIONS.get(evaluation)
    if folder is None:
        return None
    try:
        pair = [read_predictions(os.path.join(one, folder, PREDICTIONS)) for one in (first, second)]
    except DataError as error:
        notes.append(str(error))
        return None
    same = all(one is not None for one in pair) and np.array_equal(pair[0].ids, pair[1].ids)
    return pair if same and np.array_equal(pair[0].labels, pair[1].labels) else None


def paired_p(first, second):
    """p of the difference of two Predictions of the same images (arXiv:2002.05709, appendix B.8)."""
    differences = (first.hits.astype(float) - second.hits) / len(first.hits)
    return permutation_test(differences, samples=20_000)


def unpaired_p(first, second):
    """Two-sided p of the difference of two figures, by the normal distribution of their intervals.

    Args:
        first, second: (value, low, high), 95 % intervals.
    """
    deviation = math.hypot(first[2] - first[1], second[2] - second[1]) / (2 * 1.959964)
    if not deviation:
        return 1.0 if first[0] == second[0] else 0.0
    return math.erfc(abs(first[0] - second[0]) / deviation / math.sqrt(2))


def plain_rows(rows, names):
    """Header and rows of a text table; a star marks a significant difference from the first run."""
    lines = []
    for row in rows:
        cells = [row.evaluation]
        for name in names:
            value, low, high = row.figures[name]
            star = " *" if row.p_values.get(name, 1.0) < SIGNIFICANT else ""
            cells.append(f"{value:.3f} ({low:.3f} to {high:.3f}){star}")
        lines.append(cells)
    return ["evaluation", *names], lines


def _evaluations(rows, names):
    header, lines = plain_rows(rows, names)
    lines = [
        [*cells, ", ".join(f"{p:.3g}" for p in row.p_values.values()), "same images" if row.paired else "intervals"]
        for cells, row in zip(lines, rows)
    ]  # fmt: skip
    words = (
        f"Evaluations that all runs have, with 95 % intervals. A star marks a difference from {names[0]} with "
        f"p below {SIGNIFICANT}: a permutation test where both runs' predictions of the same images are there, "
        "else the normal distribution of the two intervals, which finds fewer differences."
    )  # fmt: skip
    return [words, Markup(table([*header, f"p against {names[0]}", "by"], lines, kind="figures"))]


def _add_neighbours(page, runs, trust_code, notes):
    """The same queries' neighbours by each encoder, among the images of the first run."""
    images_of = None
    seen = {}
    for name, folder in runs.items():
        try:
            trained = restore.load_trained(folder, trust_code=trust_code)
            images_of = images_of or trained.settings
            seen[name] = looks.held_out_and_bank(trained, 32 * QUERIES, BANK, images_of)
        except DataError as error:
            notes.append(f"Without the neighbours of {name}: {error}")
            _LOG.warning("no neighbours of %s: %s", name, error)
    if len(seen) < 2:
        return
    first, _, classes = next(iter(seen.values()))
    page.pictures.side = first.thumbnails.shape[1]
    places = {}
    parts = []
    for row in gallery_rows(first)[:QUERIES]:
        lines = []
        for name, (queries, bank, _) in seen.items():
            at = np.flatnonzero(queries.ids == first.ids[row])
            if not len(at) or not len(bank):
                continue
            cosine = bank.h @ queries.h[at[0]]
            cells = [
                f'<span class="soft" style="width:7em;overflow-wrap:anywhere">{text(name)}</span>'
            ]
            for other in np.argsort(-cosine, kind="stable")[:NEAR]:
                key = (bank.kind, int(bank.ids[other]))
                places.setdefault(key, bank.thumbnails[other])
                label = bank.labels[other]
                wrong = "other" if classes and label != first.labels[row] else ""
                caption = [classes[label]] if classes and label >= 0 else []
                picture = thumbnail(_place(page, key, places[key]), bank.names[other])
                cells.append(figure(picture, *caption, f"{cosine[other]:.3f}", kind=wrong))
            lines.append(f'<div class="row">{"".join(cells)}</div>')
        picture = thumbnail(_place(page, ("query", int(first.ids[row])), first.thumbnails[row]), first.names[row])  # fmt: skip
        caption = [classes[first.labels[row]]] if classes and first.labels[row] >= 0 else []
        query = figure(picture, *caption, "query", kind="query")
        parts.append(f'<div class="row card" style="flex-wrap:nowrap">{query}<div>{"".join(lines)}</div></div>')  # fmt: skip
    dashed = " A dashed frame marks another class." if classes else ""
    page.add("neighbours", "Neighbours of the same images",
             f"Each run's nearest training images by cosine of h.{dashed}", Markup("".join(parts)))  # fmt: skip


def _place(page, key, picture):
    side = page.pictures.side
    if picture.shape[0] != side:
        picture = looks.thumbnails_of(picture[np.newaxis] / np.float32(255), side)[0]
    return page.pictures.place(key, picture)
