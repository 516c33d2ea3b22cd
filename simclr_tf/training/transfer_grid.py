"""The training grids of the transfer suite: one row per run, resumable (paper appendix B.8)."""

import csv
import dataclasses
import io
import logging

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.errors import DivergedError, SettingsError
from simclr_tf.evaluation import transfer_data, transfer_linear
from simclr_tf.evaluation.results import confusion_csv, csv_text
from simclr_tf.files import write_atomically
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_array, read_json, write_array, write_json
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf
from simclr_tf.training import starting
from simclr_tf.training.supervised import Job, fine_tune

_LOG = logging.getLogger(__name__)

PAPER_GRIDS = {
    "grid_learning_rates": np.logspace(-4, -1, 7),
    "grid_weight_decays": (*np.logspace(-6, -3, 7), 0.0),
    "random_learning_rates": np.logspace(-3, 0, 7),
    "random_weight_decays": np.logspace(-5, -1.5, 8),
}
COLUMNS = ("learning_rate", "weight_decay", "value")


@dataclasses.dataclass(frozen=True)
class Start:
    """What every run of a grid starts from.

    Attributes:
        checkpoint: whose weights are fine-tuned, "" for random ones.
        settings: {name: value} of the pretraining: architecture, crop and flip.
        random: whether the grid and the length are those for random weights.
    """

    checkpoint: str
    settings: dict
    random: bool = False


def grid_of(config, random=False):
    """[(learning rate, weight decay)] of the settings of a grid: grid_... or random_..."""
    kind = "random" if random else "grid"
    rates, decays = (_numbers(config, f"{kind}_{name}") for name in ("learning_rates", "weight_decays"))  # fmt: skip
    return [(rate, decay) for rate in rates for decay in decays]


def _numbers(config, name):
    text = getattr(config.transfer, name)
    found = settings_of.number_list(name, text) if text != "paper" else PAPER_GRIDS[name]
    if not len(found) or (0.0 in found and name.endswith("rates")):
        word = "contains 0" if len(found) else "is empty"
        raise SettingsError(f"{name} {word}; give paper, or numbers such as 0.001,0.01.")
    return [float(number) for number in found]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Attributes: config.Transfer, the Start, the strategy, transfer_data.TransferData, and the
    RunFolder of this grid on this data set."""

    config: settings_of.Transfer
    start: Start
    strategy: tf.distribute.Strategy
    data: transfer_data.TransferData
    folder: RunFolder

    def run(self):
        """Trains with every cell of the grid, then with the best one on all training images.

        Runs whose row stands in grid.csv are not repeated; a run that was cut short resumes from
        its checkpoint.

        Returns:
            figures of `transfer_linear.figures`, with "learning_rate" and "weight_decay"; `hits`
            then has what the permutation test needs.
        """
        rows = self._read()
        path = self.folder.join("grid.csv")
        kept, out = transfer_data.parts(self.data)
        for rate, decay in grid_of(self.config, self.start.random):
            if (rate, decay) in rows:
                continue
            where = self.folder.join(f"lr{rate:.3g}_wd{decay:.3g}")
            found = self._cell(rate, decay, kept, out, where)
            rows[rate, decay] = self._figures(found)["value"]
            write_atomically(path, csv_text(COLUMNS, ([*cell, rows[cell]] for cell in rows)))
            tf.io.gfile.rmtree(where)
        rate, decay = max(rows, key=rows.get)
        final = self.folder.join("finetune.json")
        if not tf.io.gfile.exists(final):
            where = self.folder.join("best")
            found = self._cell(rate, decay, self.data.train, self.data.test, where)
            self._write_test(found)
            cell = {"learning_rate": rate, "weight_decay": decay}
            write_json(final, {**self._figures(found), **cell})
            tf.io.gfile.rmtree(where)
        return read_json(final)

    def hits(self):
        """float [n]: accuracy of the final run on each test image."""
        return read_array(self.folder.join("hits.npy"))

    def _read(self):
        """{(learning rate, weight decay): value} of grid.csv."""
        path = self.folder.join("grid.csv")
        if not tf.io.gfile.exists(path):
            return {}
        with tf.io.gfile.GFile(path) as file:
            lines = list(csv.DictReader(io.StringIO(file.read())))
        return {tuple(float(line[c]) for c in COLUMNS[:2]): float(line["value"]) for line in lines}

    def _cell(self, rate, decay, labelled, held_out, where):
        """Outcome of one training, None if it diverged."""
        config = self._settings(rate, decay, where)
        with self.strategy.scope():
            encoder, head = self._weights(config)
        tf.io.gfile.makedirs(where)
        origin = "random weights" if self.start.random else self.start.checkpoint
        print(f"{self.data.about.name}, {origin}: learning rate {rate:.3g}, weight decay {decay:.3g}", flush=True)  # fmt: skip
        try:
            job = Job(config, self.strategy, labelled, held_out, RunFolder(where))
            return fine_tune(job, encoder, head)
        except DivergedError as error:
            _LOG.warning("%s", error)
            return None

    def _figures(self, found):
        """The figures of an Outcome; a diverged training is a worse choice than any."""
        if found is None:
            return {"value": 0.0, "interval": [0.0, 0.0]}
        return transfer_linear.figures(self.data.about, found.scores, found.labels)

    def _write_test(self, found):
        """Writes what the test images say beside the figures: hits.npy, confusion_finetune.csv."""
        if found is None:
            write_array(self.folder.join("hits.npy"), np.zeros(self.data.test.num_examples))
            return
        hits = transfer_linear.hits_of(found.scores, found.labels)
        write_array(self.folder.join("hits.npy"), hits)
        table = confusion_csv(found.scores, found.labels, self.data.test.class_names)
        write_atomically(self.folder.join("confusion_finetune.csv"), table)

    def _weights(self, config):
        """(encoder, head) that a run starts from; call it in the strategy's scope."""
        if self.start.random:
            return starting.random_parts(config)
        consent = {"encoder": self.start.settings.get("encoder", "")}  # asked for at the start
        fresh = restore.load_trained(self.start.checkpoint, consent)
        return fresh.encoder, fresh.head or starting.no_head(fresh.encoder)

    def _settings(self, rate, decay, where):
        """config.Finetune of one run: steps of 256 images with the paper's rules."""
        settings = self.start.settings
        transfer = self.config.transfer
        steps = transfer.random_train_steps if self.start.random else transfer.train_steps
        names = starting.KEPT_VIEWS.union(settings_of.setting_names(settings_of.Model))
        values = {name: settings[name] for name in names if name in settings}
        values.update({name: getattr(self.config.run, name) for name in ("seed", "precision")})
        return settings_of.build(
            settings_of.Finetune,
            {
                **values,
                "image_size": self.config.data.image_size,
                "checkpoint": self.start.checkpoint,
                "model_dir": where,
                "optimizer": "momentum",
                "learning_rate": rate,
                "learning_rate_scaling": "none",
                "weight_decay": decay / rate,  # the paper divides its grid by the learning rate
                "train_batch_size": transfer.train_batch_size,
                "train_steps": steps,
                "checkpoint_steps": max(1, steps // 10),
                "keep_checkpoint_max": 1,
                "eval_batch_size": transfer.eval_batch_size,
            },
        )
