"""Which figure without labels orders short trainings as labelled few-shot accuracy does?

    python -m benchmarks.criteria --output=criteria --folders=photos,icons,digits

Each folder holds one folder per class; the word digits stands for scikit-learn's digits. Every
setting of `SETTINGS` is trained briefly on every data set, from the same initial weights, in one
process and on one core. Each trial is a run folder in the output, and a line of rows.jsonl. The
same command goes on after a stop; without folders it only prints the tables: for each data set,
Spearman's rank correlation of each figure with the mean of the accuracies with 1, 5 and 10 labels
per class, what each figure would have chosen, and the accuracy of each setting.
"""

import argparse
import glob
import json
import os
import shutil
import time

import numpy as np

from benchmarks import timing

STEPS = 150
BASE = {
    "image_size": 24,
    "resnet_depth": 10,
    "width_multiplier": 0.25,
    "stem": "strided",
    "proj_out_dim": 64,
    "train_batch_size": 64,
    "train_steps": STEPS,
    "optimizer": "adam",
    "learning_rate": 0.003,
    "learning_rate_scaling": "none",
    "temperature": 0.2,
    "objective": "paper",
    "aug_impl": "torchvision",
    "crop_area_min": 0.25,
    "color_jitter_strength": 0.25,
    "grayscale_prob": 0.0,
    "use_blur": False,
    "log_steps": 50,
}
_TURNED = {"flip": False, "rotate_degrees": 10.0, "shear": 0.1}
SETTINGS = {
    "base": {},
    "paper": {"crop_area_min": 0.08, "color_jitter_strength": 1.0, "grayscale_prob": 0.2, "use_blur": True},
    "crop 0.45, turned": {"crop_area_min": 0.45, **_TURNED},
    "colour 0": {"color_jitter_strength": 0.0},
    "crop 0.65": {"crop_area_min": 0.65},
    "temperature 0.5": {"temperature": 0.5},
    "crop 0.45, colour 0": {"crop_area_min": 0.45, "color_jitter_strength": 0.0},
    "colour 0.5": {"color_jitter_strength": 0.5},
    "turned": _TURNED,
    "crop 0.08": {"crop_area_min": 0.08},
    "grayscale": {"grayscale_prob": 0.2},
    "crop 0.9, colour 0, no flip": {"crop_area_min": 0.9, "color_jitter_strength": 0.0, "flip": False},
    "temperature 0.1": {"temperature": 0.1},
    "crop 0.65, colour 0.1, turned": {"crop_area_min": 0.65, "color_jitter_strength": 0.1, **_TURNED},
    "colour 1": {"color_jitter_strength": 1.0},
    "no flip": {"flip": False},
    "crop 0.45": {"crop_area_min": 0.45},
    "blur": {"use_blur": True},
    "brightness only": {"color_jitter_strength": 0.5, "saturation": 0.0, "hue": 0.0},
    "crop 0.9": {"crop_area_min": 0.9},
    "turned more": {"flip": False, "rotate_degrees": 25.0, "shear": 0.2},
    "crop 0.45, colour 0.1": {"crop_area_min": 0.45, "color_jitter_strength": 0.1},
}  # fmt: skip
SHOTS = (1, 5, 10)
SIDE = 48


def name_of(folder):
    """What a data set is called in the output."""
    return os.path.basename(os.path.normpath(folder))


def open_set(folder):
    """(TrialImages, labels int [n], evaluation images float32, their labels) of a data set."""
    from simclr_tf import config
    from simclr_tf.data import sources, stored
    from simclr_tf.training.trials import TrialImages

    data = config.Data(dataset="digits") if folder == "digits" else config.Data(image_dir=folder)
    train, held_out = (stored.stored(sources.open_source(data, part), SIDE) for part in ("train", "eval"))  # fmt: skip
    images = TrialImages(train, sources.describe(data).identity)
    return images, arrays_of((train, held_out), BASE["image_size"])


def arrays_of(parts, size):
    """[images, labels, images, labels] of the training and the held out source, for evaluation."""
    from simclr_tf.views.batches import eval_batches

    found = []
    for source in parts:
        batches = list(eval_batches(source, size, 128))
        found += [np.concatenate([one[name].numpy() for one in batches]) for name in ("images", "label")]  # fmt: skip
    return found


def with_few_labels(embed, arrays, draws):
    """{"few_shot_K": accuracy} of an encoder; arrays: of `arrays_of`."""
    from simclr_tf.evaluation.few_shot import few_shot

    x, y, held_x, held_y = arrays
    found = few_shot((embed(x), y), (embed(held_x), held_y), shots=SHOTS, draws=draws)["few_shot"]
    return {f"few_shot_{shots}": value for shots, value in found.items()}


def measure(folders, output):
    """Trains what is missing, every setting on all data sets before the next."""
    from simclr_tf import config
    from simclr_tf.distribution.workers import WorkerGroup
    from simclr_tf.stack import tf
    from simclr_tf.training.trials import ALWAYS, Workshop

    done = {(row["set"], row["setting"]) for row in rows_of(output)}
    workshop = Workshop(WorkerGroup(tf.distribute.get_strategy()))
    opened = {}
    for setting, changes in SETTINGS.items():
        for folder in folders:
            name = name_of(folder)
            if (name, setting) in done:
                continue
            if folder not in opened:
                opened[folder] = open_set(folder)
            images, arrays = opened[folder]
            warmup = 0.05 * STEPS * BASE["train_batch_size"] / images.source.num_examples
            place = {"dataset": "digits"} if folder == "digits" else {"image_dir": folder}
            run = os.path.join(output, name, setting.replace(" ", "_").replace(",", ""))
            values = {
                **BASE,
                **ALWAYS,
                **changes,
                **place,
                "warmup_epochs": warmup,
                "model_dir": run,
            }
            shutil.rmtree(run, ignore_errors=True)
            began = time.process_time()

            trained = config.build(config.Pretrain, values)

            def figures(embed, trained=trained, images=images, arrays=arrays):
                labelled = with_few_labels(embed, arrays, draws=3)
                return {**workshop.judge(trained, images, embed), **labelled}

            trial = workshop.train(trained, images, run, figures)
            row = {
                "set": name,
                "setting": setting,
                "cpu": round(time.process_time() - began, 1),
                **trial,
            }
            add_row(output, "rows.jsonl", row)
            shutil.rmtree(os.path.join(run, "checkpoints"), ignore_errors=True)
            print(name, setting, row["cpu"], flush=True)


def add_row(output, name, row):
    """Writes a row behind those of a file of the output."""
    with open(os.path.join(output, name), "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def rows_of(output):
    """The rows written so far, of all files rows*.jsonl."""
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(output), "rows*.jsonl"))):
        with open(path, encoding="utf-8") as file:
            found += [json.loads(line) for line in file]
    return found


CRITERIA = {
    "contrastive accuracy": lambda f: f["contrastive_accuracy"],
    "low loss": lambda f: -f["loss"],
    "rotation probe": lambda f: f["rotation"],
    "RankMe": lambda f: f["rank_me"],
    "LiDAR, views of the trial": lambda f: f["lidar_own"],
    "LiDAR, fixed views": lambda f: f["lidar_fixed"],
    "retrieval, views of the trial": lambda f: f["retrieval_own"],
    "retrieval, fixed views": lambda f: f["retrieval_fixed"],
    "uniformity": lambda f: -f["uniformity"],
    "alignment": lambda f: -f["alignment"],
}
"""{criterion: function of the figures of a trial; higher is better}."""


def accuracy(figures):
    """The mean of the accuracies with few labels."""
    return float(np.mean([v for name, v in figures.items() if name.startswith("few_shot_")]))


def print_tables(rows):
    """Rank correlations of the criteria, and the accuracy of what each would have chosen."""
    from scipy.stats import spearmanr

    from simclr_tf.training import tuning

    criteria = {**CRITERIA, "the rule of --mode=tune": lambda f: tuning.score(f, STEPS)}
    sets = sorted({row["set"] for row in rows})
    by_set = {name: [row for row in rows if row["set"] == name] for name in sets}
    truth = {name: [accuracy(row["figures"]) for row in by_set[name]] for name in sets}
    correlations = []
    chosen = []
    for title, criterion in criteria.items():
        scores = {name: [criterion(row["figures"]) for row in by_set[name]] for name in sets}
        found = [float(spearmanr(scores[name], truth[name])[0]) for name in sets]
        correlations.append([title, *(f"{one:+.2f}" for one in found), f"{np.mean(found):+.2f}"])
        best = [truth[name][int(np.argmax(scores[name]))] for name in sets]
        chosen.append([title, *(f"{one:.3f}" for one in best), f"{np.mean(best):.3f}"])
    for title, choose in (("best of all", max), ("mean of all", np.mean), ("base", lambda v: v[0])):
        values = [float(choose(truth[name])) for name in sets]
        chosen.append([title, *(f"{one:.3f}" for one in values), f"{np.mean(values):.3f}"])
    counts = [f"{name} ({len(by_set[name])})" for name in sets]
    print("\nSpearman's rank correlation with the mean accuracy of 1, 5 and 10 labels per class\n")
    timing.print_table(["criterion", *counts, "mean"], correlations)
    print("\nMean accuracy of 1, 5 and 10 labels per class of the setting that each would choose\n")
    timing.print_table(["criterion", *counts, "mean"], chosen)
    by_setting = {(row["set"], row["setting"]): accuracy(row["figures"]) for row in rows}
    table = []
    for setting in SETTINGS:
        found = [by_setting[name, setting] for name in sets if (name, setting) in by_setting]
        if len(found) == len(sets):
            table.append([setting, *(f"{one:.3f}" for one in found), f"{np.mean(found):.3f}"])
    print("\nMean accuracy of 1, 5 and 10 labels per class of each setting\n")
    timing.print_table(["setting", *sets, "mean"], table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folders", default="", help="folders of images, or digits, by commas")
    parser.add_argument("--output", required=True, help="folder of the trials and of rows.jsonl")
    options = parser.parse_args()
    os.makedirs(options.output, exist_ok=True)
    if options.folders:
        os.environ.update(timing.ONE_THREAD)
        measure(options.folders.split(","), options.output)
    print_tables(rows_of(options.output))


if __name__ == "__main__":
    main()
