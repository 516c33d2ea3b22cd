"""The learning-rate schedule and the numbers of steps it needs (arXiv:2002.05709, section 2.2)."""

import math
from typing import Any, Dict, List, Union

from simclr_tf.stack import keras, tf


def peak_learning_rate(base: float, scaling: str, global_batch_size: int) -> float:
    """The learning rate after warm-up.

    Args:
        base: the setting `learning_rate`.
        scaling: "linear" (base * B / 256), "sqrt" (base * sqrt(B)) or "none" (base).
        global_batch_size: B, original images per step (not views).
    """
    factors = {
        "linear": global_batch_size / 256,
        "sqrt": math.sqrt(global_batch_size),
        "none": 1.0,
    }
    return base * factors[scaling]


def total_steps(num_examples: int, epochs: int, global_batch_size: int) -> int:
    """Steps of a run; the official code adds one."""
    return num_examples * epochs // global_batch_size + 1


def warmup_steps(num_examples: int, warmup_epochs: float, global_batch_size: int) -> int:
    """Steps of linear warm-up, rounded down."""
    return int(warmup_epochs * num_examples // global_batch_size)


@keras.saving.register_keras_serializable("simclr_tf")
class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then half a cosine to 0, without restarts.

    lr(step) = peak * step / warmup_steps before `warmup_steps`, then
    peak / 2 * (1 + cos(pi * t / T)) with t = step - warmup_steps and T = total_steps -
    warmup_steps; 0 after `total_steps`.

    Args:
        peak: learning rate at the end of warm-up.
        warmup_steps: steps of warm-up, >= 0.
        total_steps: steps in all, warm-up included.
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int):
        self.peak = float(peak)
        self.warmup_steps = int(warmup_steps)
        self.total_steps = int(total_steps)

    def __call__(self, step: Union[int, tf.Tensor]) -> tf.Tensor:
        """The learning rate of a step, float32 []; steps count from 0."""
        step = tf.cast(step, tf.float32)
        length = max(self.total_steps - self.warmup_steps, 1)
        progress = tf.clip_by_value((step - self.warmup_steps) / length, 0.0, 1.0)
        cosine = 0.5 * (1.0 + tf.cos(math.pi * progress))
        warm_up = step / max(self.warmup_steps, 1)
        return self.peak * tf.where(step < self.warmup_steps, warm_up, cosine)

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


@keras.saving.register_keras_serializable("simclr_tf")
class InRounds(keras.optimizers.schedules.LearningRateSchedule):
    """Several schedules one after the other; each begins at the step where the last one ends.

    Args:
        rounds: list of WarmUpCosine, at least one.
    """

    def __init__(self, rounds: List[WarmUpCosine]):
        self.rounds = list(rounds)

    def __call__(self, step: Union[int, tf.Tensor]) -> tf.Tensor:
        """The learning rate of a step, float32 []."""
        step = tf.cast(step, tf.float32)
        rate = self.rounds[0](step)
        start = 0
        for before, after in zip(self.rounds, self.rounds[1:]):
            start += before.total_steps
            rate = tf.where(step < start, rate, after(step - start))
        return rate

    def get_config(self) -> Dict[str, Any]:
        """The arguments of the constructor, with the rounds as configs."""
        return {"rounds": [one.get_config() for one in self.rounds]}

    @classmethod
    def from_config(cls, config):
        """A schedule with the rounds of get_config."""
        return cls([WarmUpCosine(**one) for one in config["rounds"]])
