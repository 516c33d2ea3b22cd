"""`--mode=tune`: short trainings without labels that end in a preset file."""

import dataclasses
import os
import time

from simclr_tf import config as settings_of
from simclr_tf import names, phases
from simclr_tf.commands import plan
from simclr_tf.data import sources, stored
from simclr_tf.distribution import strategy
from simclr_tf.errors import DivergedError, SettingsError
from simclr_tf.files import printed_into, write_atomically
from simclr_tf.runs import lock
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.runs.run_folder import RunFolder, require_folder
from simclr_tf.stack import tf
from simclr_tf.training import auto, trials, tuning
from simclr_tf.views import channels, multi_crop

PRESET = "tuned.flags"
_PLAN = "tune.json"


@lock.releases
def run(config, given=frozenset()):
    """Tries settings and writes the best as a preset file; run again, it goes on.

    Args:
        config: config.Tune.
        given: names of the settings that the user gave.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, the images or the folder cannot be used, or a signal stopped the work.
    """
    require_folder(config.run, example="runs/tune")
    multi_crop.check(config)
    group = strategy.make_group(config.run, config.workers)
    info = sources.describe(config.data)
    config = channels.adopt(config, given, info)
    minutes = auto.machine_of(config).minutes
    tuner = Tuner(config, given, info, group, config.run.model_dir, minutes)
    print(tuner.plan_text(), flush=True)
    if config.run.dry_run:
        return None
    found = tuner.run()
    best = found["best"]
    made = f"{found['trials']} short trainings, none better than the start ({_figures(best)})"
    if found["changes"]:
        made = (
            f"{found['trials']} short trainings, the best with {found['words']} "
            f"({_figures(best)}; at the start {_figures(found['start'])})"
        )
    data = config.data.flag + "".join(
        f" --{name}={value}"
        for name, value in settings_of.flatten(config).items()
        if name in given and name == "encoder"
    )
    preset = os.path.join(config.run.model_dir, PRESET)
    text = plan.format_done(
        made, preset, ("train", f"pretrain {data} --preset={preset} --model_dir=runs/tuned")
    )
    print(text, flush=True)
    return found


class Tuner:
    """The trials of a tuning in a folder: what is left of them, and the best.

    Args:
        config: config.Pretrain or config.Tune.
        given: names of the settings that the user gave.
        info: SourceInfo of the images.
        group: distribution.workers.WorkerGroup of one process.
        folder: path; "" for a dry run.
        minutes: that all trials may take.
    Raises:
        SettingsError: everything that could be tried is given.
    """

    def __init__(self, config, given, info, group, folder, minutes):
        began = time.monotonic()
        self.given = given
        self.group = group
        self.info = info
        self.folder = RunFolder(folder)
        self._minutes = minutes
        before = self.folder.stored_settings()
        source = sources.open_source(config.data, "train", config.run.seed)
        if before:
            config = settings_of.adopt_stored(config, given, before)
        if before and self.folder.exists(_PLAN):
            self.config = config
            temperatures = len(tuning.temperatures(config, given, tuning.AS_CHOSEN))
            # older ones do not say how many
            self._content = {"temperatures": temperatures, **read_json(self.folder.join(_PLAN))}
        else:
            settings = config.tuning
            most = len(tuning.first_round(config, given, source.channels, settings.tune_trials))
            if most == 1 and not tuning.temperatures(config, given, tuning.AS_CHOSEN):
                raise SettingsError(
                    "all that a tuning tries is given, by flags or by the preset; leave out some "
                    "of it, such as --crop_area_min or --temperature."
                )
            begun = auto.begin(config, given, source, group, trials.ALWAYS)
            self.config = begun.config
            most = len(tuning.first_round(self.config, given, source.channels, settings.tune_trials))  # fmt: skip
            temperatures = len(tuning.temperatures(self.config, given, tuning.AS_CHOSEN))
            networks = len(tuning.networks(self.config, given, tuning.AS_CHOSEN))
            spent = time.monotonic() - began
            rounds = tuning.fitting(minutes, spent, begun.pace, most, temperatures, networks)
            if settings.tune_steps:
                rounds = dataclasses.replace(rounds, steps=settings.tune_steps)
            self._content = {
                **dataclasses.asdict(rounds),
                "seconds": rounds.seconds(begun.pace),
                "paces": {},
                "rows": [list(row) for row in begun.rows],
            }
        names = [field.name for field in dataclasses.fields(tuning.Rounds)]
        self._rounds = tuning.Rounds(**{n: self._content[n] for n in names if n in self._content})
        self._source = source

    def plan_text(self):
        """What will be done, and how long it may take."""
        content = self._content
        rounds = self._rounds
        later = tuning.LATER * rounds.steps
        long = ""
        if content["seconds"] > 60 * self._minutes:
            long = f", more than the {self._minutes:.2g} minutes for it (--budget_minutes)"
        last = [
            rounds.temperatures and f"other temperatures, {later} steps",
            rounds.networks and f"other sizes and widths, as long as {later} steps take",
        ]
        rows = [
            ("data set", f"{self.info.name}, {self.info.num_train:,} training images"),
            ("labels", "not used"),
            *plan.image_rows(self.info),
            *(tuple(row) for row in content["rows"]),
            (
                "round 1",
                f"{rounds.candidates} trainings of {rounds.steps} steps: crops, colour, turns, blur",
            ),
            ("round 2", f"the best {rounds.survivors}, {later} steps"),
            *((f"round {at}", words) for at, words in enumerate(filter(None, last), 3)),
            ("judged by", tuning.RULE),
            ("time", f"about {phases.in_words(content['seconds'])}{long}"),
            ("output", self.folder.path or "none (dry run)"),
        ]
        return plan.format_plan("plan: tune", rows)

    def run(self):
        """Trains what is left; returns the content of results.json."""
        self._claim()
        seed = self.config.run.seed
        side = self.config.training.store_side
        source = self._source
        if side:
            source = stored.stored(source, side)
        images = trials.TrialImages(source, self.info.identity, seed)
        self._workshop = trials.Workshop(self.group, seed)
        self._images = images
        self._done = []
        self._began = time.monotonic()
        rounds = self._rounds
        later = tuning.LATER * rounds.steps
        first = tuning.first_round(self.config, self.given, source.channels, rounds.candidates)
        scores = [(one, self._try(one, rounds.steps)) for one in first]
        second = tuning.second_round(scores, rounds.survivors)
        scores = [(one, self._try(one, later)) for one in second]
        others = tuning.temperatures(self.config, self.given, _best(scores))
        scores += [(one, self._try(one, later)) for one in others]
        if rounds.networks:
            winner = _best(scores)
            others = tuning.networks(self.config, self.given, winner)
            paces = self._paces((winner, *others))
            for one in others:
                as_long = max(1, round(later * paces[winner.name] / paces[one.name]))
                scores.append((one, self._try(one, as_long)))
        return self._write(_best(scores))

    def _paces(self, candidates):
        """{name: seconds of a step} of candidates; measured once, in one go."""
        paces = self._content.setdefault("paces", {})
        if not paces:
            for one in candidates:
                changes = {**one.changes, **trials.ALWAYS}
                pace = auto.pace_of(self.config, changes, self._images.source, self.group)
                paces[one.name] = pace.step
            write_json(self.folder.join(_PLAN), self._content)
        return paces

    def _claim(self):
        values = settings_of.flatten(self.config)
        values["model_dir"] = self.folder.path
        self.folder.claim("tune", values, settings_of.free_settings(settings_of.Tune), self.info.identity)  # fmt: skip
        write_json(self.folder.join(_PLAN), self._content)

    def _try(self, candidate, steps):
        """The score of a candidate after some steps; trains it unless that is done."""
        folder = self.folder.join("trials", str(steps), candidate.name)
        changes = {**candidate.changes, **trials.ALWAYS, **self._time_left()}
        config = tuning.trial_config(self.config, changes, steps, self.info.num_train, folder)
        tf.io.gfile.makedirs(os.path.dirname(folder))
        was_there = tf.io.gfile.exists(os.path.join(folder, "trial.json"))
        began = time.monotonic()
        try:
            with printed_into(f"{folder}.log"):
                content = lock.releases(self._workshop.train)(config, self._images, folder)
        except DivergedError as error:
            content = {"figures": {}, "failed": str(error), "seconds": 0.0}
            write_json(os.path.join(folder, "trial.json"), content)
        score = tuning.score(content["figures"], steps)
        seconds = time.monotonic() - began
        row = {
            "name": candidate.name,
            "steps": steps,
            "changes": candidate.changes,
            "score": None if content["failed"] else score,
            **content,
        }
        self._done.append(row)
        words = content["failed"] or _figures(content["figures"])
        took = "done before" if was_there else f"{seconds:.0f} s"
        total = self._rounds.trainings
        self.group.say(f"trial {len(self._done)}/{total}, {steps} steps, {candidate.words()}: {words} ({took})")  # fmt: skip
        return score

    def _time_left(self):
        """The setting max_wall_minutes of a trial: one limit holds for all trials together."""
        most = self.config.training.max_wall_minutes
        if not most:
            return {}
        left = most - (time.monotonic() - self._began) / 60
        return {"max_wall_minutes": max(0.001, round(left, 3))}

    def _write(self, best):
        """Writes results.json and the preset file; returns the former."""
        last = {row["name"]: row for row in self._done}  # of the round in which each was last
        start = last[tuning.AS_CHOSEN.name]
        title = (
            f"Tuned without labels on {names.shown(self.info.name)}, {self.info.num_train:,} images: "
            f"the best of {len(self._done)} short trainings."
        )
        text = tuning.preset_text(self.config, best.changes, self.given, " ".join(title.split()))
        write_atomically(self.folder.join(PRESET), text)
        results = {
            "mode": "tune",
            "dataset": self.info.name,
            "num_train": self.info.num_train,
            "trials": len(self._done),
            "seconds": round(sum(row["seconds"] for row in self._done), 2),
            "changes": best.changes,
            "words": best.words(),
            "best": last[best.name]["figures"],
            "start": start["figures"],
            "preset": self.folder.join(PRESET),
            "rows": self._done,
        }
        write_json(self.folder.join("results.json"), results)
        return results


def _best(scores):
    """The Candidate of the highest score, the first of equals; scores: list of (Candidate, score)."""
    return max(scores, key=lambda pair: pair[1])[0]


def _figures(figures):
    if "contrastive_accuracy" not in figures:
        return "ended early, see its line above"
    return f"contrastive accuracy {figures['contrastive_accuracy']:.3f}"
