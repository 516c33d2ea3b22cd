"""From the figures of the rows to a table: means and intervals over seeds, findings, CSV."""

import numpy as np
from scipy import stats

from simclr_tf.evaluation.results import csv_text, markdown_table

UNDECIDED = "not decided"


def mean_and_interval(values):
    """(mean, half of the 95 % interval of Student's t) of one figure over seeds.

    Args:
        values: list of float, at least one; the interval of a single one is None.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    deviation = np.std(values, ddof=1) / np.sqrt(len(values))
    return mean, float(stats.t.ppf(0.975, len(values) - 1) * deviation)


def summary(values):
    """{place: (mean, half interval or None)} of {place: {seed: value}}; empty cells are left out."""
    return {
        place: mean_and_interval(list(by_seed.values()))
        for place, by_seed in values.items()
        if by_seed
    }


def difference(finding, values):
    """(mean, half interval or None) of better minus worse over the seeds that have every cell.

    Args:
        finding: plan.Finding.
        values: {place: {seed: value}}.
    Returns:
        None if no seed has every cell.
    """
    places = (*finding.better, *finding.worse)
    seeds = set.intersection(*(set(values.get(place, {})) for place in places))
    if not seeds:
        return None
    found = []
    for seed in sorted(seeds):
        better, worse = (
            np.mean([values[place][seed] for place in part])
            for part in (finding.better, finding.worse)
        )
        found.append(better - worse)
    return mean_and_interval(found)


def verdict(mean, half):
    """A difference and its interval in words."""
    if half is None:
        return f"{'yes' if mean > 0 else 'no'}, by one seed"
    if mean - half > 0:
        return "shows"
    return "the opposite shows" if mean + half < 0 else UNDECIDED


def layout(values, corner):
    """(header, rows) of a table of {place: text}."""
    columns = list(dict.fromkeys(column for _, column in values))
    names = list(dict.fromkeys(name for name, _ in values))
    rows = [[name, *(values.get((name, column), "-") for column in columns)] for name in names]
    return [corner, *columns], rows


def shown(mean, half):
    """ "61.2 ± 1.3"."""
    return f"{mean:.1f}" if half is None else f"{mean:.1f} ± {half:.1f}"


def markdown(study, plan, scale, values, seeds, failed, dataset):
    """The Markdown of a study.

    Args:
        study: plan.Study.
        plan: its plan.Plan at this scale.
        scale: plan.Scale.
        values: {place: {seed: value}}, shares in per cent.
        seeds: number of seeds asked for.
        failed: {name of a row: why} of rows that ended without figures.
        dataset: name of the images.
    """
    found = summary(values)
    done = sum(len(by_seed) for by_seed in values.values())
    text = f"# {study.title} ({study.source})\n\n{dataset}, `--study={study.name} --scale={scale.name} "
    text += f"--seeds={seeds}`. {scale.words[0].upper()}{scale.words[1:]}, in per cent"
    text += ", mean and 95 % interval over seeds (Student's t).\n" if seeds > 1 else ".\n"
    text += f"{study.note}\n" if study.note else ""
    missing = len(plan.places) * seeds - done
    if missing:
        text += f"\n{missing} of {len(plan.places) * seeds} figures are missing.\n"
    cells = {place: shown(*found[place]) if place in found else "-" for place in plan.places}
    text += "\n" + markdown_table(*layout(cells, plan.corner or "this run"))
    text += "\nThe paper, top-1 on ImageNet:\n\n"
    numbers = {place: f"{number:g}" for place, number in study.paper.items()}
    text += markdown_table(*layout(numbers, "the paper"))
    lines = []
    for finding in plan.findings:
        gained = difference(finding, values)
        if gained is not None:
            lines.append([finding.sentence, shown(*gained), verdict(*gained)])
    if lines:
        text += "\nWhat the paper found, and what these runs say:\n\n"
        text += markdown_table(["finding", "difference", "here"], lines)
    for name, reason in failed.items():
        text += f"\n{name} has no figures: {reason}\n"
    return text


def csv(plan, values, study):
    """One line per cell and seed: row, column, seed, value, the paper's number."""
    lines = []
    for place in plan.places:
        for seed, value in sorted(values.get(place, {}).items()):
            lines.append([*place, seed, f"{value:.6g}", study.paper.get(place, "")])
    return csv_text(["row", "column", "seed", "value", "paper"], lines)
