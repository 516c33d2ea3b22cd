"""The curves of a run, from its metrics.jsonl, and what its health watch would have said."""

import json
import math
import os

from simclr_tf import config as settings_of
from simclr_tf.losses.table import chance_value
from simclr_tf.optimizers.schedule import warmup_steps
from simclr_tf.runs.metrics_log import metrics_lines
from simclr_tf.training.health import HealthWatch, weaken_words

MOST_POINTS = 1500  # of a curve

# (title, {metric: what it is called}, (least, most) of the axis)
CURVES = (
    ("loss", {"loss": "loss"}, (None, None)),
    (
        "contrastive accuracy",
        {"contrastive_accuracy": "in the batch", "contrastive_accuracy_full": "of all views"},
        (0, 1),
    ),
    ("accuracy on labels", {"probe_top_1": "linear probe", "knn_top_1": "k-NN"}, (0, 1)),
    ("learning rate", {"learning_rate": "learning rate"}, (0, None)),
    ("effective rank of h", {"effective_rank": "effective rank"}, (0, None)),
    ("alignment (lower: views closer)", {"alignment": "alignment"}, (0, None)),
    ("uniformity (lower: spread wider)", {"uniformity": "uniformity"}, (None, None)),
    ("cosine of views", {"positive_similarity": "same image", "negative_similarity": "others"}, (None, None)),
    ("share of time waiting for images", {"input_share": "waiting"}, (0, 1)),
)  # fmt: skip


def read_history(run_dir):
    """[{metric: value}] of the lines that are whole, by step; a run may be writing them.

    The pace of the run, which lies in a file of its own, is merged in.
    """
    found = {}
    for name in ("metrics.jsonl", "pace.jsonl"):
        for line in metrics_lines(os.path.join(run_dir, name)):
            logs = json.loads(line)
            step = int(logs["step"])
            if name == "metrics.jsonl":
                found[step] = logs
            elif step in found:
                found[step].update(logs)
    return [found[step] for step in sorted(found)]


def points(history, name):
    """[[step, value]] of a metric, thinned evenly to MOST_POINTS; values that are no numbers go."""
    found = [[int(logs["step"]), logs[name]] for logs in history if _is_number(logs.get(name))]
    stride = -(-len(found) // MOST_POINTS)
    return found if stride < 2 else found[::-1][::stride][::-1]  # the last one stays


def _is_number(value):
    return type(value) in (int, float) and math.isfinite(value)


def chance_of(settings):
    """The loss of equal embeddings in nats, None if it has no such value.

    Args:
        settings: {setting name: value} of a pretraining.
    """
    batch = settings.get("cached_batch_size") or settings["train_batch_size"]
    return chance_value(settings_of.section_from(settings_of.Loss, settings), batch)


def warnings(history, settings, num_train):
    """[(step, sentence)] of what was wrong while the run trained, by step.

    Args:
        history: of `read_history`.
        settings: {setting name: value} of the pretraining.
        num_train: training images, 0 if unknown.
    """
    batch = settings["train_batch_size"]
    warmup = warmup_steps(num_train, settings["warmup_epochs"], batch)
    batch = settings.get("cached_batch_size") or settings.get("train_batch_size", 512)
    watch = HealthWatch(chance_of(settings), warmup, batch, weaken=weaken_words(settings))
    needed = ("loss", "positive_similarity", "negative_similarity", "alignment", "uniformity")
    found = []
    skipped = 0
    for logs in history:
        if all(_is_number(logs.get(name)) for name in needed):
            found += [(logs["step"], words) for words in watch.new_symptoms(logs["step"], logs)]
        count = logs.get("non_finite_steps")
        if _is_number(count) and count > 0:
            if not skipped:
                found.append((logs["step"], "a step had a loss or gradients that are NaN or infinite, and was skipped."))  # fmt: skip
            skipped += count
    return found
