"""The runs of a study: which are done, how one is run, what all of them may cost."""

import dataclasses
import gc
import os
import time
from typing import Any, Dict

from simclr_tf import config as settings_of
from simclr_tf.commands import (
    evaluation_run,
    finetune,
    linear_eval,
    pretrain,
    probe,
    transfer,
)
from simclr_tf.data import sources
from simclr_tf.errors import DivergedError
from simclr_tf.files import printed_into
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.stack import keras, tf
from simclr_tf.studies import plan as plans
from simclr_tf.training import length, pretraining
from simclr_tf.training.loop import StepRunner
from simclr_tf.views import channels, multi_crop

_RUNNERS = {
    "pretrain": (settings_of.Pretrain, pretrain.run),
    "finetune": (settings_of.Finetune, finetune.run),
    "linear_eval": (settings_of.LinearEval, linear_eval.run),
    "probe": (settings_of.Probe, probe.run),
    "transfer": (settings_of.Transfer, transfer.run),
}
_MEASURED_STEPS = 5
_MEASURED_PIXELS = 64 * 32 * 32
# multiply-adds of the ResNets of width 1 at 224 pixels in 10^9, from their definition
_COST = {10: 0.9, 18: 1.8, 34: 3.7, 50: 4.1, 101: 7.8, 152: 11.5, 200: 15.0}


@dataclasses.dataclass(frozen=True)
class Task:
    """One run of a study with one seed, and its evaluations.

    Attributes:
        config: config.Study.
        given: names of the settings that the user gave.
        scale: plans.Scale.
        row: plans.Row.
        seed: int.
        folder: the run folder.
    """

    config: settings_of.Study
    given: frozenset
    scale: plans.Scale
    row: plans.Row
    seed: int
    folder: str

    @property
    def settings(self) -> Dict[str, Any]:
        """{setting name: value} of the run."""
        kind = _RUNNERS[self.row.mode][0]
        base = self.scale.pretrain if self.row.mode == "pretrain" else self.scale.supervised
        values = {**base, **self._of_user(kind), **self.row.settings}
        values.update(seed=self.seed, model_dir=self.folder)
        if self.row.mode == "finetune":
            values.update(init="scratch", baselines=False)
        known = settings_of.fields_of(kind)
        return {name: value for name, value in values.items() if name in known}

    def _of_user(self, kind):
        """The settings of images and devices that the user gave."""
        known = settings_of.fields_of(kind)
        values = settings_of.flatten(self.config)
        left_out = {"seed", "model_dir", "dry_run"}
        return {n: values[n] for n in self.given if n in known and n not in left_out}

    @property
    def asked(self):
        """What row.json says of a finished task, so that another one does not pass for it."""
        cells = [[*place, m.mode, *m.keys, str(sorted(m.settings.items()))] for place, m in self.row.cells.items()]  # fmt: skip
        settings = {n: v for n, v in self.settings.items() if n != "model_dir"}
        return {"settings": settings, "cells": cells, "evaluation": str(self.scale.evaluation)}

    def stored(self):
        """The content of row.json of this task, None if it is not done."""
        path = os.path.join(self.folder, "row.json")
        if not self.config.run.model_dir or not tf.io.gfile.exists(path):
            return None
        content = read_json(path)
        return content if content["asked"] == self.asked else None

    def is_done(self):
        """Whether the run and all its evaluations are finished."""
        return self.stored() is not None

    def run(self):
        """Runs what is left; returns the content of row.json."""
        began = time.monotonic()
        worked = time.process_time()
        content = {"asked": self.asked, "values": [], "failed": ""}
        tf.io.gfile.makedirs(os.path.dirname(self.folder))
        with printed_into(f"{self.folder}.log"):  # the progress lines too
            try:
                content["values"] = [[*place, value] for place, value in self._measured().items()]
            except DivergedError as error:
                content["failed"] = str(error)
        content["seconds"] = round(time.monotonic() - began, 2)
        content["cpu_seconds"] = round(time.process_time() - worked, 2)
        tf.io.gfile.makedirs(self.folder)
        write_json(os.path.join(self.folder, "row.json"), content)
        keras.backend.clear_session()
        gc.collect()
        return content

    def _measured(self):
        """{place: value}, shares in per cent."""
        own = self._call(self.row.mode, self.settings, "results.json")
        found = {}
        for place, measure in self.row.cells.items():
            results = own
            if measure.mode:
                results = self._evaluated(measure)
            for key in measure.keys:
                results = results[key]
            found[place] = float(results) * (100.0 if measure.percent else 1.0)
        return found

    def _evaluated(self, measure):
        """The results of an evaluation of this run."""
        kind = _RUNNERS[measure.mode][0]
        name = "_".join([measure.mode, *(f"{n}-{v}" for n, v in measure.settings.items())])
        values = {**self.scale.evaluation.get(measure.mode, {}), **measure.settings}
        values.update(checkpoint=self.folder, model_dir=os.path.join(self.folder, name))
        devices = {n: v for n, v in self._of_user(kind).items() if n in _DEVICES}
        return self._call(
            measure.mode, {**values, **devices, "seed": self.seed}, f"{name}/results.json"
        )

    def _call(self, mode, values, results):
        """Runs a mode unless its results are there; returns them."""
        path = os.path.join(self.folder, results)
        kind, runner = _RUNNERS[mode]
        if not tf.io.gfile.exists(path):
            runner(settings_of.build(kind, values), frozenset(values))
        return read_json(path)


_DEVICES = frozenset(settings_of.setting_names(settings_of.Run)) - {"seed", "model_dir", "dry_run"}


class Work:
    """A study with its tasks.

    Args:
        config: config.Study.
        given: names of the settings that the user gave.
        scale: plans.Scale.
        study: plans.Study.
    """

    def __init__(self, config, given, scale, study):
        self.config = config
        self.scale = scale
        self.study = study
        self.plan = study.make(scale)
        folder = os.path.join(config.run.model_dir, study.name)
        seeds = range(config.run.seed, config.run.seed + config.study.seeds)
        self.tasks = [
            Task(config, given, scale, row, seed, os.path.join(folder, row.name, f"seed{seed}"))
            for seed in seeds
            for row in self.plan.rows
        ]

    def run_share(self, index, count):
        """Runs the tasks of a shard that are not done, one after the other."""
        share = self.tasks[index::count]
        todo = [task for task in share if not task.is_done()]
        began = time.monotonic()
        for number, task in enumerate(todo, start=1):
            content = evaluation_run.releases(task.run)()
            name = f"{self.study.name} {number}/{len(todo)}: {task.row.name}, seed {task.seed}"
            left = (time.monotonic() - began) / number * (len(todo) - number)
            figures = content["failed"] or ", ".join(
                f"{' '.join(place)} {value:.1f}" for *place, value in content["values"]
            )
            words = f"{name}: {figures} ({content['seconds']:.0f} s"
            print(
                words + (f", about {left / 60:.0f} min left)" if todo[number:] else ")"), flush=True
            )

    def values(self):
        """({place: {seed: value}}, {row: why it has no figures}) of what is done."""
        found = {place: {} for place in self.plan.places}
        failed = {}
        for task in self.tasks:
            content = task.stored()
            if content is None:
                continue
            for *place, value in content["values"]:
                found[tuple(place)][task.seed] = value
            if content["failed"]:
                failed[f"{task.row.name}, seed {task.seed}"] = content["failed"]
        return ({} if not any(found.values()) else found), failed


def estimate(config, scale, tasks, num_train):
    """What the tasks may cost, from a measured step of the scale's own network, as text.

    Args:
        config: config.Study; scale: plans.Scale.
        tasks: list of Task.
        num_train: training images.
    """
    if not tasks:
        return "estimate: nothing is left to do"
    values = {**scale.pretrain, "seed": config.run.seed}
    values.update(tasks[0]._of_user(settings_of.Pretrain))
    base = settings_of.build(settings_of.Pretrain, values)
    first, step, batch = measure_step(base)
    measured = dataclasses.replace(base.training, train_batch_size=batch)
    base = dataclasses.replace(base, training=measured)
    total = 0.0
    for task in tasks:
        kind = _RUNNERS[task.row.mode][0]
        one = settings_of.build(kind, {**task.settings, "model_dir": ""})
        steps = one.training.train_steps or -(-num_train * one.training.train_epochs // one.training.train_batch_size)  # fmt: skip
        views = one.training.num_views if task.row.mode == "pretrain" else 1
        total += first + steps * step * _relative_cost(one, views) / _relative_cost(base, base.training.num_views)  # fmt: skip
    share = total / (config.study.part[1] * config.study.processes)
    return (
        f"estimate: {len(tasks)} runs, {_hours(total)} of this machine by a measured step of "
        f"{1000 * step:.3g} ms and {first:.0f} s before it; {_hours(share)} for each process of each "
        "share. Evaluations come on top."
    )


def _relative_cost(config, views):
    depth = _COST.get(config.model.resnet_depth, 4.1)
    pixels = config.data.image_size**2
    return (
        depth * config.model.width_multiplier**2 * pixels * config.training.train_batch_size * views
    )


def _hours(seconds):
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def measure_step(config):
    """(seconds until the first step is done, seconds of a step, its images) of a config.Pretrain.

    The batch is small enough for any machine.
    """
    info = sources.describe(config.data)
    config = channels.adopt(config, frozenset(), info)
    most = max(2, _MEASURED_PIXELS // config.data.image_size**2)
    batch = min(config.training.train_batch_size, info.num_train, most)
    training = dataclasses.replace(config.training, train_batch_size=batch, train_steps=100)
    optimizer = dataclasses.replace(config.optimizer, warmup_epochs=0.0)
    config = dataclasses.replace(config, training=training, optimizer=optimizer)
    began = time.monotonic()
    source = sources.open_source(config.data, "train", config.run.seed)
    steps = length.resolve_steps(config.training, config.optimizer, info.num_train)
    model = pretraining.build_model(config, 0, steps)
    batches = multi_crop.batches(source, config, config.training.num_views, batch, 0)
    runner = StepRunner(model, tf.distribute.get_strategy(), batches, config.training.jit_compile)
    runner.run(1)
    runner.take_metrics(1)
    first = time.monotonic() - began
    began = time.monotonic()
    for _ in range(_MEASURED_STEPS):
        runner.run(1)
    runner.take_metrics(2)
    return first, (time.monotonic() - began) / _MEASURED_STEPS, batch
