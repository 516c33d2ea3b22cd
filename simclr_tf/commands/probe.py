"""`--mode=probe`: what h and the layers of the head know of the views (paper §4.2, Tab. 3)."""

import dataclasses
import time

from simclr_tf.commands import evaluation_run, plan
from simclr_tf.config import listed
from simclr_tf.data import holdout, sources
from simclr_tf.data.info import require_labels
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation import probe_tasks
from simclr_tf.evaluation.frozen import proved_frozen, weights_hash
from simclr_tf.evaluation.results import figure_text, markdown_table
from simclr_tf.views import channels

COLUMNS = {
    "color": "colour or grey",
    "rotation": "rotation",
    "noise": "noise or not",
    "sobel": "Sobel or not",
    "label": "class label",
}


@evaluation_run.releases
def run(config, given=frozenset()):
    """Trains a probe per task and feature space on the frozen encoder.

    Args:
        config: config.Probe.
        given: names of the settings that the user gave; data and model settings that are not
            among them come from the pretraining.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, the data, the checkpoint or the output folder cannot be used.
        FrozenEncoderError: the encoder changed; nothing is written.
    """
    strategy = evaluation_run.make_strategy(config, given, config.trained.checkpoint)
    tasks = _tasks(config)
    with strategy.scope():
        trained = evaluation_run.load(config, given)
    config = evaluation_run.resolve(config, given, trained, "probe")
    config, info = _describe(config, tasks, given)
    print(_plan(config, trained, info, tasks, strategy), flush=True)
    if config.run.dry_run:
        return None
    folder, pair = evaluation_run.start("probe", config, info)
    sha256 = weights_hash(trained.encoder, strategy)
    tables = [f"confusion_{task}.csv" for task in tasks]
    done = evaluation_run.finished(folder, sha256, tables)
    if done is not None:
        return done
    with evaluation_run.bad_images_reported(pair[0].quarantine, *pair):
        results, confusions = _measure(config, trained, strategy, tasks, pair)
    text = _markdown(results, config.probe)
    evaluation_run.write_results(folder, results, text, confusions)
    return results


def _describe(config, tasks, given):
    """(config, `SourceInfo`); takes "label" and "color" from the tasks where there are none.

    A probe is measured on images that it was not fitted to. Where a pretraining without labels
    used every image, a share of them is kept from the probe.
    """
    info = sources.describe(config.data)
    if not info.num_eval and config.data.eval_fraction == holdout.AUTOMATIC:
        data = dataclasses.replace(config.data, eval_fraction=holdout.SHARE)
        config = dataclasses.replace(config, data=data)
        info = sources.describe(data)
    channels.check(info, config.model)
    if "color" in tasks and info.channels != channels.RGB:
        if "probe_tasks" in given:
            raise SettingsError(f"probe_tasks=color needs RGB, the images have {info.channels} channels; leave it out.")  # fmt: skip
        tasks.remove("color")
    if "label" in tasks and (not info.num_classes or info.unlabelled_eval):
        if "probe_tasks" in given:
            require_labels(info, "--probe_tasks=label")
        tasks.remove("label")
    return config, info


def _measure(config, trained, strategy, tasks, pair):
    """The content of results.json, and {file: confusion matrix of h as CSV} of the tasks."""
    began = time.monotonic()
    probing = probe_tasks.Probing(config, trained, strategy, *pair)
    with proved_frozen(trained.encoder, strategy) as sha256:
        found = {task: probe_tasks.measure(probing, task) for task in tasks}
    results = {
        "mode": "probe",
        "checkpoint": config.trained.checkpoint,
        "step": trained.step,
        "dataset": pair[0].name,
        "num_train": pair[0].num_examples,
        "num_eval": pair[1].num_examples,
        "tasks": {task: figures for task, (figures, _) in found.items()},
        "encoder_sha256": sha256,
        "wall_seconds": round(time.monotonic() - began, 2),
    }
    return results, {f"confusion_{task}.csv": table for task, (_, table) in found.items()}


def _tasks(config):
    names = list(listed(config.probe.probe_tasks))
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not names:
        raise SettingsError(
            f"probe_tasks={config.probe.probe_tasks} names {unknown[0] if unknown else 'nothing'}; "
            f"give some of {', '.join(COLUMNS)}, comma-separated."
        )
    return names


def _plan(config, trained, info, tasks, strategy):
    settings = config.probe
    network = f"one hidden layer of {settings.probe_hidden}" if settings.probe_hidden else "linear"
    rows = [
        ("encoder", f"{config.trained.checkpoint}, step {trained.step}, frozen"),
        *evaluation_run.data_rows(info, config.data),
        ("tasks", ", ".join(tasks)),
        ("probe", f"{network}, {settings.probe_epochs} epochs; class label: L-BFGS, linear"),
        evaluation_run.strategy_row(strategy),
        ("output", config.run.model_dir),
    ]
    return plan.format_plan("plan: probe", rows)


def _markdown(results, settings):
    """results.md: a row per feature space, a column per task; top-1, then mean per class."""
    width = settings.probe_hidden
    tasks = results["tasks"]
    kind = f"network with one hidden layer of {width}" if width else "linear classifier"
    chances = ["chance"] + [f"{figures['chance']:.3f}" for figures in tasks.values()]
    text = f"# What {results['checkpoint']} (step {results['step']}) knows of a view\n\n"
    text += f"{results['dataset']}: {results['num_train']} training images, "
    text += f"{results['num_eval']} evaluation images; top-1 and its 95 % interval (Wilson's).\n\n"
    text += _table(tasks, "top_1", [chances])
    text += "\nMean per class and its 95 % interval (bootstrap):\n\n"
    text += _table(tasks, "mean_per_class", [])
    text += (
        f"\nProbes on the frozen encoder: a {kind} for the transformations, which are "
        "applied to one random view of each image as the pretraining draws them; a linear "
        "classifier on whole images for the label. Chance is the share of the commonest class.\n"
    )
    return text + f"\nThe encoder was not changed (sha256 {results['encoder_sha256']}).\n"


def _table(tasks, figure, rows):
    """Markdown: `rows`, then one for each feature space with a figure of every task."""
    for name in next(iter(tasks.values()))["spaces"]:
        cells = [figure_text(found["spaces"][name], figure) for found in tasks.values()]
        rows.append([probe_tasks.TITLES.get(name, f"head layer {name[1:]}"), *cells])
    return markdown_table(["predict from"] + [COLUMNS[task] for task in tasks], rows)
