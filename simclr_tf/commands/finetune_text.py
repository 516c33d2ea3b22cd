"""The plan of a fine-tuning, and its table."""

from simclr_tf.commands import evaluation_run, plan
from simclr_tf.evaluation.results import confusion_csv, markdown_table, report_table
from simclr_tf.training import length

TITLES = {
    "untrained": "untrained encoder, linear classifier",
    "frozen": "SimCLR, frozen, linear classifier",
    "supervised": "supervised from random weights",
    "fine_tuned": "SimCLR, fine-tuned",
}


def plan_text(start, info, labels, strategy):
    """The plan: a finetune_start.Start, SourceInfo, number of labels, tf.distribute.Strategy."""
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
        *evaluation_run.data_rows(info, config.data),
        ("labels used", f"{labels:,} ({settings.label_fraction:g} of {of})"),
        ("classifier on", layer),
        ("frozen", frozen),
        ("steps", f"{steps.total:,} ({steps.per_epoch:,} per epoch), warm-up {steps.warmup:,}"),
        ("learning rate", f"peak {steps.peak_learning_rate:.6g}, {optimizer.optimizer}, cosine"),
        ("batch", f"{training.train_batch_size} images"),
        ("augmentation", ", ".join(["random crop", *flip, *more])),
        evaluation_run.strategy_row(strategy),
        ("precision", config.run.precision),
        ("output", config.run.model_dir or "none (dry run)"),
    ]
    return plan.format_plan("plan: finetune", rows)


def markdown(results):
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


def tables(outcome, class_names):
    """{file: text} of the tables beside results.md; outcome: training.supervised.Outcome."""
    return {"confusion.csv": confusion_csv(outcome.scores, outcome.labels, class_names)}
