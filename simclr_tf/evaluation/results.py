"""How results are laid out: the rows of the table, Markdown and plain text."""

import csv
import io

import numpy as np

from simclr_tf.evaluation.metrics import confusion_matrix

ROWS = (("pixels", "raw pixels"), ("untrained", "untrained encoder"), ("simclr", "SimCLR"))


def markdown_table(header, rows):
    """A Markdown table.

    Args:
        header: list of str; rows: list of lists of str, as long as the header.
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

    Args:
        scores: float [n, num_classes]; labels: int [n]; class_names: num_classes names.
    """
    counts = confusion_matrix(np.argmax(scores, axis=1), labels, len(class_names))
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(["true \\ predicted", *class_names])
    writer.writerows([name, *row] for name, row in zip(class_names, counts.tolist()))
    return content.getvalue()


def interval_text(figures, name="top_1"):
    """ "low to high", the confidence interval of a figure of a report."""
    low, high = figures[name + "_interval"]
    return f"{low:.3f} to {high:.3f}"


def report_table(rows, labels=None):
    """Header and rows of a table of classification reports.

    Args:
        rows: {title: classification report}; labels: {title: number of labels used} or None.
    """
    header = ["features"] + ([] if labels is None else ["labels"])
    header += ["top-1", "95 % interval", "top-5", "mean per class"]
    lines = []
    for title, figures in rows.items():
        cells = [title] + ([] if labels is None else [f"{labels[title]:,}"])
        cells += [f"{figures['top_1']:.3f}", interval_text(figures), f"{figures['top_5']:.3f}"]
        lines.append(cells + [f"{figures['mean_per_class']:.3f}"])
    return header, lines


def results_table(results):
    """Header and rows of a linear evaluation's results.json.

    Args:
        results: its content; "baselines" may be empty.
    Returns:
        (header list of str, rows list of lists of str): one row per feature space, few-shot top-1
        by labels per class, then top-1 with its 95 % interval and top-5 with all labels, then
        top-1 of the fast form if both were run.
    """
    spaces = {**results.get("baselines", {}), "simclr": results}
    shots = list(results.get("few_shot", {}))
    header = ["features"] + [f"{k} label{'s' * (k != '1')}/class" for k in shots]
    header += [f"all {results['num_train']} labels", "95 % interval", "top-5"]
    both = results["linear_form"] == "both"
    header += ["all, L-BFGS"] if both else []
    rows = [_row(title, spaces[name], shots, both) for name, title in ROWS if name in spaces]
    return header, rows


def _row(title, figures, shots, both):
    cells = [title] + [f"{figures['few_shot'][k]:.3f}" for k in shots]
    cells += [f"{figures['top_1']:.3f}", interval_text(figures), f"{figures['top_5']:.3f}"]
    return cells + ([f"{figures['fast']['top_1']:.3f}"] if both else [])


def few_shot_table(results):
    """Header and rows of the intervals of the figures with few labels, as of `results_table`."""
    spaces = {**results.get("baselines", {}), "simclr": results}
    shots = list(results["few_shot"])
    header = ["95 % interval"] + [f"{k} label{'s' * (k != '1')}/class" for k in shots]
    lines = []
    for name, title in ROWS:
        if name in spaces:
            found = spaces[name]["few_shot_interval"]
            lines.append([title] + [f"{found[k][0]:.3f} to {found[k][1]:.3f}" for k in shots])
    return header, lines


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
    paper, fast = _PROTOCOL["paper"], _PROTOCOL["fast"]
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
    if results["few_shot"]:
        text += markdown_table(*few_shot_table(results)) + "\n"
    text += (
        "All rows use the same images, draws and protocol. Labels per class: top-1 of logistic "
        "regression on features standardised with the unlabelled training images, mean over "
        f"{draws} seeded class-balanced draws. {_protocol(results['linear_form'])}The interval is "
        "Wilson's for the number of evaluation images, with few labels a bootstrap's over draws "
        "and evaluation images. The untrained encoder has the same "
        "architecture and random weights, with its residual branches switched on and its initial "
        "statistics, its strongest form. "
        "Raw pixels above 32x32 are averaged down to 32x32.\n"
    )
    proof = f"(sha256 {results['encoder_sha256']} before and after)"
    return text + f"\nThe encoder was not changed {proof}.\n"
