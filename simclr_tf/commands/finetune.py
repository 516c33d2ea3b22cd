"""`--mode=finetune`: an encoder trained further with labels, or from scratch with the same ones."""

import dataclasses
import time

from simclr_tf.commands import evaluation_run, finetune_start, plan
from simclr_tf.data import sources, subset
from simclr_tf.data.info import require_labels
from simclr_tf.distribution.strategy import check_compilable, check_divisible
from simclr_tf.distribution.strategy import describe as describe_strategy
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation import frozen_rows
from simclr_tf.evaluation.multi_label import report
from simclr_tf.evaluation.results import confusion_csv, markdown_table, report_table
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.runs.lock import releases
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf
from simclr_tf.training import length, starting
from simclr_tf.training.recording import bad_images_reported
from simclr_tf.training.supervised import Job, fine_tune
from simclr_tf.views import channels

TITLES = {
    "untrained": "untrained encoder, linear classifier",
    "frozen": "SimCLR, frozen, linear classifier",
    "supervised": "supervised from random weights",
    "fine_tuned": "SimCLR, fine-tuned",
}


@releases
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
    strategy = evaluation_run.make_strategy(config, given, finetune_start.checkpoint_of(config))
    replicas = strategy.num_replicas_in_sync
    check_divisible(config.training.train_batch_size, replicas)
    check_compilable(config.training.jit_compile, strategy, replicas)
    with strategy.scope():
        start = finetune_start.find(config, given)
    config = start.config
    info = _describe(config)
    training = length.as_asked(config.training, given)
    config = dataclasses.replace(config, training=training)
    if config.run.dry_run:
        least = 1 if info.label_sets else info.num_classes
        labels = max(least, round(config.finetuning.label_fraction * info.num_train))
        print(_plan(start, info, labels, strategy), flush=True)
        return None
    folder, resumed = evaluation_run.claim("finetune", config, info)
    done = _finished(folder, start) if resumed else None
    if done is not None:
        print(f"nothing left to do: {folder.path} is finished, see its results.md.")
        print(evaluation_run.next_command(done, folder), flush=True)
        return done
    train, held_out = _open_pair(config, info)
    train.quarantine.attach(folder.join("quarantine.txt"))
    settings = config.finetuning
    labelled = subset.labelled_subset(train, settings.label_fraction, settings.label_seed)
    print(_plan(start, info, labelled.num_examples, strategy), flush=True)
    with bad_images_reported(train.quarantine):
        return _run(Job(config, strategy, labelled, held_out, folder), start, train)


def _describe(config):
    """`SourceInfo` of images, with one label each or several, that the encoder can take."""
    info = sources.describe(config.data)
    channels.check(info, config.model)
    if not info.num_classes:
        names = sources.label_set_names(config.data)
        info = dataclasses.replace(info, num_classes=len(names), label_sets=bool(names))
    require_labels(info, "--mode=finetune")
    return info


def _open_pair(config, info):
    """(training Source, evaluation Source), both `LabelSets` if images have several labels."""
    pair = evaluation_run.open_pair(config)
    if not info.label_sets:
        return pair
    # tensorflow-datasets takes seconds to import
    from simclr_tf.data.multi_label import with_label_sets

    return [with_label_sets(one, config.data, w) for one, w in zip(pair, ("train", "eval"))]


def _finished(folder, start):
    """The results of the folder if every file of them is there; else None.

    Raises:
        SettingsError: they are of other weights, such as of an earlier checkpoint of the same run.
    """
    names = ("results.json", "results.md", "confusion.csv")
    if not all(tf.io.gfile.exists(folder.join(name)) for name in names):
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
        "rows": {key: rows[key] for key in TITLES if key in rows},
        "encoder_sha256_before": start.sha256,
        "images_per_second": outcome.images_per_second,
        "wall_seconds": round(time.monotonic() - began, 2),
    }
    text = _markdown(results)
    confusion = confusion_csv(outcome.scores, outcome.labels, train.class_names)
    evaluation_run.write_results(job.folder, results, text, {"confusion.csv": confusion})
    return results


def _frozen_rows(job, start, train):
    """The linear classifiers on frozen encoders; kept in baselines.json for resumed runs."""
    path = job.folder.join("baselines.json")
    if tf.io.gfile.exists(path):
        return read_json(path)
    encoders = {} if start.scratch else {"frozen": start.encoder}
    rows = frozen_rows.measure(job, encoders, train)
    write_json(path, rows)
    return rows


def _supervised(job):
    """The report of the same training from random weights, in the folder `supervised`."""
    folder = RunFolder(job.folder.join("supervised"))
    path = folder.join("results.json")
    if not tf.io.gfile.exists(path):
        with job.strategy.scope():
            encoder, head = starting.random_parts(job.config)
        print("supervised baseline, from random weights:", flush=True)
        outcome = fine_tune(job.elsewhere(folder), encoder, head)
        write_json(path, report(outcome.scores, outcome.labels))
    return read_json(path)


def _plan(start, info, labels, strategy):
    config = start.config
    settings = config.finetuning
    training = config.training
    optimizer = config.optimizer
    steps = length.resolve_steps(training, optimizer, labels, whole=False)
    layer = {0: "h", -1: "z"}.get(settings.ft_proj_selector, f"head layer {settings.ft_proj_selector}")  # fmt: skip
    frozen = {-1: "nothing", 0: "the stem", 4: "the encoder"}.get(settings.fine_tune_after_block, f"up to block group {settings.fine_tune_after_block}")  # fmt: skip
    color = config.views.color_jitter_strength
    more = [f"colour {color:g}"] * (color > 0) + ["blur"] * config.views.use_blur
    flip = ["flip"] * config.views.flip
    of = "all images, with several labels each" if info.label_sets else "each class"
    rows = [
        ("start", start.origin),
        *evaluation_run.data_rows(info),
        ("labels used", f"{labels:,} ({settings.label_fraction:g} of {of})"),
        ("classifier on", layer),
        ("frozen", frozen),
        ("steps", f"{steps.total:,} ({steps.per_epoch:,} per epoch), warm-up {steps.warmup:,}"),
        ("learning rate", f"peak {steps.peak_learning_rate:.6g}, {optimizer.optimizer}, cosine"),
        ("batch", f"{training.train_batch_size} images"),
        ("augmentation", ", ".join(["random crop", *flip, *more])),
        ("strategy", describe_strategy(strategy)),
        ("precision", config.run.precision),
        ("output", config.run.model_dir or "none (dry run)"),
    ]
    return plan.format_plan("plan: finetune", rows)


def _markdown(results):
    """results.md of a fine-tuning."""
    rows = {TITLES[name]: figures for name, figures in results["rows"].items()}
    labels = dict.fromkeys(rows, results["num_labels"])
    text = f"# Fine-tuning of {results['init']}\n\n{results['dataset']}: "
    text += f"{results['num_labels']} of {results['num_train']} training labels used, "
    text += f"{results['num_eval']} evaluation images, {results['num_classes']} classes.\n\n"
    text += markdown_table(*report_table(rows, labels))
    text += (
        "\nAll rows use the same labels and evaluation images. In brackets, 95 % "
        "intervals: Wilson's, of the mean per class and the mAP a bootstrap's. Linear classifiers: "
        "logistic regression on standardised features, without augmentation"
    )
    proofs = [figures.get("encoder_sha256") for figures in results["rows"].values()]
    proof = ", ".join(sha256 for sha256 in proofs if sha256)
    return text + (f"; the frozen encoders did not change (sha256 {proof}).\n" if proof else ".\n")
