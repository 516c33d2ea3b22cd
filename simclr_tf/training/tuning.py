"""What `--mode=tune` tries, in which rounds, and how it judges: pure functions.

The rounds are successive halving (arXiv:1502.07943). The first trains every candidate briefly. The
second trains the best of them, and the best changes together, for twice as many steps. The third
tries other temperatures with the winner. The fourth, where there is time, tries other sizes of the
images and other widths of the network, for as long. No label is used anywhere.
"""

import dataclasses
from typing import Dict, List, Sequence, Tuple

from simclr_tf import config as settings_of
from simclr_tf.data import stacks
from simclr_tf.training import auto
from simclr_tf.views.device import WHOLE_MAX

LEAST_STEPS = 60
LEAST_SIDE = 8
MOST_WIDTH = 4.0
GOOD_STEPS = 150  # those of the experiment that found the rule
MOST_STEPS = 300
LATER = 2  # times the steps of the first round
CROPS = (0.25, 0.45, 0.65, 0.15)
STRENGTHS = (0.0, 0.1, 0.25, 0.5)
TEMPERATURES = (0.1, 0.2, 0.5)
SIDES = (0.75, 1.5)  # of the images, times what was chosen
WIDTHS = (0.5, 2.0)  # of the network, times what was chosen
SHARE_OF_BUDGET = 0.4  # of a pretraining that tunes first
EASE = 30.0  # after n steps a contrastive accuracy above 1 - EASE / n shows too similar views
LEAST_HEALTHY = 0.5  # that bound at least
TOO_EASY = 3.0  # what each unit of accuracy above the bound costs
RULE = "contrastive accuracy, unless it is so high that the views are too alike"
JUDGE_SECONDS = 6.0  # per trial beside its steps: compiling the views, judging, a checkpoint
MEASURE_SECONDS = 2.0  # per measured network beside its first step


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Settings to try.

    Attributes:
        name: of its folder.
        kind: candidates of one kind change the same thing.
        changes: {setting name: value} beside the start.
    """

    name: str
    kind: str
    changes: Dict[str, object]

    def words(self):
        """The changes as flags."""
        words = " ".join(f"--{n}={auto.text_of(v)}" for n, v in self.changes.items())
        return words or "as chosen by the look at the images"


AS_CHOSEN = Candidate("as_chosen", "start", {})


def first_round(config, given, channels, most):
    """The candidates of the first round, the start first, then in the order of what matters.

    Args:
        config: config.Pretrain to start from.
        given: names of the settings that the user gave; none of them is changed.
        channels: of the images.
        most: candidates at most.
    Returns:
        list of Candidate.
    """
    views = config.views
    crops = [
        Candidate(f"crop_{v:g}", "crop", {"crop_area_min": v})
        for v in CROPS
        if v != views.crop_area_min and v <= views.crop_area_max
    ]
    strengths = [
        Candidate(f"colour_{v:g}", "colour", {"color_jitter_strength": v})
        for v in STRENGTHS
        if v != views.color_jitter_strength
    ]
    is_turned = bool(views.rotate_degrees or views.shear)
    turns = {"flip": False, "rotate_degrees": 10.0, "shear": 0.1}
    if is_turned:
        turns = {"rotate_degrees": 0.0, "shear": 0.0}
    turned = Candidate("straight" if is_turned else "turned", "turn", turns)
    flip = Candidate("no_flip" if views.flip else "flip", "turn", {"flip": not views.flip})
    more = [
        Candidate("blur", "blur", {"use_blur": True, "blur_sigma_max": 1.0}),
    ]
    in_colour = channels == stacks.RGB and (views.saturation or views.hue)
    if in_colour and not views.grayscale_prob:
        strength = max(0.1, views.color_jitter_strength)
        grey = {"grayscale_prob": 0.2, "color_jitter_strength": strength}
        more.insert(0, Candidate("grayscale", "grey", grey))
    order = [*crops[:1], *strengths[:1], *crops[1:2], *strengths[1:2], turned, flip]
    order += [*crops[2:3], *strengths[2:3], *more, *crops[3:], *strengths[3:]]
    free = [one for one in order if not set(one.changes) & set(given)]
    return [AS_CHOSEN, *free][:most]


def second_round(scores: Sequence[Tuple[Candidate, float]], most: int) -> List[Candidate]:
    """The best candidates, and the best change of each kind together.

    Args:
        scores: (candidate, score) of the first round; a higher score is better.
        most: candidates at most.
    """
    ranked = sorted(scores, key=lambda pair: -pair[1])
    start = next((score for one, score in scores if one is AS_CHOSEN), float("-inf"))
    better = [one for one, score in ranked if score > start]
    together: Dict[str, object] = {}
    kinds = set()
    for one in better:
        if one.kind not in kinds and not set(one.changes) & set(together):
            kinds.add(one.kind)
            together.update(one.changes)
    found = [one for one, _ in ranked[: max(1, most - (len(kinds) > 1))]]
    return found + ([Candidate("together", "together", together)] if len(kinds) > 1 else [])


def temperatures(config, given, winner):
    """The winner of the views with other temperatures: list of Candidate."""
    if "temperature" in given:
        return []
    return [
        Candidate(
            f"{winner.name}_temperature_{v:g}", "temperature", {**winner.changes, "temperature": v}
        )  # fmt: skip
        for v in TEMPERATURES
        if v != config.loss.temperature
    ]


def networks(config, given, winner):
    """The winner with other sides of the images and other widths of the network.

    Args:
        config: config.Pretrain to start from.
        given: names of the settings that the user gave; none of them is changed.
        winner: Candidate.
    Returns:
        list of Candidate.
    """
    changes = []
    side = config.data.image_size
    largest = config.training.store_side or WHOLE_MAX  # above it there is nothing more to see
    if "image_size" not in given:
        found = [max(LEAST_SIDE, 4 * round(side * factor / 4)) for factor in SIDES]
        changes += [("image_size", one) for one in found if one != side and one <= largest]
    if not {"encoder", "width_multiplier"} & set(given) and not config.model.encoder:
        width = config.model.width_multiplier
        changes += [("width_multiplier", width * f) for f in WIDTHS if width * f <= MOST_WIDTH]
    return [
        Candidate(f"{winner.name}_{name}_{value:g}", "network", {**winner.changes, name: value})
        for name, value in changes
    ]


def trial_config(config, changes, steps, num_train, folder):
    """The config.Pretrain of a trial.

    Args:
        config: config.Pretrain to start from.
        changes: {setting name: value}.
        steps: of the trial.
        num_train: training images.
        folder: its run folder.
    """
    batch = config.training.global_batch_size
    values = {
        **settings_of.flatten(config),
        **changes,
        "auto": False,
        "tune": False,
        "train_steps": steps,
        "warmup_epochs": auto.warmup_epochs(steps, batch, num_train),
        "log_steps": max(1, steps // 3),
        "model_dir": folder,
    }
    return settings_of.build(settings_of.Pretrain, values)


@dataclasses.dataclass(frozen=True)
class Rounds:
    """How many trainings the rounds have.

    Attributes:
        candidates: of the first round.
        steps: of a training in the first round; later ones take LATER times as many.
        temperatures: trainings of the third round.
        networks: trainings of the fourth round, of other steps in the same time.
    """

    candidates: int
    steps: int
    temperatures: int
    networks: int = 0

    @property
    def survivors(self) -> int:
        """Trainings of the second round."""
        return min(self.candidates, max(2, (self.candidates + 2) // 4))

    @property
    def trainings(self) -> int:
        """Of all rounds."""
        return self.candidates + self.survivors + self.temperatures + self.networks

    def seconds(self, pace: auto.Pace) -> float:
        """That all rounds take, with this pace of the start."""
        return self.overhead(pace) + self.weight * self.steps * pace.step

    @property
    def weight(self) -> int:
        """Steps of all rounds, in steps of a training in the first."""
        return self.candidates + LATER * (self.survivors + self.temperatures + self.networks)

    def overhead(self, pace: auto.Pace) -> float:
        """Seconds beside the steps: a step is traced for each length, temperature and network.

        The fourth round measures the start and each network before it trains them.
        """
        measured = self.networks + 1 if self.networks else 0
        traced = 2 + self.temperatures + self.networks + measured
        return self.trainings * JUDGE_SECONDS + traced * pace.first + measured * MEASURE_SECONDS


def fitting(minutes, spent, pace, most, temperatures, networks=0):
    """Rounds that take about these minutes.

    The fourth round is left out before a candidate is. Fewer candidates with GOOD_STEPS come before
    more with fewer steps. Minutes that are too short for a few candidates give the least: those, and
    LEAST_STEPS.

    Args:
        minutes: of the budget.
        spent: seconds of it that are over.
        pace: auto.Pace of a step.
        most: candidates at most.
        temperatures: trials of the third round.
        networks: trials of the fourth round, if there is time.
    """
    rest = 60 * minutes - spent
    least = min(most, 3)
    tries = [(GOOD_STEPS, most, networks)]
    for enough in (GOOD_STEPS, LEAST_STEPS):
        tries += [(enough, count, 0) for count in range(most, least - 1, -1)]
    for enough, count, others in tries:
        rounds = Rounds(count, 0, temperatures, others)
        steps = (rest - rounds.overhead(pace)) / (pace.step * rounds.weight)
        if steps >= enough:
            return dataclasses.replace(rounds, steps=int(min(MOST_STEPS, steps)))
    return Rounds(least, LEAST_STEPS, temperatures)


def healthy(steps):
    """The contrastive accuracy above which views are too alike, after some steps."""
    return max(LEAST_HEALTHY, 1.0 - EASE / steps)


def score(figures, steps):
    """How good a trial is, without labels; higher is better.

    Of the figures that `benchmarks.criteria` compares with labelled few-shot accuracy, contrastive
    accuracy orders settings best, except where the views of an image are all but equal.

    Args:
        figures: {name: float} of trial.json, {} for a trial that failed.
        steps: of the trial; the same views are told apart better after more steps.
    """
    accuracy = figures.get("contrastive_accuracy", float("-inf"))
    bound = healthy(steps)
    return min(accuracy, bound - TOO_EASY * (accuracy - bound))


def preset_text(config, changes, given, title):
    """The content of a preset file with the settings of a tuned pretraining.

    Args:
        config: config.Pretrain to start from.
        changes: {setting name: value} that won.
        given: names of the settings that the user gave, which `auto` shall not choose later.
        title: one sentence for the first line.
    """
    values = {**settings_of.flatten(config), **changes}
    default = settings_of.flatten(settings_of.Pretrain())
    fields = settings_of.fields_of(settings_of.Pretrain)
    sections = ("views", "multi_crop", "model", "loss", "optimizer")
    names = [n for n, (section, _) in fields.items() if section in sections and n != "encoder"]
    names += ["image_size", "train_batch_size"]
    apart = {"warmup_epochs"}
    always = {
        *changes,
        *given,
        "image_size",
        "temperature",
        "crop_area_min",
        "color_jitter_strength",
        "flip",
    }
    lines = [f"# {title}", "--mode=pretrain", "--auto=True"]
    lines += [
        f"--{name}={_exact(values[name])}"
        for name in names
        if name not in apart and (values[name] != default[name] or name in always)
    ]
    return "\n".join(lines) + "\n"


def _exact(value):
    return repr(value) if isinstance(value, float) else str(value)
