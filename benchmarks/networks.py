"""Which network learns most from a folder in a given number of CPU seconds?

    python -m benchmarks.networks --output=networks --folders=emoji,letters --seconds=60,120

Each folder holds one folder per class. Views, optimizer and all else are what `--preset=auto` chooses
for it; each entry of `NETWORKS` changes one thing. The CPU time of a step is measured first, of every
network in turns, and kept in costs.json; it gives the number of steps. Then each network is trained
on each folder, in one process on one core. Each training is a run folder in the output, and a line of
rows-PART.jsonl. The same command goes on after a stop. `--part=0/2` does every second training, for
two processes side by side (measure the costs before, with `--seconds=0`). Without folders it only
prints the tables.
"""

import argparse
import json
import os
import shutil

import numpy as np

from benchmarks import timing
from benchmarks.criteria import accuracy, add_row, arrays_of, name_of, rows_of, with_few_labels

NETWORKS = {
    "auto": {},
    "half the width": {"width_multiplier": 0.125},
    "twice the width": {"width_multiplier": 0.5},
    "ResNet-18": {"resnet_depth": 18},
    "24 pixels": {"image_size": 24},
    "48 pixels": {"image_size": 48},
    "small stem, half the width": {"stem": "small", "width_multiplier": 0.125},
    "MobileNetV3Small": {"encoder": "applications:MobileNetV3Small"},
    "batch 32": {"train_batch_size": 32},
    "batch 128": {"train_batch_size": 128},
    "decoupled loss": {"loss": "decoupled"},
    "averaged weights": {"ema_momentum": 0.99},
    "2 local views": {"local_views": 2, "local_size": 16},
    "projection of 128": {"proj_out_dim": 128},
}
"""{name: {setting: value}}: what is changed of what `auto` chooses."""
_WARM = 5
_STEPS = 20
_ROUNDS = 5


class Folder:
    """A folder of images, what `auto` chooses for it, and its evaluation images.

    Args:
        path: of the folder.
        seed: of the images that are held out.
    """

    def __init__(self, path, seed):
        from simclr_tf import config
        from simclr_tf.data import sources, stored
        from simclr_tf.training.trials import TrialImages

        self.name = name_of(path)
        self.data = config.Data(image_dir=path)
        self._parts = [
            stored.stored(sources.open_source(self.data, part, seed), 64)
            for part in ("train", "eval")
        ]
        self.images = TrialImages(self._parts[0], sources.describe(self.data).identity, seed)
        self._read = {}

    def chosen(self, minutes):
        """{setting: value} that a look chooses for so many minutes of one core."""
        from simclr_tf import config
        from simclr_tf.training import auto

        cores = auto.machine_of(config.Pretrain()).cores
        start = config.build(
            config.Pretrain,
            {"image_dir": self.data.image_dir, "budget_minutes": minutes / cores, "auto": True},
        )
        return config.flatten(auto.look(start, frozenset(), self.images.source)[0])

    def evaluation(self, size):
        """`arrays_of` its parts at a size."""
        if size not in self._read:
            self._read[size] = arrays_of(self._parts, size)
        return self._read[size]


def settings(folder, network, seconds, steps, seed, run):
    """config.Pretrain of a training."""
    from simclr_tf import config
    from simclr_tf.training import auto
    from simclr_tf.training.trials import ALWAYS

    values = {
        **folder.chosen(seconds / 60),
        **{name: value for name, value in ALWAYS.items() if name != "augment_on"},
        **NETWORKS[network],
        "auto": False,
        "store_side": 0,
        "train_steps": steps,
        "log_steps": max(1, steps // 10),
        "seed": seed,
        "model_dir": run,
    }
    count = folder.images.source.num_examples
    values["warmup_epochs"] = auto.warmup_epochs(steps, values["train_batch_size"], count)
    return config.build(config.Pretrain, values)


def measure_costs(paths, output, names):
    """{folder: {network: CPU seconds of a step}}, medians of rounds in turns; kept in costs.json."""
    from simclr_tf.stack import tf
    from simclr_tf.training import length, pretraining
    from simclr_tf.training.loop import StepRunner
    from simclr_tf.views import multi_crop

    place = os.path.join(output, "costs.json")
    costs = {}
    if os.path.exists(place):
        with open(place, encoding="utf-8") as file:
            costs = json.load(file)
    for path in paths:
        folder = Folder(path, 0)
        found = costs.setdefault(folder.name, {})
        runners = {}
        for network in names:
            if network in found:
                continue
            config = settings(folder, network, 120, 1000, 0, os.path.join(output, "none"))
            strategy = tf.distribute.get_strategy()
            model = pretraining.build_model(config, 0, length.Steps(1000, 0, 30, 1, 1, 1e-3))
            batch = config.training.global_batch_size
            batches = multi_crop.batches(folder.images.source, config, config.training.num_views, batch)  # fmt: skip
            runner = StepRunner(model, strategy, batches, config.training.jit_compile)
            runner.run(_WARM)
            runners[network] = (runner, model)
        times = {network: [] for network in runners}
        for _ in range(_ROUNDS):
            for network, (runner, model) in runners.items():

                def steps(runner=runner, model=model):
                    runner.run(_STEPS)
                    float(model.running["loss"].result())

                times[network] += timing.cpu_seconds(steps, 1)
        for network, each in times.items():
            found[network] = float(np.median(each)) / _STEPS
            print(f"{folder.name}, {network}: {found[network] * 1000:.1f} ms a step", flush=True)
        with open(place, "w", encoding="utf-8") as file:
            json.dump(costs, file, indent=1)
    return costs


def measure(paths, output, names, budgets, seeds, part, costs):
    """Trains what is missing of this part."""
    from simclr_tf.distribution.workers import WorkerGroup
    from simclr_tf.stack import tf
    from simclr_tf.training.trials import Workshop

    done = {key_of(row) for row in rows_of(output)}
    which, parts = (int(one) for one in part.split("/"))
    wanted = [
        (seconds, seed, network, path)
        for seconds in budgets
        for seed in seeds
        for network in names
        for path in paths
    ]
    opened = {}
    for seconds, seed, network, path in wanted[which::parts]:
        if (name_of(path), network, seconds, seed) in done:
            continue
        if (path, seed) not in opened:
            opened[path, seed] = Folder(path, seed)
        folder = opened[path, seed]
        steps = int(seconds / costs[folder.name][network])
        run = os.path.join(output, folder.name, f"{network.replace(' ', '_').replace(',', '')}-{seconds}-{seed}")  # fmt: skip
        shutil.rmtree(run, ignore_errors=True)
        config = settings(folder, network, seconds, steps, seed, run)
        size = config.data.image_size

        def figures(embed, folder=folder, size=size):
            return with_few_labels(embed, folder.evaluation(size), draws=10)

        # a new one each time: views may be part of the step here, and they differ between folders
        workshop = Workshop(WorkerGroup(tf.distribute.get_strategy()), seed)
        trial = workshop.train(config, folder.images, run, figures)
        row = {**trial, "set": folder.name, "network": network, "seconds": seconds, "seed": seed, "steps": steps}  # fmt: skip
        add_row(output, f"rows-{which}.jsonl", row)
        shutil.rmtree(os.path.join(run, "checkpoints"), ignore_errors=True)
        print(folder.name, network, seconds, seed, f"{accuracy(trial['figures']):.3f}", flush=True)


def key_of(row):
    """What a row is of."""
    return row["set"], row["network"], row["seconds"], row["seed"]


def print_tables(rows):
    """For each budget: mean accuracy of each network on each set; then what contrastive accuracy would choose."""
    from scipy.stats import spearmanr

    for seconds in sorted({row["seconds"] for row in rows}):
        mine = [row for row in rows if row["seconds"] == seconds]
        sets = sorted({row["set"] for row in mine})
        table = []
        for network in NETWORKS:
            cells = []
            for name in sets:
                of = [accuracy(row["figures"]) for row in mine if (row["set"], row["network"]) == (name, network)]  # fmt: skip
                cells.append(of)
            if not all(cells):
                continue
            means = [np.mean(one) for one in cells]
            seeds = min(len(one) for one in cells)
            spread = np.mean([np.std(one, ddof=1) for one in cells]) if seeds > 1 else None
            table.append([network, *(f"{one:.3f}" for one in means), f"{np.mean(means):.3f}", str(seeds), "" if spread is None else f"{spread:.3f}"])  # fmt: skip
        print(f"\n{seconds} CPU seconds: mean accuracy of 1, 5 and 10 labels per class\n")
        timing.print_table(["network", *sets, "mean", "seeds", "deviation"], table)
        cells = []
        for name in sets:
            of = [row for row in mine if row["set"] == name and row["seed"] == min(r["seed"] for r in mine)]  # fmt: skip
            found = spearmanr(
                [row["figures"]["contrastive_accuracy"] for row in of],
                [accuracy(row["figures"]) for row in of],
            )[0]
            best = max(of, key=lambda row: row["figures"]["contrastive_accuracy"])
            cells.append(f"{found:+.2f} {best['network']} {accuracy(best['figures']):.3f}")
        print("\nContrastive accuracy: its rank correlation with that, and what it would choose\n")
        timing.print_table(sets, [cells])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folders", default="", help="folders of images by commas")
    parser.add_argument("--output", required=True, help="folder of the trainings and their figures")
    parser.add_argument("--seconds", default="60", help="CPU seconds of the steps, by commas")
    parser.add_argument("--seeds", default="0", help="by commas")
    parser.add_argument("--networks", default=";".join(NETWORKS), help="names by semicolons")
    parser.add_argument("--part", default="0/1", help="every n-th training, from which")
    options = parser.parse_args()
    os.makedirs(options.output, exist_ok=True)
    if options.folders:
        os.environ.update(timing.ONE_THREAD)
        names = options.networks.split(";")
        paths = options.folders.split(",")
        costs = measure_costs(paths, options.output, names)
        budgets = [int(one) for one in options.seconds.split(",") if int(one)]
        seeds = [int(one) for one in options.seeds.split(",")]
        measure(paths, options.output, names, budgets, seeds, options.part, costs)
    print_tables(rows_of(options.output))


if __name__ == "__main__":
    main()
