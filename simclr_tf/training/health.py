"""Warnings about a run that trains without learning."""

import logging
from typing import Optional

_LOG = logging.getLogger(__name__)
PATIENCE = 5  # logged steps in a row
ABOVE = 2  # logged steps in a row with a loss above chance
EARLY = 200  # steps after which views of the same image should be told from others
LEAST_ACCURACY = 0.2  # contrastive accuracy by then
LARGEST = 1024  # images per step for which LEAST_ACCURACY was found
YOUNG = 100  # steps in which any run may look like this
STUCK = "stuck"
_TOO_STRONG = "views too strong: "


def weaken_words(settings):
    """How to give the views of an image more in common, in flags.

    Args:
        settings: {setting name: value} of a pretraining.
    """
    found = []
    if settings.get("crop_area_min", 0.0) < 0.4:
        found.append("raise --crop_area_min to 0.4")
    strong = ("color_jitter_strength", "grayscale_prob", "rotate_degrees", "shear")
    found += [f"lower --{name}" for name in strong if settings.get(name, 0.0) > 0]
    if settings.get("use_blur"):
        found.append("--use_blur=False")
    return ", ".join(found[:3]) or "raise --crop_area_min, or train longer before you judge"


def schedule_warning(warmup, total):
    """What is wrong with a schedule that ends inside or close behind its warm-up, or "".

    Args:
        warmup, total: steps.
    """
    if warmup <= total / 2:
        return ""
    return (
        f"the warm-up takes {warmup:,} of {total:,} steps, so the learning rate hardly comes down "
        "again: lower --warmup_epochs, to a tenth of the run, or raise --train_epochs"
    )


class ViewsTooStrong(Exception):
    """The views of an image have too little in common; str() says what showed it."""


class HealthWatch:
    """Looks at the logged figures and warns once of each symptom, with advice.

    - The loss stays above its chance value after the first YOUNG steps, at ABOVE logged steps in a
      row.
    - The contrastive accuracy is below LEAST_ACCURACY at the first logged step from EARLY on.

    Both mean that the views of an image have too little in common. These look at the whole run:

    - The loss stays within 0.5 % of its chance value, such as ln(2N - 1) of NT-Xent.
    - The projections collapse to a point: views of different images have a mean cosine above 0.99.
    - The representation collapses to a line: the effective rank of h is below 1.5.
    - The views of an image are no closer than those of other images: positives and negatives
      differ by less than 0.01 in mean cosine, and neither of the first two holds.

    Each must hold at PATIENCE logged steps in a row, after the warm-up and the first YOUNG steps.
    """

    def __init__(
        self,
        chance: Optional[float],
        warmup: int,
        batch: int = 64,
        start: int = 0,
        may_restart: bool = False,
        weaken: str = "",
    ):
        """Args:
        chance: the loss of equal embeddings in nats; None if it has no such value.
        warmup: steps of warm-up.
        batch: images per step.
        start: step that the run goes on from.
        may_restart: raise ViewsTooStrong where views that are too strong would be warned of.
        weaken: what to do about such views, see `weaken_words`.
        """
        self.chance = chance
        self.early = max(EARLY, min(warmup, 10 * EARLY))
        self.looked_early = start >= self.early or batch > LARGEST
        self.may_restart = may_restart
        self.weaken = weaken or weaken_words({})
        self.first = max(warmup, YOUNG)
        self.counts = {}
        self.warned = set()

    def look(self, step, logs):
        """Looks at the logs {name: float} of a step.

        Raises:
            ViewsTooStrong: they are, and `may_restart`.
        """
        for text in self.new_symptoms(step, logs):
            what, too_strong, _ = text.partition(_TOO_STRONG)
            if self.may_restart and too_strong:
                raise ViewsTooStrong(f"at step {step}: {what}{_TOO_STRONG[:-2]}")
            _LOG.warning("at step %d: %s", step, text)

    def new_symptoms(self, step, logs):
        """The sentences about symptoms that the logs of a step make certain, each once."""
        if "loss" not in logs:
            return []
        found = self._about_views(step, logs)
        if step <= self.first:
            return found
        for name, shows, text in self._symptoms(logs):
            self.counts[name] = self.counts.get(name, 0) + 1 if shows else 0
            if self.counts[name] == PATIENCE and name not in self.warned:
                self.warned.add(name)
                found.append(text)
        return found

    def _about_views(self, step, logs):
        """A list with the sentence about views that are too strong, empty if they are not."""
        loss = logs["loss"]
        above = self.chance is not None and step > YOUNG and loss > 1.005 * self.chance
        self.counts["above"] = self.counts.get("above", 0) + 1 if above else 0
        text = ""
        if self.counts["above"] == ABOVE:
            text = f"the loss {loss:.3f} is above its chance value {self.chance:.3f}"
        elif step >= self.early and not self.looked_early:
            self.looked_early = True
            accuracy = logs.get("contrastive_accuracy", 1.0)
            if accuracy < LEAST_ACCURACY:
                text = f"the contrastive accuracy is {accuracy:.3f}, below {LEAST_ACCURACY}"
        if not text or "views" in self.warned:
            return []
        self.warned.add("views")
        return [f"{text}: {_TOO_STRONG}{self.weaken}"]

    def _symptoms(self, logs):
        """(name, whether it shows, what to say) of each."""
        loss = logs["loss"]
        chance = self.chance
        stuck = chance is not None and abs(loss - chance) < 0.005 * chance
        yield (
            STUCK,
            stuck,
            f"the loss stays at {loss:.3f}, the value of equal embeddings; raise "
            "--learning_rate, lower --temperature, or weaken the augmentation.",
        )
        cosine = logs["negative_similarity"]
        yield (
            "point",
            cosine > 0.99,
            f"the projections of different images have a mean cosine of {cosine:.3f} (uniformity "
            f"{logs['uniformity']:.3f}), they collapse to a point; lower --learning_rate or "
            "--weight_decay, or lengthen --warmup_epochs.",
        )
        positive = logs["positive_similarity"]
        yield (
            "apart",
            positive - cosine < 0.01 and cosine <= 0.99 and not stuck,
            f"the two views of an image have a mean cosine of {positive:.3f} (alignment "
            f"{logs['alignment']:.3f}), no more than those of different images ({cosine:.3f}); "
            "weaken the augmentation, raise --train_batch_size or --learning_rate.",
        )
        if "effective_rank" in logs:
            rank = logs["effective_rank"]
            yield (
                "line",
                rank < 1.5,
                f"the effective rank of h is {rank:.2f}, the representation collapses to a line; "
                "lower --learning_rate, or strengthen the augmentation.",
            )
