"""The picture of a study: its figures, and beside them those of the paper."""

import textwrap

import numpy as np
from matplotlib.figure import Figure

from simclr_tf.studies.table import summary


def draw(study, plan, scale, values):
    """A matplotlib Figure with two panels.

    Args:
        study: plan.Study.
        plan: its Plan.
        scale: plan.Scale.
        values: {place: {seed: value}}, shares in per cent.
    """
    shares = {place for row in plan.rows for place, one in row.cells.items() if one.percent}
    others = {column for _, column in set(plan.places) - shares}  # not on an axis of per cent
    found = {place: value for place, value in summary(values).items() if place in shares}
    numbers = {
        place: (value, None) for place, value in study.paper.items() if place[1] not in others
    }
    panels = [(f"this run ({scale.name})", found), ("the paper (ImageNet)", numbers)]
    figure = Figure(figsize=(13, 5), dpi=100)
    axes = figure.subplots(1, 2)
    for axis, (title, cells) in zip(axes, panels):
        if not cells:
            axis.set_axis_off()
            continue
        (_heat if study.kind == "heat" else _bars)(axis, cells)
        axis.set_title(title, fontsize=11)
    figure.suptitle(f"{study.title} ({study.source})")
    figure.tight_layout()
    return figure


def _names(cells):
    rows = list(dict.fromkeys(row for row, _ in cells))
    return rows, list(dict.fromkeys(column for _, column in cells))


def _heat(axis, cells):
    rows, columns = _names(cells)
    matrix = np.full([len(rows), len(columns)], np.nan)
    for (row, column), (mean, _) in cells.items():
        matrix[rows.index(row), columns.index(column)] = mean
    axis.imshow(matrix, cmap="viridis")
    middle = (np.nanmin(matrix) + np.nanmax(matrix)) / 2
    for (y, x), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            color = "white" if value < middle else "black"
            axis.text(x, y, f"{value:.1f}", ha="center", va="center", color=color, fontsize=8)
    axis.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axis.set_yticks(range(len(rows)), rows)
    axis.set(xlabel="second", ylabel="first")


def _bars(axis, cells):
    rows, columns = _names(cells)
    width = 0.8 / len(columns)
    for number, column in enumerate(columns):
        there = [(at, *cells[row, column]) for at, row in enumerate(rows) if (row, column) in cells]
        at, means, halves = zip(*there)
        place = np.array(at) + (number - (len(columns) - 1) / 2) * width
        errors = [half or 0.0 for half in halves] if any(halves) else None
        axis.bar(place, means, width, yerr=errors, label=column, capsize=2)
    labels = [textwrap.fill(row, 20) for row in rows]
    axis.set_xticks(range(len(rows)), labels, rotation=20, ha="right", fontsize=8)
    axis.set_ylabel("per cent")
    if len(columns) > 1:
        axis.legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.22))
