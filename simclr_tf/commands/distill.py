"""`--mode=distill`: a student learns what a teacher says of images, and is exported."""

import time

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf import phases
from simclr_tf.commands import distill_start, distill_text, evaluation_run
from simclr_tf.commands import export as export_command
from simclr_tf.data import sources, subset
from simclr_tf.data.info import require_labels
from simclr_tf.distribution.strategy import check_compilable, check_divisible
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation.features import extract_features
from simclr_tf.evaluation.metrics import classification_report
from simclr_tf.evaluation.results import confusion_csv
from simclr_tf.evaluation.speed import milliseconds_per_image, size_figures
from simclr_tf.export import conversions, lite
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.runs.run_folder import RunFolder, require_folder
from simclr_tf.stack import tf
from simclr_tf.training import distillation, loggers, supervised
from simclr_tf.views import channels
from simclr_tf.views.batches import eval_batches

LITE_IMAGES = 2000  # held-out images that a .tflite file is measured on


@evaluation_run.releases
def run(config, given=frozenset()):
    """Distils; running it again with the same settings resumes.

    Args:
        config: config.Distill.
        given: names of the settings that the user gave; data and crop settings that are not among
            them come from the teacher, those of the network from --checkpoint or the teacher.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, the data, a checkpoint or the run folder cannot be used, or training
            diverged.
    """
    require_folder(config.run, example="runs/small")
    loggers.check(config.training.loggers)
    formats = conversions.check_formats(config.distillation.export_formats)
    strategy = evaluation_run.make_strategy(config, given, config.distillation.teacher)
    replicas = strategy.num_replicas_in_sync
    check_divisible(config.training.train_batch_size, replicas)
    check_compilable(config.training.jit_compile, strategy, replicas)
    with strategy.scope():
        start = distill_start.find(config, given)
    info = sources.describe(start.config.data)
    channels.check(info, start.config.model)
    config = distill_start.fitted(start.config, given, info.num_train)
    conversions.check_official(formats, settings_of.flatten(config))
    labelled = _check_labels(config, info, start.num_classes)
    supervised.check_profile(config, info.num_train)
    print(distill_text.plan_text(config, start, info, labelled, strategy), flush=True)
    if config.run.dry_run:
        return None
    folder = _claim(config, info, start)
    done = _finished(folder)
    if done is not None:
        print(f"nothing left to do: {folder.path} is finished, see its results.md.")
        print(evaluation_run.next_command(done, folder), flush=True)
        return done
    train = sources.open_source(config.data, "train", config.run.seed)
    train.quarantine.attach(folder.join("quarantine.txt"))
    held_out = None
    if labelled and info.num_eval:
        held_out = sources.open_source(config.data, "eval", config.run.seed)
        held_out.quarantine = train.quarantine
    settings = config.distillation
    share = None
    if labelled:
        share = subset.labelled_subset(train, settings.label_fraction, settings.label_seed)
    teaching = distillation.Teaching(
        config=config,
        strategy=strategy,
        teacher=start.logits,
        num_classes=start.num_classes,
        train=train,
        labelled=share,
        folder=folder,
    )
    with evaluation_run.bad_images_reported(train.quarantine):
        return _Distillation(teaching, start, held_out, formats, given).run()


def _check_labels(config, info, num_classes):
    """Whether the labels of the images count: they may be missing, or be of other classes."""
    labelled = info.num_classes == num_classes
    if labelled and info.num_eval:
        require_labels(info, "--mode=distill")
    if not labelled and config.distillation.distill_label_weight:
        have = f"{info.num_classes} classes" if info.num_classes else "no labels"
        raise SettingsError(
            f"distill_label_weight={config.distillation.distill_label_weight:g} needs labels of the "
            f"teacher's {num_classes} classes, and {info.name} has {have}; leave it out."
        )
    return labelled


def _claim(config, info, start):
    """The run folder, claimed; a resumed run must have the same teacher and the same student."""
    folder = RunFolder(config.run.model_dir)
    free = settings_of.free_settings(type(config))
    # the classifier has the teacher's classes, whatever the images have
    identity = {**info.identity, "num_classes": start.num_classes}
    resumed = folder.claim("distill", settings_of.flatten(config), free, identity)
    if not resumed or not folder.exists("starts.json"):
        write_json(folder.join("starts.json"), start.sha256)
    elif read_json(folder.join("starts.json")) != start.sha256:
        raise SettingsError(
            f"{folder.path} was started with other weights of the teacher "
            f"{config.distillation.teacher} or of the student; give another --model_dir."
        )
    return folder


def _finished(folder):
    """The results of the folder if every file of them is there; else None."""
    if not folder.exists("results.json") or not folder.exists("results.md"):
        return None
    results = read_json(folder.join("results.json"))
    return results if all(map(tf.io.gfile.exists, results["files"].values())) else None


class _Distillation:
    """The work of a claimed folder, from the first step to the table.

    Args:
        teaching: distillation.Teaching.
        start: distill_start.Start.
        held_out: Source of the labelled evaluation images, or None.
        formats: what the student is converted to.
        given: names of the settings that the user gave.
    """

    def __init__(self, teaching, start, held_out, formats, given):
        self.teaching = teaching
        self.config = teaching.config
        self.start = start
        self.held_out = held_out
        self.formats = formats
        self.given = given
        self.shape = [self.config.data.image_size] * 2 + [self.config.model.image_channels]

    def run(self):
        """Trains, exports and measures; returns the results."""
        began = time.monotonic()
        rows = {"teacher": self._row(self._teacher_row, "teacher.json")}
        student, steps, rate = distillation.distill(
            self.teaching, self.start.encoder, self.start.head, self._student_row
        )
        rows["student"], scores = student
        if self.config.distillation.baselines and self.held_out is not None:
            rows["labels_alone"] = self._row(
                lambda: self._labels_alone(steps, rows["student"]), "labels_alone.json"
            )
        files = self._export()
        rows.update(self._lite_rows(files))
        folder = self.teaching.folder
        train = self.teaching.train
        labelled = self.teaching.labelled
        results = {
            "mode": "distill",
            "teacher": self.config.distillation.teacher,
            "teacher_step": self.start.teacher.step,
            "init": self.start.origin,
            "step": steps.total,
            "dataset": train.name,
            "num_train": train.num_examples,
            "num_labels": 0 if labelled is None else labelled.num_examples,
            "num_eval": 0 if self.held_out is None else self.held_out.num_examples,
            "num_classes": self.start.num_classes,
            **{
                name: rows["student"][name]
                for name in ("top_1", "top_5")
                if name in rows["student"]
            },
            "rows": rows,
            "files": files,
            "images_per_second": rate,
            "wall_seconds": round(time.monotonic() - began, 2),
        }
        tables = {}
        if scores is not None:
            tables["confusion.csv"] = confusion_csv(*scores, train.class_names)
        text = distill_text.markdown(results, LITE_IMAGES)
        evaluation_run.write_results(folder, results, text, tables)
        return results

    def _row(self, measure, name):
        """The figures of a row, kept in a file for resumed runs."""
        folder = self.teaching.folder
        if not folder.exists(name):
            write_json(folder.join(name), measure())
        return read_json(folder.join(name))

    def _teacher_row(self):
        trained = self.start.teacher
        selector = trained.settings["ft_proj_selector"]
        parts = [trained.encoder, trained.head if selector else None, trained.probe]
        return self._figures(self.start.logits, parts)[0]

    def _student_row(self, model):
        return self._figures(*_inference(model))

    def _labels_alone(self, steps, student):
        labelled = self.teaching.labelled
        config = distillation.labels_alone(self.config, steps, labelled.num_examples)
        strategy = self.teaching.strategy
        folder = RunFolder(self.teaching.folder.join("labels_alone"))
        print("the student on the labels alone:", flush=True)
        with strategy.scope():
            parts = distill_start.again(self.start)
        job = supervised.Job(config, strategy, labelled, self.held_out, folder)
        outcome = supervised.fine_tune(job, *parts)
        same = {name: student[name] for name in ("parameters", "megabytes", "milliseconds")}
        return {**same, **classification_report(outcome.scores, outcome.labels)}

    def _figures(self, logits, parts):
        """(figures of a model, (scores, labels) of the held-out images or None)."""
        figures = size_figures(*parts)
        figures["milliseconds"] = milliseconds_per_image(logits, self.shape)
        if self.held_out is None:
            return figures, None
        batch = self.config.distillation.eval_batch_size
        batches = eval_batches(self.held_out, self.config.data.image_size, batch)
        batches = phases.counted(batches, "evaluation", self.held_out.num_examples)
        found = extract_features(logits, batches, batch, self.teaching.strategy)
        return {**figures, **classification_report(found.h, found.labels)}, (found.h, found.labels)

    def _export(self):
        """Exports the student; {what: path}."""
        folder = self.teaching.folder
        values = {
            "checkpoint": folder.path,
            "export_formats": self.config.distillation.export_formats,
            "encoder": self.config.model.encoder,
            "trust_code": self.config.run.trust_code,
        }
        given = frozenset({"checkpoint", "export_formats"} | ({"encoder"} & self.given))
        config = settings_of.build(settings_of.Export, values)
        report = export_command.run(config, given)
        step = int(report.path.rstrip("/").rpartition("/")[2])
        files = export_command.converted_files(folder.path, step, self.formats)
        return {"saved_model": report.path, **files}

    def _lite_rows(self, files):
        """{format: figures} of the files that TensorFlow Lite runs."""
        rows = {}
        images = labels = None
        if self.held_out is not None:
            some = subset.sample(self.held_out, LITE_IMAGES, self.config.run.seed)
            batches = list(eval_batches(some, self.config.data.image_size, 64))
            images = [batch["images"].numpy() for batch in batches]
            labels = np.concatenate([batch["label"].numpy() for batch in batches])
        for kind in self.formats:
            if not kind.startswith("tflite"):
                continue
            model = lite.LiteModel(files[kind])
            row = {
                "megabytes": model.megabytes,
                "milliseconds": model.milliseconds_per_image(self.shape),
            }
            if images is not None:
                scores = np.concatenate([model.logits(batch) for batch in images])
                row.update(classification_report(scores, labels))
            rows[kind] = row
        return rows


def _inference(model):
    """(function from images to logits, its parts) of a FineTuned."""
    function = distill_start.logits_of(model.encoder, model.head, model.probe, model.selector)
    return function, [model.encoder, model.head if model.selector else None, model.probe]
