"""`--mode=study`: the runs of a study of the paper, their evaluations, one table and one picture."""

import os

from simclr_tf import config as settings_of
from simclr_tf.commands import plan, study_rows, study_workers
from simclr_tf.data import sources
from simclr_tf.data.info import require_labels
from simclr_tf.files import write_atomically
from simclr_tf.report.files import write_figure
from simclr_tf.runs.files import write_json
from simclr_tf.runs.run_folder import require_folder
from simclr_tf.stack import tf
from simclr_tf.studies import figure, table
from simclr_tf.studies.registry import STUDIES, make_scale


def run(config, given=frozenset()):
    """Runs what is missing of the studies, and writes their tables; again, it goes on.

    Args:
        config: config.Study.
        given: names of the settings that the user gave.
    Returns:
        {name of a study: content of its results.json}, or None for a dry run.
    Raises:
        UserError: a setting, the images or a folder cannot be used, or a signal stopped the work.
    """
    require_folder(config.run, example="runs/studies")
    info = sources.describe(config.data)
    require_labels(info, "--mode=study")
    digits = not config.data.is_folder and config.data.dataset == "digits"
    scale = make_scale(config.study.scale, digits, config.study.study_datasets)
    wanted = settings_of.listed(config.study.study)
    wanted = tuple(STUDIES) if "all" in wanted else wanted
    works = [study_rows.Work(config, given, scale, STUDIES[name]) for name in wanted]
    for work in works:
        print(_plan_text(work, info), flush=True)
    if config.run.dry_run:
        todo = [task for work in works for task in work.tasks if not task.is_done()]
        print(study_rows.estimate(config, scale, todo, info.num_train), flush=True)
        return None
    if config.study.processes > 1:
        study_workers.share(config, given, wanted)
    else:
        for work in works:
            work.run_share(*config.study.part)
    results = {work.study.name: _write(work, info) for work in works}
    names = ", ".join(f"{name}/results.md" for name in results)
    print(f"written to {config.run.model_dir}: {names} (and .csv, .json, figure.png)", flush=True)
    return results


def _plan_text(work, info):
    study = work.study
    config = work.config
    done = sum(task.is_done() for task in work.tasks)
    index, count = config.study.part
    rows = [
        ("study", f"{study.title} ({study.source})"),
        ("data set", f"{info.name}, {info.num_train:,} training, {info.num_eval:,} evaluation images"),
        ("figure", work.scale.words),
        ("runs", f"{len(work.tasks)} ({len(work.plan.rows)} rows, seeds {config.run.seed} to {config.run.seed + config.study.seeds - 1}), {done} of them done"),
        ("this share", f"{index + 1} of {count}, in {config.study.processes} process{'es' * (config.study.processes > 1)}"),
        ("output", os.path.join(config.run.model_dir, study.name) if config.run.model_dir else "none (dry run)"),
    ]  # fmt: skip
    text = plan.format_plan(f"plan: study {study.name}, scale {work.scale.name}", rows)
    if not config.run.dry_run:
        return text
    lines = []
    for row in work.plan.rows:
        words = " ".join(f"--{name}={value}" for name, value in row.settings.items())
        modes = sorted({m.mode for m in row.cells.values() if m.mode})
        lines.append(f"  {row.name}: {row.mode} {words or '(as the scale says)'}; {', '.join(modes) or 'its own figures'}")  # fmt: skip
    return "\n".join([text, *lines])


def _write(work, info):
    """Writes results.md, .csv and .json and the picture of a study; returns the results."""
    values, failed = work.values()
    study = work.study
    folder = os.path.join(work.config.run.model_dir, study.name)
    tf.io.gfile.makedirs(folder)
    seeds = work.config.study.seeds
    text = table.markdown(study, work.plan, work.scale, values, seeds, failed, info.name)
    write_atomically(os.path.join(folder, "results.md"), text)
    write_atomically(os.path.join(folder, "results.csv"), table.csv(work.plan, values, study))
    if values:
        picture = figure.draw(study, work.plan, work.scale, values)
        write_figure(picture, os.path.join(folder, "figure.png"))
    findings = []
    for finding in work.plan.findings:
        gained = table.difference(finding, values)
        if gained is not None:
            findings.append([finding.sentence, *gained, table.verdict(*gained)])
    results = {
        "mode": "study",
        "study": study.name,
        "scale": work.scale.name,
        "dataset": info.name,
        "seeds": seeds,
        "runs": len(work.tasks),
        "runs_done": sum(task.is_done() for task in work.tasks),
        "figures": [[*place, by_seed] for place, by_seed in values.items()],
        "findings": findings,
        "failed": failed,
    }
    write_json(os.path.join(folder, "results.json"), results)
    print(text, flush=True)
    return results
