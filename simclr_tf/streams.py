"""The table of random streams: which numbers belong to which random choice.

Every random choice is a stateless function of the seed and of numbers that say which choice it
is. Two choices with the same numbers would depend on each other, so all numbers are given out
here. Changing one changes every run: add new ones where the table is free.

Only the standard library is imported here.
"""

from typing import List, NamedTuple


class Draws(NamedTuple):
    """The numbers first, first + 1, ..., first + count - 1."""

    first: int
    count: int

    @property
    def end(self) -> int:
        """The first number after them."""
        return self.first + self.count

    def part(self, start: int, count: int) -> "Draws":
        """`count` of them from the number `start` (counted from 0) on."""
        if not 0 <= start <= start + count <= self.count:
            raise ValueError(
                f"numbers {start} to {start + count - 1} are not among the {self.count} of this "
                "range; add a range to simclr_tf/streams.py."
            )
        return Draws(self.first + start, count)


# 1. Draws of a view: `views.rng` makes them from (seed, epoch, example id, view, number).

MOST_DRAWS = 1024  # of one view

CROP_TRIES = 10  # windows tried; all fail with probability below 1e-9, then the whole image
WINDOW = 2 * CROP_TRIES + 2  # two numbers for the shape of each try, two for the place
MOST_OPERATORS = 16  # beside color and blur

VIEW = {
    "crop": Draws(0, WINDOW),
    "recipe": Draws(22, 10),  # flip, colour jitter, grayscale, blur
    "operator_applied": Draws(64, MOST_OPERATORS),  # one for each operator
    "operator_uniforms": Draws(80, 16),  # as many for each operator as it registers
    "operator_keys": Draws(96, 2 * MOST_OPERATORS),  # two for each operator with a stream
    "operator_windows": Draws(128, MOST_OPERATORS * WINDOW),  # for each that crops
    "warp": Draws(512, 2),  # angle and shear
    "auto_augment": Draws(640, 6),  # sub-policy, two applied, two signs, one unused
}

# Losses that draw at random take rows of numbers from the same generator, by (seed, step, row).
# A view uses MOST_DRAWS / 2 pairs of numbers, so these two are free.

LOSS_DIRECTIONS = MOST_DRAWS - 2
LOSS_PRIOR = MOST_DRAWS - 1

# 2. Permutations: `data.order.permuted` makes them from (seed, epoch, salt).

ORDER_OF_EXAMPLES = 0
ORDER_OF_SHARDS = 1
STAND_INS = 3  # for images that cannot be read; (seed, number of the try) instead of the epoch


def order_of_window(window):
    """The salt of the examples of a window, counted from 0 in its epoch; int or int64 tensor.

    Window 1 has the salt of the stand-ins. Runs depend on both numbers, so both stay; one
    permutes places of a window and the other ids of the whole source.
    """
    return 2 + window


# 3. NumPy and TensorFlow generators outside training: the seeds they start from. Purposes that
# meet in one list of numbers draw from different things, such as the members of two classes.
# Initial kernels start from `models.layers.kernel_seed`: the seed and the path of the layer.


def hold_out(seed: int, label: int) -> List[int]:
    """RandomState: which examples of a class are held out; label -1 is "no labels"."""
    return [seed, label + 1]


def label_fraction(seed: int, label: int) -> List[int]:
    """RandomState: which examples of a class keep their label."""
    return [seed, label]


def sample(seed: int, count: int) -> List[int]:
    """RandomState: which `count` examples stand for a source."""
    return [seed, count]


def probe_classes(seed: int, task: int) -> List[int]:
    """RandomState: what is done to each image of a probe; task: its place in the sorted names."""
    return [seed, task]


def few_shot(seed: int, draw: int) -> List[int]:
    """default_rng: the labelled examples of a draw."""
    return [seed, draw]


def penalty_split(seed: int, count: int) -> List[int]:
    """default_rng: the fifth of `count` examples on which a penalty is chosen."""
    return [seed, count]


def probe_noise(seed: int, batch: int) -> List[int]:
    """stateless_normal: the noise on the images of a probe's batch."""
    return [seed, batch]


def classifier_start(seed: int, number: int) -> List[int]:
    """stateless_normal: the initial kernels of the classifiers on a feature space."""
    return [seed, number]
