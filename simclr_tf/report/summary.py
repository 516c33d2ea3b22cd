"""One table of everything that was measured on a run: who beats whom with how many labels."""

import os
import re

from simclr_tf.evaluation.results import figure_text, with_interval
from simclr_tf.runs.files import read_json
from simclr_tf.stack import tf

_NUMBERS = re.compile(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)")
HEADER = ["protocol", "labels used", "untrained encoder", "supervised", "SimCLR"]


def summary_table(run_dir):
    """Header and rows of the evaluations of a run folder.

    Every row has the untrained (random-init) encoder and SimCLR with the same labels, and the
    supervised baseline where it was asked for; "-" marks what was not measured.

    Args:
        run_dir: folder of a pretraining run.
    Returns:
        (header list of str, rows list of lists of str): linear evaluation with few labels and
        all, k-NN, the fine-tunings by number of labels (their untrained encoder is frozen under
        a linear classifier), then transfer and the probes of h (the labels of a transformation
        are free, so none are counted).
    """
    rows = []
    for name, rows_of in (("linear_eval", _linear), ("knn", _knn)):
        path = os.path.join(run_dir, name, "results.json")
        if tf.io.gfile.exists(path):
            rows += rows_of(read_json(path))
    tunings = [read_json(path) for path in _results_below(os.path.join(run_dir, "finetune"))]
    for results in sorted(tunings, key=lambda one: one["num_labels"]):
        rows += _finetune(results)
    for name, rows_of in (("transfer", _transfer), ("probe", _probe)):
        path = os.path.join(run_dir, name, "results.json")
        if tf.io.gfile.exists(path):
            rows += rows_of(read_json(path))
    return HEADER, rows


def summary_figures(run_dir):
    """{protocol: (SimCLR's figure, low, high)} of `summary_table`, for those who compute with them."""
    found = {}
    for row in summary_table(run_dir)[1]:
        numbers = _NUMBERS.fullmatch(row[4])
        if numbers:
            found[row[0]] = tuple(float(number) for number in numbers.groups())
    return found


def _results_below(folder):
    """Paths of FOLDER/*/results.json; the folder's own name is no pattern."""
    names = sorted(tf.io.gfile.listdir(folder)) if tf.io.gfile.isdir(folder) else []
    paths = [os.path.join(folder, name, "results.json") for name in names]
    return [path for path in paths if tf.io.gfile.exists(path)]


def _linear(results):
    untrained = results["baselines"].get("untrained")
    rows = []
    for shots in results["few_shot"]:
        labels = int(shots) * results["num_classes"]
        other = "-" if untrained is None else _few(untrained, shots)
        rows.append([f"linear, {shots} per class", f"{labels:,}", other, "-", _few(results, shots)])
    other = "-" if untrained is None else figure_text(untrained)
    return rows + [["linear", f"{results['num_train']:,}", other, "-", figure_text(results)]]


def _few(figures, shots):
    return with_interval(figures["few_shot"][shots], figures["few_shot_interval"][shots])


def _knn(results):
    rows = results["rows"]
    figures = [figure_text(rows["untrained"]), "-", figure_text(rows["h"])]
    return [["k-NN", f"{results['num_train']:,}", *figures]]


def _finetune(results):
    rows = results["rows"]
    share = f"{100 * results['label_fraction']:g} %"
    labels = f"{results['num_labels']:,}"
    several = any("map_11" in figures for figures in rows.values())
    metric, words = ("map_11", " (11-point mAP)") if several else ("top_1", "")
    untrained, supervised, frozen, tuned = (
        figure_text(rows[name], metric) if name in rows else "-"
        for name in ("untrained", "supervised", "frozen", "fine_tuned")
    )
    lines = [[f"linear, {share} of the labels{words}", labels, untrained, "-", frozen]]
    kind = f"fine-tuned, {share} of the labels{words}"
    lines.append([kind, labels, untrained, supervised, tuned])
    return [line for line in lines if line[4] != "-" or line[3] != "-"]


def _transfer(results):
    lines = []
    for name, rows in results["datasets"].items():
        labels = f"{rows['num_train']:,}"
        untrained = _value(rows["untrained"])
        if "simclr" in rows:
            simclr = _value(rows["simclr"])
            lines.append([f"transfer to {name}, linear", labels, untrained, "-", simclr])
        if "finetune" in rows:
            scratch = _value(rows["random"]) if "random" in rows else "-"
            tuned = _value(rows["finetune"])
            lines.append([f"transfer to {name}, fine-tuned", labels, untrained, scratch, tuned])
    return lines


def _probe(results):
    lines = []
    for task, found in results["tasks"].items():
        labels = f"{results['num_train']:,}" if task == "label" else "0"
        untrained, h = (figure_text(found["spaces"][name]) for name in ("untrained", "h"))
        lines.append([f"probe of h, {task}", labels, untrained, "-", h])
    return lines


def _value(figures):
    return with_interval(figures["value"], figures["interval"])
