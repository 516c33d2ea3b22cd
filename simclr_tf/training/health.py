"""Warnings about a run that trains without learning."""

import logging
from typing import Optional

_LOG = logging.getLogger(__name__)
PATIENCE = 5  # logged steps in a row
YOUNG = 100  # steps in which any run may look like this
STUCK = "stuck"


class HealthWatch:
    """Looks at the logged figures and warns once of each symptom, with advice.

    - The loss stays within 0.5 % of its chance value, such as ln(2N - 1) of NT-Xent.
    - The projections collapse to a point: views of different images have a mean cosine above 0.99.
    - The representation collapses to a line: the effective rank of h is below 1.5.
    - The views of an image are no closer than those of other images: positives and negatives
      differ by less than 0.01 in mean cosine, and neither of the first two holds.

    Each must hold at PATIENCE logged steps in a row, after the warm-up and the first YOUNG steps.
    """

    def __init__(self, chance: Optional[float], warmup: int):
        """Args:
        chance: the loss of equal embeddings in nats; None if it has no such value.
        warmup: steps of warm-up.
        """
        self.chance = chance
        self.first = max(warmup, YOUNG)
        self.counts = {}
        self.warned = set()

    def look(self, step, logs):
        """Looks at the logs {name: float} of a step."""
        for text in self.new_symptoms(step, logs):
            _LOG.warning("at step %d: %s", step, text)

    def new_symptoms(self, step, logs):
        """The sentences about symptoms that the logs of a step make certain, each once."""
        found = []
        if step <= self.first or "loss" not in logs:
            return found
        for name, shows, text in self._symptoms(logs):
            self.counts[name] = self.counts.get(name, 0) + 1 if shows else 0
            if self.counts[name] == PATIENCE and name not in self.warned:
                self.warned.add(name)
                found.append(text)
        return found

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
