"""The fine-tuning grid of the transfer suite: one row per run, resumable (PAPER.md 3.3)."""

import csv
import dataclasses
import io

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.errors import DivergedError, SettingsError
from simclr_tf.stack import tf
from simclr_tf.training import finetune_start, restore, transfer_data, transfer_linear
from simclr_tf.training.finetune_job import Job, fine_tune
from simclr_tf.training.run_folder import RunFolder, read_json, write_atomically, write_json

PAPER_RATES = tuple(np.logspace(-4, -1, 7))
PAPER_DECAYS = (*np.logspace(-6, -3, 7), 0.0)
COLUMNS = ("learning_rate", "weight_decay", "value")


def grid_of(config):
    """[(learning rate, weight decay)] of `--grid_learning_rates` and `--grid_weight_decays`."""
    rates = _numbers(config, "grid_learning_rates", PAPER_RATES)
    decays = _numbers(config, "grid_weight_decays", PAPER_DECAYS)
    return [(rate, decay) for rate in rates for decay in decays]


def _numbers(config, name, paper):
    text = getattr(config.transfer, name)
    found = settings_of.number_list(name, text) if text != "paper" else paper
    if not found:
        raise SettingsError(f"{name} is empty; give paper, or numbers such as 0.001,0.01.")
    return [float(number) for number in found]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Attributes: config.Transfer, restore.Trained (for its settings), the strategy,
    transfer_data.TransferData, and the RunFolder of this data set."""

    config: settings_of.Transfer
    trained: restore.Trained
    strategy: tf.distribute.Strategy
    data: transfer_data.TransferData
    folder: RunFolder

    def run(self):
        """Fine-tunes with every cell of the grid, then with the best one on all training images.

        Runs whose row stands in grid.csv are not repeated; a run that was cut short resumes from
        its checkpoint.

        Returns:
            figures of `transfer_linear.figures`, with "learning_rate" and "weight_decay".
        """
        rows, path = self._read(), self.folder.join("grid.csv")
        kept, out = transfer_data.parts(self.data)
        for rate, decay in grid_of(self.config):
            if (rate, decay) in rows:
                continue
            where = self.folder.join(f"lr{rate:.3g}_wd{decay:.3g}")
            rows[rate, decay] = self._cell(rate, decay, kept, out, where)["value"]
            write_atomically(path, _csv(rows))
            tf.io.gfile.rmtree(where)
        rate, decay = max(rows, key=rows.get)
        final = self.folder.join("finetune.json")
        if not tf.io.gfile.exists(final):
            where = self.folder.join("best")
            figures = self._cell(rate, decay, self.data.train, self.data.test, where)
            write_json(final, {**figures, "learning_rate": rate, "weight_decay": decay})
            tf.io.gfile.rmtree(where)
        return read_json(final)

    def _read(self):
        """{(learning rate, weight decay): value} of grid.csv."""
        path = self.folder.join("grid.csv")
        if not tf.io.gfile.exists(path):
            return {}
        with tf.io.gfile.GFile(path) as file:
            lines = list(csv.DictReader(io.StringIO(file.read())))
        return {tuple(float(line[c]) for c in COLUMNS[:2]): float(line["value"]) for line in lines}

    def _cell(self, rate, decay, labelled, held_out, where):
        """Figures of one fine-tuning; 0 where it diverged, as it is a worse choice than any."""
        config = self._settings(rate, decay, where)
        with self.strategy.scope():
            fresh = restore.load_trained(self.config.source.checkpoint)
            head = fresh.head or finetune_start.no_head(fresh.encoder)
        tf.io.gfile.makedirs(where)
        print(f"{self.data.about.name}: learning rate {rate:.3g}, weight decay {decay:.3g}", flush=True)  # fmt: skip
        try:
            job = Job(config, self.strategy, labelled, held_out, RunFolder(where))
            found = fine_tune(job, fresh.encoder, head)
        except DivergedError as error:
            print(error, flush=True)
            return {"value": 0.0, "interval": [0.0, 0.0]}
        return transfer_linear.figures(self.data, found.scores, found.labels)

    def _settings(self, rate, decay, where):
        """config.Finetune of one run: 20,000 steps of 256 with the paper's rules."""
        settings, transfer = self.trained.settings, self.config.transfer
        names = {field.name for field in dataclasses.fields(settings_of.Model)}
        names |= finetune_start.KEPT_VIEWS
        values = {name: settings[name] for name in names if name in settings}
        values.update({name: getattr(self.config.run, name) for name in ("seed", "precision")})
        return settings_of.build(
            settings_of.Finetune,
            {
                **values,
                "image_size": self.config.data.image_size,
                "checkpoint": self.config.source.checkpoint,
                "model_dir": where,
                "optimizer": "momentum",
                "learning_rate": rate,
                "learning_rate_scaling": "none",
                "weight_decay": decay / rate,  # the paper divides its grid by the learning rate
                "train_batch_size": transfer.train_batch_size,
                "train_steps": transfer.train_steps,
                "checkpoint_steps": max(1, transfer.train_steps // 10),
                "keep_checkpoint_max": 1,
                "eval_batch_size": transfer.eval_batch_size,
            },
        )


def _csv(rows):
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*map(repr, cell), repr(value)] for cell, value in rows.items())
    return content.getvalue()
