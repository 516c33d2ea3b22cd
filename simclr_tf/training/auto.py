"""The preset `auto`: settings chosen by a look at the images, the device and a measured step.

`rules` is a pure function of what was seen. `choose` looks, asks the rules, measures a step of what
they chose and fits the length of the run to the minutes that it may take. A setting that the user
gave is never chosen.
"""

import dataclasses
import os
import time
from typing import Dict, List, Tuple

from simclr_tf import config as settings_of
from simclr_tf import phases
from simclr_tf.data import stacks, stored
from simclr_tf.data.survey import Survey, survey
from simclr_tf.errors import SettingsError
from simclr_tf.stack import tf
from simclr_tf.training import length, pretraining
from simclr_tf.training.loop import StepRunner
from simclr_tf.views import channels, multi_crop
from simclr_tf.views.device import WHOLE_MAX

CPU_MINUTES = 10.0
ACCELERATOR_MINUTES = 60.0
STORE_BYTES = 2**30  # decoded images that are kept in memory at most
MOST_EPOCHS = 1000
LONG = 4.0  # core minutes from which small crops pay, and changed colours of things
WARMUP_SHARE = 0.05
_MEASURE_SECONDS = 2.0
_LEAST_STEPS = 20
_OF_COLOUR = ("grayscale_prob", "brightness", "contrast", "saturation", "hue", "jitter_prob")


@dataclasses.dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes:
        accelerated: whether there is a GPU or TPU.
        cores: processor cores that this process may use.
        minutes: that the run may take.
    """

    accelerated: bool
    cores: int
    minutes: float

    @property
    def core_minutes(self):
        """Minutes of one core in the budget."""
        return self.cores * self.minutes


@dataclasses.dataclass(frozen=True)
class Rule:
    """Some settings that belong together, and why they have these values.

    Attributes:
        values: {setting name: value}.
        reason: in words, without a stop.
    """

    values: Dict[str, object]
    reason: str

    def words(self):
        """The rule as a row of a plan."""
        shown = " ".join(f"{name}={text_of(value)}" for name, value in self.values.items())
        return f"{shown}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What `choose` found.

    Attributes:
        config: config.Pretrain with every choice.
        source: Source of the training images, decoded once if that was chosen.
        rows: ((name, text), ...) for the plan.
    """

    config: settings_of.Pretrain
    source: object
    rows: Tuple[Tuple[str, str], ...]


def machine_of(config):
    """The Machine of this process; config: one with the sections run and auto."""
    accelerated = config.run.use_tpu or bool(tf.config.list_physical_devices("GPU"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    default = ACCELERATOR_MINUTES if accelerated else CPU_MINUTES
    return Machine(accelerated, cores or 1, config.auto.budget_minutes or default)


def rules(seen: Survey, machine: Machine, fixed: Dict[str, object]) -> List[Rule]:
    """What a run on such images with such a machine should use.

    Args:
        seen: Survey of the images.
        machine: Machine.
        fixed: {setting name: value} that the user gave; they are taken into account, not chosen.
    Returns:
        list of Rule, without the names in `fixed`.
    """
    size = fixed.get("image_size") or _image_size(seen, machine)
    found = [
        _size_rule(seen, machine, size),
        *([] if "encoder" in fixed else [_network_rule(machine, size)]),
        _batch_rule(seen, machine),
        _optimizer_rule(fixed),
        *_view_rules(seen, machine, fixed),
        *_store_rule(seen, size),
    ]
    free = [
        dataclasses.replace(rule, values={n: v for n, v in rule.values.items() if n not in fixed})
        for rule in found
    ]
    return [rule for rule in free if rule.values]


def _image_size(seen, machine):
    most = 96 if machine.accelerated else 32 if machine.core_minutes < 60 else 48
    side = seen.longest if seen.longest <= most else min(most, seen.side)
    return max(8, side)


def _size_rule(seen, machine, size):
    if machine.accelerated:
        reason = "up to 96 pixels with an accelerator"
    elif seen.longest <= size:
        reason = "the size of the images"
    else:
        reason = f"more steps in {machine.core_minutes:g} core minutes are worth more than pixels"
    return Rule({"image_size": size}, reason)


def _network_rule(machine, size):
    stem = "small" if size <= 20 else "strided" if size <= 64 else "imagenet"
    if machine.accelerated:
        return Rule(
            {"resnet_depth": 18, "width_multiplier": 1.0, "stem": stem},
            "a whole ResNet-18 trains in minutes on an accelerator",
        )
    width = 0.25 if machine.core_minutes < 60 else 0.5
    return Rule(
        {"resnet_depth": 10, "width_multiplier": width, "stem": stem, "proj_out_dim": 64},
        "a small network sees more images in the same time",
    )


def _batch_rule(seen, machine):
    batch = 256 if machine.accelerated else 64
    while batch > max(2, seen.count // 2):
        batch //= 2
    reason = "many small steps" if batch == 64 else "fills an accelerator"
    if batch not in (64, 256):
        reason = f"there are {seen.count:,} images"
    return Rule({"train_batch_size": batch}, reason)


def _optimizer_rule(fixed):
    optimizer = fixed.get("optimizer", "adam")
    if optimizer in ("adam", "adamw"):
        values = {"optimizer": "adam", "learning_rate": 0.003, "learning_rate_scaling": "none"}
        return Rule(values, "learns from the first steps, at every batch size")
    values = {"learning_rate": 0.075, "learning_rate_scaling": "sqrt"}
    return Rule(values, f"usual for small batches with {optimizer}")


def _crop_rule(seen, machine, largest):
    """Long trainings learn from small crops, short ones do not get that far."""
    is_long = _is_long(machine)
    if not _plain(seen):
        area = 0.1 if is_long else 0.25
        reason = "the images are filled, so parts of them look alike"
        reason += ", and there is time for small ones" if is_long else ""
    else:
        small = is_long and not _grey(seen)
        area = 0.2 if small else 0.65 if _grey(seen) else 0.45
        reason = f"{_plain_share(seen):.0%} of the images show one thing on a plain ground; "
        reason += (
            "long enough to learn from small crops" if small else "smaller crops would miss it"
        )
    return Rule({"crop_area_min": min(largest, area)}, reason)


def _colour_rule(seen, machine, fixed):
    """Things on a plain ground have a shape to learn; of filled images colour tells most."""
    share = f"{seen.chroma:.0%} of the variance is colour, which distortion hides; "
    if _plain(seen) and _is_long(machine):
        grey = 0.0 if fixed.get("color_jitter_strength") == 0 else 0.2
        reason = f"{share}long enough to learn shapes beside it"
        return Rule({"color_jitter_strength": 0.4, "grayscale_prob": grey}, reason)
    asked = [name for name in _OF_COLOUR if fixed.get(name)]
    reason = f"{share}filled images and short trainings did better without"
    if asked:
        reason = f"--{asked[0]} is given, which needs some strength"
    return Rule({"color_jitter_strength": 0.1 if asked else 0.0, "grayscale_prob": 0.0}, reason)


def _is_long(machine):
    return machine.accelerated or machine.core_minutes >= LONG


def _plain_share(seen):
    """Share of the images that show one thing on a plain or transparent ground."""
    return max(seen.plain, seen.transparent)


def _plain(seen):
    return _plain_share(seen) > 0.5


def _grey(seen):
    return seen.channels == stacks.RGB and seen.colored < 0.1


def _view_rules(seen, machine, fixed):
    largest = fixed.get("crop_area_max", 1.0)
    plain = _plain(seen)
    grey = _grey(seen)
    yield _crop_rule(seen, machine, largest)
    if plain and grey:
        yield Rule(
            {"flip": False, "rotate_degrees": 10.0, "shear": 0.1},
            "grey shapes such as letters have a direction; small turns keep it",
        )
    elif plain:
        yield Rule({"flip": True}, "things in colour keep their meaning in a mirror")
    if grey:
        yield Rule(
            {"color_jitter_strength": 0.25, "saturation": 0.0, "hue": 0.0, "grayscale_prob": 0.0},
            "the images are grey: brightness and contrast alone are changed, a little",
        )
    elif seen.channels == stacks.RGB:
        yield _colour_rule(seen, machine, fixed)
    yield Rule({"use_blur": False}, "small images have little detail to lose")
    yield Rule({"aug_impl": "torchvision"}, "crops of every area are as likely")
    yield Rule({"temperature": 0.2}, "suits small batches")


def _store_rule(seen, size):
    side = min(WHOLE_MAX, max(size, min(seen.side, 2 * size)))
    if size > WHOLE_MAX or seen.count * side * side * seen.channels > STORE_BYTES:
        return
    megabytes = seen.count * side * side * seen.channels / 1e6
    yield Rule({"store_side": side}, f"decoded once, {megabytes:.3g} MB in memory")


def with_rules(config, given, found):
    """The config with the values of some rules for settings that the mode has and nobody gave.

    Args:
        config: of a mode.
        given: names of the settings that the user gave.
        found: list of Rule.
    """
    known = settings_of.fields_of(type(config))
    values = settings_of.flatten(config)
    for rule in found:
        values.update({n: v for n, v in rule.values.items() if n in known and n not in given})
    return settings_of.build(type(config), values)


def look(config, given, source):
    """What a look at the images chooses, without measuring anything.

    Args:
        config: with the sections run, data, views and auto.
        given: names of the settings that the user gave.
        source: opened training images.
    Returns:
        (the config with its choices, Survey, list of Rule that concern it).
    """
    seen = survey(source)
    values = settings_of.flatten(config)
    fixed = {name: values[name] for name in given if name in values}
    found = rules(seen, machine_of(config), fixed)
    known = settings_of.fields_of(type(config))
    found = [rule for rule in found if any(name in known for name in rule.values)]
    return with_rules(config, given, found), seen, found


@dataclasses.dataclass(frozen=True)
class Begun:
    """What was chosen before the length of a run.

    Attributes:
        config: config.Pretrain with every choice but the length.
        source: Source of the training images, decoded once if that was chosen.
        count: images of it.
        pace: Pace of a step.
        rows: ((name, text), ...) for the plan.
    """

    config: settings_of.Pretrain
    source: object
    count: int
    pace: "Pace"
    rows: Tuple[Tuple[str, str], ...]


def begin(config, given, source, group, changes=()):
    """Looks, chooses everything but the length, and measures a step.

    Args:
        config, given, source, group: as of `choose`.
        changes: {setting name: value} of the measured step alone.
    Returns:
        Begun.
    Raises:
        SettingsError: as of `choose`.
    """
    if group.count > 1:
        raise SettingsError(
            "preset=auto measures one machine, and the run has "
            f"{group.count} workers; give --preset=folder, or the settings that auto chose on one."
        )
    config, seen, found = look(config, given, source)
    config = channels.restrict(config, source.channels)
    rows = [("look", seen.words())] + [("auto", rule.words()) for rule in found]
    source = stored.stored(source, config.training.store_side)
    pace = pace_of(config, changes, source, group)
    return Begun(config, source, seen.count, pace, tuple(rows))


def choose(config, given, source, group, spent=0.0):
    """Chooses every setting of a pretraining that the user did not give.

    Args:
        config: config.Pretrain.
        given: names of the settings that the user gave.
        source: opened training images.
        group: distribution.workers.WorkerGroup of one process.
        spent: seconds of the budget that are over.
    Returns:
        Chosen.
    Raises:
        SettingsError: there are several workers, or what was given contradicts itself.
    """
    began = time.monotonic() - spent
    begun = begin(config, given, source, group)
    config = begun.config
    rows = list(begun.rows)
    rule, seconds = _length_rule(config, given, begun.count, begun.pace, began)
    if rule is not None:
        config = with_rules(config, given, [rule])
        rows.append(("auto", rule.words()))
    total = length.resolve_steps(config.training, config.optimizer, begun.count).total
    estimate = seconds + total * begun.pace.step
    rows.append(("time", f"about {phases.in_words(estimate)}, {begun.pace.step * 1000:.3g} ms a step"))  # fmt: skip
    return Chosen(config, begun.source, tuple(rows))


@dataclasses.dataclass(frozen=True)
class Pace:
    """Seconds of the first step, which is compiled, and of a later one."""

    first: float
    step: float


def pace_of(config, changes, source, group):
    """The measured Pace of a step.

    Args:
        config: config.Pretrain.
        changes: {setting name: value} of the measured step alone.
        source: Source of the training images.
        group: distribution.workers.WorkerGroup of one process.
    """
    values = {**settings_of.flatten(config), **dict(changes)}
    return _measure(settings_of.build(type(config), values), source, group)


def _measure(config, source, group):
    """The Pace of this config; the model and its weights are thrown away."""
    with phases.phase("measuring a step", None, "steps") as one:
        with group.strategy.scope():
            model = pretraining.build_model(config, 0, length.Steps(1, 0, 1, 1, 1, 1e-3))
        began = time.monotonic()
        batch = group.share(config.training.global_batch_size)
        batches = multi_crop.batches(source, config, config.training.num_views, batch)
        runner = StepRunner(model, group.strategy, batches, config.training.jit_compile)
        runner.run(1)
        float(model.running["loss"].result())
        first = time.monotonic() - began
        times = []
        while sum(times) < _MEASURE_SECONDS and len(times) < 20 or len(times) < 3:
            start = time.monotonic()
            runner.run(1)
            float(model.running["loss"].result())  # waits for the device
            times.append(time.monotonic() - start)
            one.advance()
    return Pace(first, sorted(times)[len(times) // 2])


def _length_rule(config, given, count, pace, began):
    """The Rule of the length, None if it is given, and the seconds that the rest takes."""
    batch = config.training.global_batch_size
    minutes = machine_of(config).minutes
    spent = time.monotonic() - began
    rest = pace.first + 2.0  # the first step is compiled again; the last checkpoint
    if "train_steps" in given or "train_epochs" in given:
        steps = length.resolve_steps(config.training, dataclasses.replace(config.optimizer, warmup_epochs=0.0), count).total  # fmt: skip
        if "warmup_epochs" in given:
            return None, rest
        values = {"warmup_epochs": warmup_epochs(steps, batch, count)}
        return Rule(values, "a twentieth of the run"), rest
    fitting = int((60 * minutes - spent - rest) / pace.step)
    most = MOST_EPOCHS * max(1, count // batch)
    steps = max(_LEAST_STEPS, min(fitting, most))
    reason = f"fills {minutes:g} minutes (--budget_minutes)"
    if steps == most:
        reason = f"{MOST_EPOCHS:,} epochs, more would teach little"
    if steps == _LEAST_STEPS:
        reason = f"the least; {minutes:g} minutes (--budget_minutes) are too short"
    values = {"train_steps": steps, "warmup_epochs": warmup_epochs(steps, batch, count)}
    return Rule(values, f"{reason}, warm-up a twentieth"), rest


def warmup_epochs(steps: int, batch: int, num_train: int) -> float:
    """Epochs of a warm-up that takes a twentieth of a run of some steps."""
    return round(WARMUP_SHARE * steps * batch / num_train, 4)


def weaker(config, given):
    """The views of a run whose views had too little in common, made weaker.

    Args:
        config: config.Pretrain.
        given: names of the settings that the user gave; they stay.
    Returns:
        {setting name: value} of what changes; {} if nothing is left to weaken.
    """
    views = config.views
    wanted = {
        "crop_area_min": min(max(0.4, min(0.8, 1.5 * views.crop_area_min)), views.crop_area_max),
        "color_jitter_strength": views.color_jitter_strength / 2,
        "grayscale_prob": 0.0,
        "use_blur": False,
        "rotate_degrees": views.rotate_degrees / 2,
        "shear": views.shear / 2,
    }
    now = settings_of.flatten(config)
    return {n: v for n, v in wanted.items() if n not in given and v != now[n]}


def text_of(value: object) -> str:
    """A setting's value in words: numbers without trailing zeros."""
    return f"{value:g}" if isinstance(value, float) else str(value)
