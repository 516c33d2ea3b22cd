"""The page of a run: what its folder holds, and what its encoder makes of its images."""

import csv
import logging
import os

import numpy as np

from simclr_tf import names as texts
from simclr_tf import phases
from simclr_tf.data import memory, sources
from simclr_tf.errors import DataError, UserError
from simclr_tf.evaluation.metrics import confusion_matrix, wilson_interval
from simclr_tf.evaluation.predictions import NAME as PREDICTIONS
from simclr_tf.evaluation.predictions import read_predictions
from simclr_tf.report import damaged, findings, looks, projection, words
from simclr_tf.report.history import CURVES, chance_of, points, read_history, warnings
from simclr_tf.report.html import (
    Markup,
    Page,
    chart,
    data_address,
    figure,
    gallery,
    table,
    text,
    thumbnail,
)
from simclr_tf.report.pictures import views_of
from simclr_tf.report.summary import summary_table
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json
from simclr_tf.runs.run_folder import read_config
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)
MAP = 1000  # images of the map
BANK = 1500  # training images that are looked at
NEAR = 6
PAIRS = 256  # images whose two views are compared
SHOWN_VIEWS = 8
QUERIES = 10
TYPICAL = 5
CLASSES_WITH_IMAGES = 40
MOST_IN_TABLE = 30  # classes of a confusion matrix with figures; above, it is a picture
DUPLICATE = 0.98  # cosine
MOST_QUARANTINED = 200
MOST_DAMAGED = 48  # of them with a picture


def write_run_page(run_dir, path, trained=None, note=""):
    """Writes the page.

    It reads the folder without its lock, so a training may be writing it. What cannot be read is
    left out, and the page says so.

    Args:
        run_dir: folder of a pretraining run.
        path: of the page.
        trained: restore.Trained, or None where no checkpoint can be loaded.
        note: why there is none.
    Returns:
        the path.
    Raises:
        DataError: the folder holds no pretraining run, or the page cannot be written.
    """
    settings = restore.stored_settings_of(run_dir)
    stored = read_config(os.path.join(run_dir, "config.json"))
    dataset = stored.get("dataset", {})
    history = read_history(run_dir)
    notes = [note] if note else []
    page = Page(f"{os.path.basename(os.path.abspath(run_dir)) or 'run'}: SimCLR on {dataset.get('name', 'images')}", "")  # fmt: skip
    seen = None
    if trained is not None:
        page.pictures.side = looks.thumbnail_side(settings["image_size"])
        try:
            seen = looks.held_out_and_bank(trained, MAP, BANK)
        except DataError as error:
            notes.append(f"Without images: {error}")
            _LOG.warning("the page shows no images: %s", error)
    page.add("settings", "Settings", *_settings(settings, dataset, stored.get("versions", {})))
    _add_curves(page, history, settings, dataset)
    if seen is not None:
        _add_views_and_similarities(page, trained, notes)
        _add_map(page, seen, settings["seed"])
        _add_gallery(page, seen)
    _add_figures(page, run_dir, notes)
    if seen is not None:
        _add_classes(page, seen, run_dir, trained, notes)
        _add_duplicates(page, seen)
    else:
        _add_confusion_without_images(page, run_dir, dataset, notes)
    _add_quarantine(page, run_dir, settings, dataset)
    page.lead = _lead(run_dir, history, settings, trained, notes)
    page.write(path)
    return path


def _lead(run_dir, history, settings, trained, notes):
    """What a reader sees first: how far the run is, and its latest figures."""
    parts = []
    finished = tf.io.gfile.exists(os.path.join(run_dir, "results.json"))
    if history:
        last = history[-1]
        state = "finished at" if finished else "not finished, logged up to"
        figures = [f"loss {last['loss']:.3f}"] if isinstance(last.get("loss"), float) else []
        chance = chance_of(settings)
        if figures and chance is not None:
            figures[0] += f" (chance {chance:.3f})"
        for name, title in (("contrastive_accuracy", "contrastive accuracy"), ("probe_top_1", "probe top-1"), ("knn_top_1", "k-NN top-1")):  # fmt: skip
            latest = points(history, name)
            figures += [f"{title} {latest[-1][1]:.3f}"] if latest else []
        parts.append(f"The run is {state} step {last['step']:,}: {', '.join(figures)}.")
    else:
        parts.append("Nothing has been logged yet.")
    if trained is not None:
        parts.append(f"The images show the encoder of step {trained.step:,}.")
    lead = f"<p>{text(' '.join(parts))}</p>"
    return lead + "".join(f'<p class="note">{text(one)}</p>' for one in notes)


def _settings(settings, dataset, versions):
    rows = words.in_words(settings, dataset, versions)
    everything = [
        (name, Markup(f"<b>{text(value)}</b>") if changed else value, help_text)
        for name, value, help_text, changed in words.changed_settings(settings)
    ]
    details = table(["setting", "value", "what it is"], everything, kind="settings")
    return [
        Markup(table(["", ""], rows, kind="words")),
        Markup(f"<details><summary>All settings; bold ones are not the default</summary>{details}</details>"),
    ]  # fmt: skip


def curve_spec(series, limits, level=None, marks=()):
    """The data of a chart of curves.

    Args:
        series: {name: [[step, value]]}.
        limits: (least, most) of the axis, None for those of the values.
        level: a value that a line marks, or None.
        marks: [(step, number)] of warnings.
    """
    spec = {
        "kind": "lines",
        "series": [{"name": name, "points": rows} for name, rows in series.items()],
        "marks": [{"step": int(step), "number": number} for step, number in marks],
        "min": limits[0],
        "max": limits[1],
    }
    if level is not None:
        spec.update(level=level, level_name=f"chance {level:.3f}")
    return spec


def _add_curves(page, history, settings, dataset):
    found = warnings(history, settings, dataset.get("num_train") or 0)
    marks = [(step, number) for number, (step, _) in enumerate(found, start=1)]
    cards = []
    for at, (title, metrics, limits) in enumerate(CURVES):
        series = {name: points(history, metric) for metric, name in metrics.items()}
        series = {name: rows for name, rows in series.items() if rows}
        if not series:
            continue
        name = f"curve-{at}"
        level = chance_of(settings) if title == "loss" else None
        page.data["charts"][name] = curve_spec(series, limits, level, marks)
        says = "; ".join(f"{one} from {rows[0][1]:.4g} to {rows[-1][1]:.4g}" for one, rows in series.items())  # fmt: skip
        if level is not None:
            says += f"; chance {level:.4g}"
        cards.append(f"<div><h3>{text(title)}</h3>{chart(name, f'{title} over steps: {says}', 220)}</div>")  # fmt: skip
    said = "".join(f"<li>step {step:,}: {text(sentence)}</li>" for step, sentence in found)
    warned = f'<div class="note"><h3>Warnings, marked in the curves</h3><ol>{said}</ol></div>' if said else ""  # fmt: skip
    if cards:
        page.add("curves", "Curves", Markup(warned + f'<div class="charts">{"".join(cards)}</div>'))


def _place(page, seen, row):
    return page.pictures.place((seen.kind, int(seen.ids[row])), seen.thumbnails[row])


def _picture(page, seen, row, alt=""):
    return thumbnail(_place(page, seen, row), alt or seen.names[row])


def _line(cells):
    return f'<div class="row">{cells}</div>'


def _class(classes, label):
    return classes[label] if 0 <= label < len(classes) else "no label"


def _add_views_and_similarities(page, trained, notes):
    """A grid of views, and the histograms of the similarities of their projections."""
    try:
        data = restore.data_of(trained.settings)
        source = sources.open_source(data, "train", trained.settings["seed"])
        originals, views = views_of(trained, source, min(PAIRS, source.num_examples))
    except DataError as error:
        notes.append(f"Without views: {error}")
        return
    side = page.pictures.side
    rows = []
    for number in range(min(SHOWN_VIEWS, len(originals))):
        images = [originals[number], views[0, number], views[1, number]]
        places = [page.pictures.place(("view", number, k), one) for k, one in enumerate(looks.thumbnails_of(np.stack(images), side))]  # fmt: skip
        captions = ("image", "view 1", "view 2")
        rows.append("".join(figure(thumbnail(p, f"{c} of image {number + 1}"), c) for p, c in zip(places, captions)))  # fmt: skip
    page.add("views", "Views", "Each image beside the two random views of it that the encoder learns from.",
             Markup(f'<div class="pairs">{"".join(map(_line, rows))}</div>'))  # fmt: skip
    if len(originals) < 8:
        return
    space, rows = _projections(trained, views)
    positives, negatives = findings.pair_similarities(*map(findings.unit, rows))
    series = []
    for name, values in (("two views of an image", positives), ("views of different images", negatives)):  # fmt: skip
        middles, shares = findings.histogram(values)
        series.append({"name": name, "points": np.round(np.stack([middles, shares], 1), 5).tolist()})  # fmt: skip
    page.data["charts"]["similarities"] = {"kind": "bars", "series": series, "x": f"cosine of {space}"}  # fmt: skip
    says = f"Cosines of {space}: two views of an image have a mean of {positives.mean():.3f}, views of different images {negatives.mean():.3f}."  # fmt: skip
    page.add("similarities", "Similarities of positives and negatives", says + f" {len(positives)} images.",
             chart("similarities", says, 280))  # fmt: skip


def _projections(trained, views):
    """("z" or "h", two arrays [n, d]) of views float [2, n, s, s, 3]."""
    found = []
    for one in views:
        parts = []
        for start in range(0, len(one), looks.BATCH):
            h = trained.encoder(one[start : start + looks.BATCH], training=False)
            parts.append((trained.head(h, training=False) if trained.head is not None else h).numpy())  # fmt: skip
        found.append(np.concatenate(parts))
    return ("h" if trained.head is None else "z"), found


def _add_map(page, seen, seed):
    queries, _, classes = seen
    if len(queries) < projection.FEWEST:
        return
    with phases.phase("map of embeddings", unit=""):
        points, how = projection.project(queries.h, seed)
    near, cosines = findings.neighbours(queries.h, NEAR)
    page.data["map"] = {
        "points": np.round(points, 4).tolist(),
        "near": near.tolist(),
        "cosines": np.round(np.float64(cosines), 4).tolist(),
        "pictures": [_place(page, queries, row) for row in range(len(queries))],
        "names": [texts.shown(name) for name in queries.names],
        "labels": queries.labels.tolist() if classes else None,
        "classes": [texts.shown(name) for name in classes],
        "centres": _centres(points, queries.labels, classes),
    }
    options = "".join(f'<option value="{k}">{text(name)}</option>' for k, name in enumerate(classes))  # fmt: skip
    chooser = f'<label for="only">class</label><select id="only"><option value="-1">all</option>{options}</select>' if classes else ""  # fmt: skip
    tools = (
        '<div class="tools"><button type="button" data-map="in">zoom in</button>'
        '<button type="button" data-map="out">zoom out</button>'
        f'<button type="button" data-map="reset">reset</button>{chooser}</div>'
    )
    says = f"Map of {len(queries):,} {queries.kind} images. Arrow keys go to the next image, plus and minus zoom, shift and arrows move, 0 resets, Enter goes to the neighbours."  # fmt: skip
    page.add(
        "map", "Map",
        f"{len(queries):,} {queries.kind} images where their embeddings put them ({how}). Hover to see an image, "
        "click for its nearest neighbours, drag to move, zoom with the buttons, Ctrl and the wheel or a pinch. "
        "Keys: arrows, + and −, 0, Enter.",
        Markup(tools), chart("map", says, 560), Markup('<div id="near" aria-live="polite"></div>'),
    )  # fmt: skip


def _centres(points, labels, classes):
    """[[x, y, class]] where the names of the classes stand; none if they are many."""
    if not 0 < len(classes) <= 30:
        return []
    found = []
    for label, name in enumerate(classes):
        members = points[labels == label]
        if len(members):
            middle = np.median(members, axis=0)
            found.append([float(middle[0]), float(middle[1]), texts.shown(name)])
    return found


def gallery_rows(queries):
    """Rows of QUERIES images, one of each class as far as possible."""
    first = np.unique(queries.labels, return_index=True)[1]
    others = np.setdiff1d(np.arange(len(queries)), first)
    return np.concatenate([first, others])[:QUERIES]


def _add_gallery(page, seen):
    queries, bank, classes = seen
    if not len(bank):
        return
    chosen = gallery_rows(queries)
    cosine = queries.h[chosen] @ bank.h.T
    rows = []
    for row, values in zip(chosen, cosine):
        label = queries.labels[row]
        caption = [_class(classes, label)] if classes else []
        cells = [figure(_picture(page, queries, row), *caption, "query", kind="query")]
        for other in np.argsort(-values, kind="stable")[:NEAR]:
            words_of = [_class(classes, bank.labels[other])] if classes else []
            wrong = "other" if classes and bank.labels[other] != label else ""
            cells.append(figure(_picture(page, bank, other), *words_of, f"{values[other]:.3f}", kind=wrong))  # fmt: skip
        rows.append(f'<div class="row">{"".join(cells)}</div>')
    dashed = " A dashed frame marks another class." if classes else ""
    page.add("neighbours", "Nearest neighbours",
             f"{queries.kind.capitalize()} images, each with its nearest of {len(bank):,} training images by cosine of h.{dashed}",
             Markup("".join(rows)))  # fmt: skip


def _add_figures(page, run_dir, notes):
    try:
        header, rows = summary_table(run_dir)
    except (DataError, KeyError, TypeError, ValueError) as error:
        notes.append(f"Without the table of evaluations: {error}")
        return
    if rows:
        page.add("accuracy", "Accuracy", "Every evaluation of this run beside its baselines, with 95 % intervals.",
                 Markup(table(header, rows, kind="figures")))  # fmt: skip


def measured(run_dir, notes):
    """(words for the classifier, Predictions) of the run's best evaluation, or None."""
    for name, kind in (("linear_eval", "linear evaluation"), ("knn", "k-NN evaluation")):
        try:
            found = read_predictions(os.path.join(run_dir, name, PREDICTIONS))
            if found is not None and len(found.ids):
                step = read_json(os.path.join(run_dir, name, "results.json")).get("step")
                return f"{kind} of step {step}", found
        except DataError as error:
            notes.append(f"Without the predictions of {name}: {error}")
    return None


def _add_classes(page, seen, run_dir, trained, notes):
    """Everything that needs labels."""
    queries, bank, classes = seen
    if not classes or not len(bank):
        return
    known = queries.labels >= 0
    evaluated = measured(run_dir, notes) if queries.kind == "held-out" else None
    both = np.concatenate([queries.h, bank.h])
    labels = np.concatenate([queries.labels, bank.labels])
    index, cosine = findings.neighbours(both, findings.VOTERS)
    if evaluated is None:
        other = np.argsort(-(queries.h @ bank.h.T), axis=1, kind="stable")[:, : findings.VOTERS]
        values = np.take_along_axis(queries.h @ bank.h.T, other, axis=1)
        guess = findings.votes(other, values, bank.labels, len(classes)).argmax(axis=1)
        how = f"votes of the nearest of {len(bank):,} training images, for {known.sum():,} {queries.kind} images"  # fmt: skip
        truth = queries.labels[known]
        guessed = guess[known]
        rows_of = {int(one): row for row, one in enumerate(queries.ids)}
        predicted = dict(zip(queries.ids[known].tolist(), guessed.tolist()))
    else:
        how, found = evaluated
        truth = found.labels
        guessed = found.predicted
        rows_of = {int(one): row for row, one in enumerate(queries.ids)}
        predicted = dict(zip(found.ids.tolist(), found.predicted.tolist()))
    if max(truth.max(initial=0), guessed.max(initial=0)) >= len(classes):
        notes.append("Without the confusion matrix: the evaluation knew other classes.")
        return
    counts = confusion_matrix(guessed, truth, len(classes))
    _add_confusion(page, counts, classes, how, (queries, rows_of, predicted))
    _add_typical(page, queries, classes)
    errors = findings.likely_label_errors(
        findings.votes(index, cosine, labels, len(classes)), labels
    )
    if errors:
        whole = [(queries, row) for row in range(len(queries))] + [(bank, row) for row in range(len(bank))]  # fmt: skip
        cells = []
        for one in errors:
            looked, row = whole[one.row]
            cells.append(figure(_picture(page, looked, row), f"labelled {_class(classes, one.label)}",
                                f"{100 * one.share:.0f} % say {_class(classes, one.other)}", looked.names[row]))  # fmt: skip
        page.add("label-errors", "Likely label errors",
                 f"Images most of whose {findings.VOTERS} nearest neighbours have another label, surest first, of "
                 f"{len(labels):,} images. The encoder may be wrong as well as the label.", gallery(cells))  # fmt: skip


def _add_confusion(page, counts, classes, how, examples=None):
    totals = counts.sum(axis=1)
    present = np.flatnonzero(totals)
    spans = []
    for label in present[:100]:
        value = counts[label, label] / totals[label]
        low, high = wilson_interval(value, int(totals[label]))
        spans.append({"name": f"{texts.shown(classes[label])} ({totals[label]:,})", "value": round(float(value), 4), "low": round(low, 4), "high": round(high, 4)})  # fmt: skip
    spans.sort(key=lambda one: one["value"])
    page.data["charts"]["classes"] = {"kind": "spans", "rows": spans, "x": "share recognised, with its 95 % interval"}  # fmt: skip
    worst = f"Worst: {spans[0]['name']} with {100 * spans[0]['value']:.0f} %."
    page.add("per-class", "Accuracy per class", f"Share of the images of each class that are recognised ({how}). {worst}",
             chart("classes", f"Accuracy per class. {worst}", 44 + 24 * len(spans)))  # fmt: skip
    parts = [f"Rows are true classes, columns predicted ones: {how}."]
    parts.append(_matrix(counts, classes))
    pairs = findings.confused_pairs(counts)
    if pairs:
        parts.append(Markup("<h3>Most confused</h3>"))
        shown = []
        for truth, guess, count in pairs:
            words_of = f"{texts.shown(classes[truth])} taken for {texts.shown(classes[guess])}: {count:,} of {totals[truth]:,}"  # fmt: skip
            cells = _examples(page, examples, truth, guess) if examples else []
            shown.append(f'<div><p>{text(words_of)}</p><div class="row">{"".join(cells)}</div></div>')  # fmt: skip
        parts.append(Markup(f'<div class="pairs">{"".join(shown)}</div>'))
    page.add("confusion", "Confusion", *parts)


def _examples(page, examples, truth, guess):
    queries, rows_of, predicted = examples
    cells = []
    for one, said in predicted.items():
        row = rows_of.get(one)
        if row is not None and said == guess and queries.labels[row] == truth:
            cells.append(figure(_picture(page, queries, row), queries.names[row]))
    return cells[:8]


def _matrix(counts, classes):
    """The matrix as a table with shades, or as a picture where classes are many."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if len(classes) > MOST_IN_TABLE:
        shade = np.uint8(255 - 235 * np.sqrt(shares))
        image = np.stack([shade, np.uint8(255 - (255 - shade) * 0.6), np.full_like(shade, 255)], -1)
        image[shares == 0] = 255
        return Markup(f'<img class="matrix" src="{data_address(image)}" alt="Confusion matrix of {len(classes)} classes: darker is more often.">')  # fmt: skip
    lines = []
    for label, row in enumerate(counts):
        cells = "".join(
            f'<td style="background:color-mix(in srgb,var(--{"accent" if label == k else "alarm"}) {100 * share ** 0.7:.0f}%,transparent);'
            f'{"color:var(--ground)" if share > 0.55 else ""}">{count or ""}</td>'
            for k, (count, share) in enumerate(zip(row, shares[label]))
        )  # fmt: skip
        lines.append(f'<tr><th scope="row">{text(classes[label])}</th>{cells}</tr>')
    head = "".join(f'<th scope="col" title="{text(name)}">{text(name)}</th>' for name in classes)
    return Markup(f'<div class="wide" tabindex="0"><table class="matrix"><thead><tr><th scope="col">true \\ predicted</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>')  # fmt: skip


def _add_typical(page, queries, classes):
    found = findings.typical(queries.h, queries.labels, len(classes), TYPICAL)
    rows = []
    for label, (most, least) in list(found.items())[:CLASSES_WITH_IMAGES]:
        cells = [
            "".join(figure(_picture(page, queries, row), kind=kind) for row in chosen)
            for kind, chosen in (("", most), ("", least))
        ]
        rows.append((texts.shown(classes[label]), Markup(f'<div class="row">{cells[0]}</div>'), Markup(f'<div class="row">{cells[1]}</div>')))  # fmt: skip
    if rows:
        page.add("typical", "Most and least typical images",
                 f"{queries.kind.capitalize()} images nearest to and farthest from the mean embedding of their class.",
                 Markup(table(["class", "most typical", "least typical"], rows)))  # fmt: skip


def _add_duplicates(page, seen):
    queries, bank, _ = seen
    looked = [(queries, row) for row in range(len(queries))] + [(bank, row) for row in range(len(bank))]  # fmt: skip
    h = np.concatenate([queries.h, bank.h])
    if len(h) < 2:
        return
    pairs = findings.duplicate_pairs(*findings.neighbours(h, 4), DUPLICATE)
    rows = []
    for a, b, value in pairs:
        cells = [figure(_picture(page, *looked[k]), looked[k][0].kind, looked[k][0].names[looked[k][1]]) for k in (a, b)]  # fmt: skip
        rows.append(_line("".join(cells) + f'<span class="soft">{value:.4f}</span>'))
    if rows:
        page.add("duplicates", "Near-duplicates",
                 f"The most similar pairs of {len(h):,} images, with the cosine of their embeddings; at least {DUPLICATE}. "
                 + ("A pair of a held-out and a training image makes figures look better than they are."
                    if queries.kind == "held-out" else ""),
                 Markup(f'<div class="pairs">{"".join(rows)}</div>'))  # fmt: skip


def _add_confusion_without_images(page, run_dir, dataset, notes):
    found = measured(run_dir, notes)
    if found is None:
        return
    how, said = found
    classes = _class_names(run_dir, said)
    counts = confusion_matrix(said.predicted, said.labels, len(classes))
    _add_confusion(page, counts, classes, how)


def _class_names(run_dir, said):
    """Names of the classes as confusion.csv has them, else their numbers."""
    count = 1 + int(max(said.labels.max(), said.predicted.max()))
    for name in ("linear_eval", "knn"):
        path = os.path.join(run_dir, name, "confusion.csv")
        if tf.io.gfile.exists(path):
            with tf.io.gfile.GFile(path) as file:
                header = file.read().splitlines()[:1]
            found = next(csv.reader(header), [])[1:]
            if len(found) >= count:
                return tuple(found)
    return tuple(map(str, range(count)))


def _image_files(settings, dataset):
    """The image files of a run on this machine, {name as a quarantine has it: path}; may be {}.

    A list that came from elsewhere could name any file of this computer. Its files are opened only
    if they are among the images of the run, whose fingerprint a stranger does not know.
    """
    data = restore.data_of(settings)
    if not data.image_dir or memory.is_address(data.image_dir):
        return {}
    try:
        info = sources.describe(data)
        if dataset.get("fingerprint") not in (info.fingerprint, *info.earlier_fingerprints):
            return {}
        files = sources.open_whole(data, "train").files()
    except UserError:
        return {}
    return {texts.shown(path): path for path in files}


def _add_quarantine(page, run_dir, settings, dataset):
    path = os.path.join(run_dir, "quarantine.txt")
    if not tf.io.gfile.exists(path):
        return
    with tf.io.gfile.GFile(path, "rb") as file:
        lines = file.read().decode("utf-8", "replace").splitlines()
    rows = [(name, reason) for name, tab, reason in (line.partition("\t") for line in lines) if tab]
    if not rows:
        return
    more = f" The first {MOST_QUARANTINED} are shown." if len(rows) > MOST_QUARANTINED else ""
    here = _image_files(settings, dataset)
    if not here:
        more += " No pictures: the images that the run was trained on are not here, or changed."
    figures = []
    others = []
    for number, (name, reason) in enumerate(rows[:MOST_QUARANTINED]):
        seen = None
        if name in here and len(figures) < MOST_DAMAGED:
            seen = damaged.visible_part(here[name], page.pictures.side)
        if seen is None:
            others.append((name, reason))
            continue
        place = page.pictures.place(("quarantine", number), seen)
        figures.append(
            figure(thumbnail(place, f"{name}: {reason}"), os.path.basename(name), reason)
        )
    page.add("quarantine", "Images that could not be used", f"{texts.counted(len(rows), 'image')} gave way to others.{more}",
             "What can still be seen of damaged ones:" if figures else "", gallery(figures) if figures else "",
             Markup(table(["image", "reason"], others)) if others else "")  # fmt: skip
