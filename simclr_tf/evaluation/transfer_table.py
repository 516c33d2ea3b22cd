"""The table of a transfer study: our rows, the paper's beside them, significance."""

from simclr_tf.evaluation.results import FIGURES, markdown_table
from simclr_tf.evaluation.transfer_sets import PAPER_ROWS

ROWS = {
    "untrained": "untrained encoder, linear",
    "compared": "compared encoder, linear",
    "simclr": "SimCLR, linear",
    "random": "random weights, trained",
    "compared_finetune": "compared encoder, fine-tuned",
    "finetune": "SimCLR, fine-tuned",
}
P_VALUES = {
    "untrained": "p-value, linear, SimCLR against the untrained encoder",
    "compared": "p-value, linear, SimCLR against the compared encoder",
    "random": "p-value, fine-tuned SimCLR against random weights",
    "compared_finetune": "p-value, fine-tuned, SimCLR against the compared encoder",
}


def table_of(results, sets):
    """Header and rows: a column per data set, the paper's rows beside ours, then p-values.

    Between them stands the mean per class of our rows, where it is not the metric itself.

    Args:
        results: content of results.json.
        sets: list of TransferSet.
    """
    columns = results["datasets"]
    header = ["row"] + [f"{one.name} ({FIGURES[one.metric]})" for one in sets]
    lines = [["labels used"] + [f"{columns[one.name]['num_train']:,}" for one in sets]]
    for key, title in ROWS.items():
        if any(key in figures for figures in columns.values()):
            lines.append([title] + [_cell(columns[one.name].get(key)) for one in sets])
    for key, title in ROWS.items():
        cells = [
            _cell(columns[one.name].get(key), "mean_per_class") * (one.metric == "top_1")
            for one in sets
        ]
        if any(cells):
            lines.append([f"{title}, mean per class", *cells])
    for title, key in PAPER_ROWS.items():
        if any(key in one.paper for one in sets):
            figures = [one.paper.get(key) for one in sets]
            lines.append([title] + ["" if f is None else f"{f:.1f}" for f in figures])
    for key, title in P_VALUES.items():
        values = [columns[one.name].get("p_values", {}).get(key) for one in sets]
        if any(value is not None for value in values):
            lines.append([title] + ["" if v is None else f"{v:.5f}" for v in values])
    return header, lines


def _cell(figures, name="value"):
    """Per cent and its 95 % interval, as the paper's tables; "" if it was not measured."""
    if figures is None or name not in figures:
        return ""
    low, high = figures["interval" if name == "value" else name + "_interval"]
    return f"{100 * figures[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def markdown_of(results, config, header, lines):
    """results.md of a transfer study.

    Args:
        results: content of results.json.
        config: config.Transfer.
        header, lines: of `table_of`.
    """
    text = f"# Transfer of {results['checkpoint']} (step {results['step']})\n\n"
    text += markdown_table(header, lines)
    return text + (
        "\nPer cent with 95 % intervals (Wilson's for top-1, bootstrap otherwise). Linear: L-BFGS "
        "logistic regression on standardised features of whole images, the penalty chosen from 45 "
        "on held-out training images, then all training images. Fine-tuned and trained from random "
        "weights: the best run of a grid on held-out training images, repeated on all of them. "
        "The p-values are of permutation tests with "
        f"{config.transfer.permutations:,} samples; above 0.05 counts as tied.\n"
    )
