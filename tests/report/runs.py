"""Run folders for the tests of pages: tiny encoders, handwritten curves, names that are hostile."""

import json
import os

import numpy as np

from simclr_tf.evaluation.predictions import predictions_csv
from simclr_tf.evaluation.results import confusion_csv
from tests.tiny_run import images_in_folders, save_tiny_run

CLASSES = ("<img src=x onerror=alert(1)>", "</script>&amp;", 'ring "round"')
HELD_OUT = 5  # of each class


def metrics_text(lines=40, seed=0, stuck=False):
    """metrics.jsonl of a run that learns, or of one whose loss stays at its chance value."""
    rng = np.random.default_rng(seed)
    text = []
    for number in range(1, lines + 1):
        loss = 4.84 if stuck else 2 + 2 / number
        logs = {
            "step": 10 * number,
            "loss": loss + 0.005 * rng.random(),
            "contrastive_accuracy": number / 100,
            "positive_similarity": 0.8,
            "negative_similarity": 0.1,
            "alignment": 0.4,
            "uniformity": -2.5,
            "effective_rank": 12.0,
            "learning_rate": 0.1 / number,
            "probe_top_1": None if number == 3 else number / 50,
            "non_finite_steps": 0.0,
        }
        text.append(json.dumps(logs))
    return "\n".join(text) + "\n"


def labelled_run(folder, seed=0, wrong=3):
    """A run on 3 classes with a linear evaluation that has `wrong` images wrong."""
    pictures = folder / "pictures"
    if not pictures.exists():
        images_in_folders(pictures / "train", {name.replace("/", "-"): 12 for name in CLASSES})
        images_in_folders(pictures / "test", {name.replace("/", "-"): HELD_OUT for name in CLASSES})
    place = folder / f"seed{seed}"
    changes = {"seed": seed, "temperature": 0.1 * (seed + 1), "train_batch_size": 64}
    run_dir = save_tiny_run(place, image_dir=str(pictures), **changes)
    with open(os.path.join(run_dir, "metrics.jsonl"), "w") as file:
        file.write(metrics_text(seed=seed))
    write_evaluation(run_dir, wrong)
    return run_dir


def unlabelled_run(folder):
    """A run on images without labels, one of which could not be used; it is being written."""
    images_in_folders(folder / "flat", {"": 30})
    run_dir = save_tiny_run(folder, image_dir=str(folder / "flat"), train_batch_size=64)
    with open(os.path.join(run_dir, "metrics.jsonl"), "w") as file:
        file.write(metrics_text(stuck=True) + '{"step": 410, "lo')
    with open(os.path.join(run_dir, "quarantine.txt"), "w") as file:
        file.write("flat/<b>bad</b>.png\tis cut short\n")
    return run_dir


def write_evaluation(run_dir, wrong):
    """linear_eval/ of 15 images, the first `wrong` of which are taken for the next class."""
    labels = np.repeat(np.arange(3), HELD_OUT)
    predicted = np.where(np.arange(15) < wrong, (labels + 1) % 3, labels)
    scores = np.eye(3)[predicted]
    figures = {"top_1": 1 - wrong / 15, "top_1_interval": [0.5, 1.0]}
    results = {
        "mode": "linear_eval", "step": 7, "num_train": 36, "num_eval": 15, "num_classes": 3,
        "linear_form": "fast", "baselines": {}, "few_shot": {"1": 0.5},
        "few_shot_interval": {"1": [0.4, 0.6]}, **figures,
        "top_5": 1.0, "top_5_interval": [0.8, 1.0],
        "mean_per_class": 0.8, "mean_per_class_interval": [0.5, 1.0],
    }  # fmt: skip
    folder = os.path.join(run_dir, "linear_eval")
    os.makedirs(folder, exist_ok=True)
    for name, text in (
        ("results.json", json.dumps(results)),
        ("confusion.csv", confusion_csv(scores, labels, CLASSES)),
        (
            "predictions.csv",
            predictions_csv(scores, labels, np.arange(15), lambda i: f"=image {i}"),
        ),
    ):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
