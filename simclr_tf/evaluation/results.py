"""How results are laid out: figures with their intervals, tables, Markdown and plain text."""

import csv
import io

import numpy as np

from simclr_tf import names as texts
from simclr_tf.evaluation.metrics import confusion_matrix

ROWS = (
    ("pixels", "raw pixels"),
    ("color", "colour histogram"),
    ("hog", "HOG"),
    ("untrained", "untrained encoder"),
    ("simclr", "SimCLR"),
)
_JUDGED_AT = "5"  # labels per class


def markdown_table(header, rows):
    """A Markdown table.

    Args:
        header: list of str.
        rows: list of lists of str, as long as the header.
    Returns:
        str with one line per row and a final newline; the first column is left-aligned.
    """
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [header] + rows]
    rule = [":---"] + ["---:"] * (len(header) - 1)
    lines = [escaped[0], rule] + escaped[1:]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def plain_table(header, rows):
    """A table for the terminal: columns aligned by spaces, a rule under the header."""
    lines = [header] + rows
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [_aligned(line, widths) for line in lines]
    return "\n".join([text[0], "-" * len(text[0])] + text[1:])


def _aligned(line, widths):
    cells = [line[0].ljust(widths[0])]
    return "  ".join(cells + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])])


def confusion_csv(scores, labels, class_names):
    """The confusion matrix as CSV: one row per true class, one column per predicted class.

    Where images have several labels, one row per class says how often it was found, missed,
    wrongly seen and rightly not seen; a score above 0 says yes.

    Args:
        scores: float [n, c].
        labels: int [n], or bool [n, c].
        class_names: c names.
    """
    if np.ndim(labels) == 2:
        return _label_sets_csv(np.asarray(scores) > 0, labels, class_names)
    counts = confusion_matrix(np.argmax(scores, axis=1), labels, len(class_names))
    class_names = [texts.cell(name) for name in class_names]
    rows = [[name, *row] for name, row in zip(class_names, counts.tolist())]
    return csv_text(["true \\ predicted", *class_names], rows)


def _label_sets_csv(found, targets, class_names):
    kinds = [found & targets, ~found & targets, found & ~targets, ~found & ~targets]
    counts = np.sum(kinds, axis=1).T.tolist()
    rows = [[texts.cell(name), *row] for name, row in zip(class_names, counts)]
    return csv_text(["class", "found", "missed", "wrongly seen", "rightly not seen"], rows)


def csv_text(header, rows):
    """CSV of a header and rows, with one newline after each line."""
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([header, *rows])
    return content.getvalue()


def with_interval(value, interval):
    """ "0.750 (0.700 to 0.800)": a figure and its confidence interval."""
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def figure_text(figures, name="top_1"):
    """A figure of a classification report and its interval, as `with_interval`."""
    return with_interval(figures[name], figures[name + "_interval"])


FIGURES = {
    "top_1": "top-1", "top_5": "top-5", "mean_per_class": "mean per class", "map_11": "11-point mAP"
}  # fmt: skip


def report_table(rows, labels=None):
    """Header and rows of a table of reports, every figure with its interval.

    Args:
        rows: {title: report}, the figures of each those of `FIGURES` that its kind has; labels:
            {title: number of labels used} or None.
    """
    names = [name for name in FIGURES if all(name in figures for figures in rows.values())]
    header = ["features"] + ([] if labels is None else ["labels"])
    header += [FIGURES[name] for name in names]
    lines = []
    for title, figures in rows.items():
        cells = [title] + ([] if labels is None else [f"{labels[title]:,}"])
        lines.append(cells + [figure_text(figures, name) for name in names])
    return header, lines


def results_table(results):
    """Header and rows of a linear evaluation's results.json.

    Args:
        results: its content; "baselines" may be empty.
    Returns:
        (header list of str, rows list of lists of str): a column per feature space; a row for
        the few-shot top-1 of each number of labels per class, then the figures with all labels,
        then top-1 of the fast form if both were run. Every figure has its 95 % interval.
    """
    spaces = {**results.get("baselines", {}), "simclr": results}
    titles, spaces = zip(*((title, spaces[name]) for name, title in ROWS if name in spaces))
    everything = f"all {results['num_train']} labels"
    rows = [
        [f"{k} label{'s' * (k != '1')}/class, top-1"] + [_few_shot(one, k) for one in spaces]
        for k in results.get("few_shot", {})
    ]
    for name in ("top_1", "top_5", "mean_per_class"):
        rows.append([f"{everything}, {FIGURES[name]}"] + [figure_text(one, name) for one in spaces])
    if results["linear_form"] == "both":
        rows.append([f"{everything}, L-BFGS, top-1"] + [figure_text(one["fast"]) for one in spaces])
    return ["labels and figure", *titles], rows


def verdict(results):
    """A sentence that says which baselines SimCLR is not above with few labels, and what to try.

    Args:
        results: content of the results.json of a linear evaluation.
    Returns:
        str, "" if SimCLR is above all of them.
    """
    shots = results.get("few_shot", {})
    baselines = results.get("baselines", {})
    if not shots or not baselines:
        return ""
    at = _JUDGED_AT if _JUDGED_AT in shots else max(shots, key=int)
    own = shots[at]
    above = [
        f"{title} ({baselines[name]['few_shot'][at]:.3f})"
        for name, title in ROWS
        if name in baselines and baselines[name]["few_shot"][at] >= own
    ]
    if not above:
        return ""
    return (
        f"With {at} label{'s' * (at != '1')} per class SimCLR ({own:.3f}) is not above "
        f"{', '.join(above)}. Train longer (--budget_minutes, --train_epochs), and look at the "
        "views (--mode=views): weaker crops (--crop_area_min) and colours "
        "(--color_jitter_strength) keep more of an image."
    )


def _few_shot(figures, shots):
    return with_interval(figures["few_shot"][shots], figures["few_shot_interval"][shots])


_PROTOCOL = {
    "paper": (
        "All labels: linear classifier trained by SGD on cropped (and flipped) images, encoder "
        "frozen; the features of the baselines are standardised for it, which favours them. "
    ),
    "fast": (
        "{title}: L-BFGS logistic regression on standardised features without augmentation, "
        "penalty chosen from 45 on a fifth of the training images. "
    ),
}


def _protocol(form):
    paper = _PROTOCOL["paper"]
    fast = _PROTOCOL["fast"]
    if form == "both":
        return paper + fast.format(title="All, L-BFGS")
    return paper if form == "paper" else fast.format(title="All labels")


def results_markdown(results):
    """results.md of a linear evaluation: the table and how its figures came about."""
    draws = results["few_shot_draws"]
    text = f"# Linear evaluation of {results['checkpoint']} (step {results['step']})\n\n"
    text += f"{results['dataset']}: {results['num_train']} training images, "
    text += f"{results['num_eval']} evaluation images, {results['num_classes']} classes.\n\n"
    text += markdown_table(*results_table(results)) + "\n"
    text += f"{verdict(results)}\n\n" if verdict(results) else ""
    text += (
        "All columns use the same images, draws and protocol. Labels per class: top-1 of logistic "
        "regression on features standardised with the unlabelled training images, mean over "
        f"{draws} seeded class-balanced draws. {_protocol(results['linear_form'])}In brackets, "
        "95 % intervals: Wilson's for the number of evaluation images, of the mean per class a "
        "bootstrap's, with few labels a bootstrap's over draws and evaluation images. The "
        "untrained encoder has the same "
        "architecture and random weights, with its residual branches switched on and its initial "
        "statistics, its strongest form. "
        "Raw pixels above 16x16 are averaged down to 16x16; the classifier with all labels sees their 256 main axes.\n"
    )
    if "color" in results.get("baselines", {}):
        text += "The colour histogram has 512 boxes; "
        hog = "hog" in results["baselines"]
        text += "HOG is that of scikit-image on 64 x 64 pixels.\n" if hog else "pip install scikit-image adds a column for HOG.\n"  # fmt: skip
    proof = f"(sha256 {results['encoder_sha256']} before and after)"
    return text + f"\nThe encoder was not changed {proof}.\n"
