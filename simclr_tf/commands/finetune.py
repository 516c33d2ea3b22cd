"""`--mode=finetune`: an encoder trained further with labels, or from scratch with the same ones."""

import time

from simclr_tf.commands import (
    evaluation_run,
    finetune_images,
    finetune_start,
    finetune_text,
)
from simclr_tf.distribution.strategy import check_compilable, check_divisible
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation import frozen_rows
from simclr_tf.evaluation.multi_label import report
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.training import loggers, starting
from simclr_tf.training.supervised import Job, check_profile, fine_tune


@evaluation_run.releases
def run(config, given=frozenset()):
    """Fine-tunes; running it again with the same settings resumes.

    Args:
        config: config.Finetune.
        given: names of the settings that the user gave; data, model, crop and flip settings that
            are not among them come from the pretraining.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, the data, the checkpoint or the run folder cannot be used, or
            training diverged.
    """
    loggers.check(config.training.loggers)
    strategy = evaluation_run.make_strategy(config, given, finetune_start.checkpoint_of(config))
    replicas = strategy.num_replicas_in_sync
    check_divisible(config.training.train_batch_size, replicas)
    check_compilable(config.training.jit_compile, strategy, replicas)
    with strategy.scope():
        start = finetune_start.find(config, given)
    config = start.config
    info = finetune_images.describe(config)
    if config.run.dry_run:
        least = 1 if info.label_sets else info.num_classes
        labels = max(least, round(config.finetuning.label_fraction * info.num_train))
        check_profile(config, labels)
        print(finetune_text.plan_text(start, info, labels, strategy), flush=True)
        return None
    folder, resumed = evaluation_run.claim("finetune", config, info)
    done = _finished(folder, start) if resumed else None
    if done is not None:
        print(f"nothing left to do: {folder.path} is finished, see its results.md.")
        print(evaluation_run.next_command(done, folder), flush=True)
        return done
    train, held_out = finetune_images.open_pair(config, info)
    train.quarantine.attach(folder.join("quarantine.txt"))
    labelled = finetune_images.labelled_share(train, config.finetuning)
    check_profile(config, labelled.num_examples)
    print(finetune_text.plan_text(start, info, labelled.num_examples, strategy), flush=True)
    with evaluation_run.bad_images_reported(train.quarantine, train, held_out):
        return _run(Job(config, strategy, labelled, held_out, folder), start, train)


def _finished(folder, start):
    """The results of the folder if every file of them is there; else None.

    Raises:
        SettingsError: they are of other weights, such as of an earlier checkpoint of the same run.
    """
    names = ("results.json", "results.md", "confusion.csv")
    if not all(folder.exists(name) for name in names):
        return None
    results = read_json(folder.join("results.json"))
    if results.get("encoder_sha256_before", start.sha256) != start.sha256:
        raise SettingsError(
            f"{folder.path} holds the fine-tuning of other weights ({results['init']}) than those "
            f"of {start.origin}; give another --model_dir."
        )
    return results


def _run(job, start, train):
    began = time.monotonic()
    rows = {}
    settings = job.config.finetuning
    if settings.baselines:
        rows.update(_frozen_rows(job, start, train))
    name = "supervised" if start.scratch else "fine_tuned"
    outcome = fine_tune(job, start.encoder, start.head)
    rows[name] = report(outcome.scores, outcome.labels)
    if settings.supervised_baseline and not start.scratch:
        rows["supervised"] = _supervised(job)
    results = {
        "mode": "finetune",
        "init": start.origin,
        "step": outcome.step,
        "dataset": train.name,
        "num_train": train.num_examples,
        "num_labels": job.labelled.num_examples,
        "label_fraction": settings.label_fraction,
        "num_eval": job.held_out.num_examples,
        "num_classes": train.num_classes,
        **rows[name],
        "rows": {key: rows[key] for key in finetune_text.TITLES if key in rows},
        "encoder_sha256_before": start.sha256,
        "images_per_second": outcome.images_per_second,
        "wall_seconds": round(time.monotonic() - began, 2),
    }
    text = finetune_text.markdown(results)
    tables = finetune_text.tables(outcome, train.class_names)
    evaluation_run.write_results(job.folder, results, text, tables)
    return results


def _frozen_rows(job, start, train):
    """The linear classifiers on frozen encoders; kept in baselines.json for resumed runs."""
    path = job.folder.join("baselines.json")
    if job.folder.exists("baselines.json"):
        return read_json(path)
    encoders = {} if start.scratch else {"frozen": start.encoder}
    rows = frozen_rows.measure(job, encoders, train)
    write_json(path, rows)
    return rows


def _supervised(job):
    """The report of the same training from random weights, in the folder `supervised`."""
    folder = RunFolder(job.folder.join("supervised"))
    path = folder.join("results.json")
    if not folder.exists("results.json"):
        with job.strategy.scope():
            encoder, head = starting.random_parts(job.config)
        print("supervised baseline, from random weights:", flush=True)
        outcome = fine_tune(job.elsewhere(folder), encoder, head)
        write_json(path, report(outcome.scores, outcome.labels))
    return read_json(path)
