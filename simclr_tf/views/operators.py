"""The registry of operators: what `--operators` can name, and what is drawn for each.

An operator distorts a batch of crops. `register` adds one; `study` has most of them, `forms`
color and blur. Start reading at `Operator`.
"""

import dataclasses
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from simclr_tf import config, streams
from simclr_tf.stack import tf
from simclr_tf.views import draws, geometry, rng


class OperatorDraws(NamedTuple):
    """What is drawn for one operator and n views.

    Attributes:
        u: float32 [n, k] in [0, 1), k as registered.
        boxes: int32 [n, 4], crop windows (y, x, height, width); None unless registered.
        keys: uint32 [n, 2], keys for `rng.normals`; None unless registered.
    """

    u: tf.Tensor
    boxes: Optional[tf.Tensor]
    keys: Optional[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator of views.

    Attributes:
        name: what `--operators` calls it.
        function: (images float32 [n, s, c, s] in [0, 1], OperatorDraws, config.Views) -> images.
            Shapes are static and it compiles with XLA. Of color and blur the draws are
            `draws.Draws`, and they decide themselves which images they change.
        settings: names of the settings in config.Views that it reads.
        uniforms: numbers in [0, 1) that it needs for each view.
        window: whether it needs a crop window.
        key: whether it needs a stream of normal numbers.
        in_recipe: color and blur, whose draws are part of the paper's recipe.
        idle: config.Views -> whether the settings switch it off.
        number: place among the operators outside the recipe; counts its random numbers.
        first_uniform: place of its first uniform among those of all operators.
        window_number: place of its window among those of all operators.
        key_number: place of its key among those of all operators.
    """

    name: str
    function: Callable
    settings: Tuple[str, ...] = ()
    uniforms: int = 0
    window: bool = False
    key: bool = False
    in_recipe: bool = False
    idle: Callable[[Any], bool] = lambda views: False
    number: int = 0
    first_uniform: int = 0
    window_number: int = 0
    key_number: int = 0


OPERATORS: Dict[str, Operator] = {}


def drawn_operators() -> Tuple[Operator, ...]:
    """The operators outside the recipe, in the order of their random numbers."""
    return tuple(one for one in OPERATORS.values() if not one.in_recipe)


def register(
    name: str,
    *,
    settings: Tuple[str, ...] = (),
    uniforms: int = 0,
    window: bool = False,
    key: bool = False,
    in_recipe: bool = False,
    idle: Callable[[Any], bool] = lambda views: False,
) -> Callable[[Callable], Callable]:
    """Decorates the function of an operator; arguments as the attributes of `Operator`.

    Random numbers are given out in the order of registration, so a new operator comes last:
    those before it keep theirs.

    Raises:
        ValueError: the name is taken or missing in `config.views.OPERATORS`, a setting does not
            exist, or the operators together need more random numbers than `streams.VIEW` has.
    """
    if name in OPERATORS:
        raise ValueError(f"operator {name} is registered already; choose another name.")
    if name not in config.views.OPERATORS:
        raise ValueError(
            f"operator {name} is not in OPERATORS of simclr_tf/config/views.py; add it there."
        )
    known = {field.name for field in dataclasses.fields(config.Views)}
    missing = sorted(set(settings) - known)
    if missing:
        raise ValueError(
            f"operator {name} reads the setting {missing[0]}, which config.Views has not; declare "
            "it there."
        )
    before = drawn_operators()

    def add(function):
        one = Operator(
            name=name,
            function=function,
            settings=settings,
            uniforms=uniforms,
            window=window,
            key=key,
            in_recipe=in_recipe,
            idle=idle,
            number=len(before),
            first_uniform=sum(other.uniforms for other in before),
            window_number=sum(other.window for other in before),
            key_number=sum(other.key for other in before),
        )
        if not in_recipe:  # refused here if the table of streams is full
            streams.VIEW["operator_applied"].part(one.number, 1)
            streams.VIEW["operator_uniforms"].part(one.first_uniform, uniforms)
        OPERATORS[name] = one
        return function

    return add


class AllDraws(NamedTuple):
    """What is drawn for n views and all operators outside the recipe.

    Attributes:
        applied: bool [n, k], by `Operator.number`.
        u: float32 [n, all uniforms].
        boxes: int32 [n, all windows, 4].
        keys: uint32 [n, all keys, 2].
    """

    applied: tf.Tensor
    u: tf.Tensor
    boxes: tf.Tensor
    keys: tf.Tensor

    def applied_of(self, name: str) -> tf.Tensor:
        """bool [n]: to which views an operator is applied."""
        return self.applied[:, OPERATORS[name].number]

    def of(self, name: str) -> OperatorDraws:
        """What one operator needs."""
        one = OPERATORS[name]
        return OperatorDraws(
            u=self.u[:, one.first_uniform : one.first_uniform + one.uniforms],
            boxes=self.boxes[:, one.window_number] if one.window else None,
            keys=self.keys[:, one.key_number] if one.key else None,
        )


def draw(views: config.Views, seed: int, rows: draws.Rows, image_size: int) -> AllDraws:
    """Draws for all operators outside the recipe.

    Args:
        views: config.Views.
        seed: of the run.
        rows: draws.Rows of n views.
        image_size: side of the crops in pixels.
    """
    known = drawn_operators()
    applied = streams.VIEW["operator_applied"].part(0, len(known))
    uniforms = streams.VIEW["operator_uniforms"].part(0, sum(one.uniforms for one in known))
    windows = []
    for number in range(sum(one.window for one in known)):
        numbers = streams.VIEW["operator_windows"].part(number * streams.WINDOW, streams.WINDOW)
        drawn = draws.window_uniforms(seed, rows, numbers=numbers)
        windows.append(geometry.windows(drawn, image_size, image_size, views))
    keys = []
    for number in range(sum(one.key for one in known)):
        numbers = streams.VIEW["operator_keys"].part(2 * number, 2)
        keys.append(rng.keys(seed, *rows, first=numbers.first))
    chance = rng.uniforms(seed, *rows, first=applied.first, count=applied.count)
    return AllDraws(
        applied=(chance < views.study_prob) & draws.distorted(views, rows)[:, None],
        u=rng.uniforms(seed, *rows, first=uniforms.first, count=uniforms.count),
        boxes=tf.stack(windows, axis=1),
        keys=tf.stack(keys, axis=1),
    )
