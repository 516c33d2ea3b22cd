"""Signatures and docstrings of the public functions, made from the settings of their modes."""

import dataclasses
import inspect
import textwrap
from typing import Any, Callable, List, Sequence, TypeVar

from simclr_tf import config
from simclr_tf.config import MODES
from simclr_tf.library.calls import in_python

_WIDTH = 96
_Function = TypeVar("_Function", bound=Callable[..., Any])


def function_of(mode: str, without: Sequence[str] = ()) -> Callable[[_Function], _Function]:
    """Decorates the function of a mode, whose last argument is **settings.

    `inspect.signature`, `help` and notebooks then show every setting with type and default.

    Args:
        mode: name of the mode.
        without: settings that the function does not offer, because an argument stands for them.
    """

    def decorate(function: _Function) -> _Function:
        written = inspect.signature(function)
        own = [one for one in written.parameters.values() if one.kind is not one.VAR_KEYWORD]
        hidden = {one.name for one in own} | set(without)
        names = [name for name in MODES[mode].settings if name not in hidden]
        fields = config.fields_of(MODES[mode].config)
        parameters = own + [_parameter(fields[name][1]) for name in names]
        function.__signature__ = written.replace(parameters=parameters)  # type: ignore[attr-defined]
        head, returns, tail = inspect.cleandoc(function.__doc__ or "").partition("\nReturns:")
        function.__doc__ = f"{head.rstrip()}\n\n{_settings_text(mode, names)}\n{returns}{tail}\n"
        return function

    return decorate


def _parameter(field: "dataclasses.Field[Any]") -> inspect.Parameter:
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=type(field.default),
    )


def _settings_text(mode: str, names: Sequence[str]) -> str:
    """The settings with types, defaults, meaning and limits, grouped as in `simclr_tf.config`."""
    fields = config.fields_of(MODES[mode].config)
    sections = config.sections(MODES[mode].config)
    lines: List[str] = [
        "Settings, as keyword arguments (presets and checkpoints may bring other defaults):"
    ]
    heading = None
    for name in names:
        section, field = fields[name]
        if section != heading:
            heading = section
            title = in_python((sections[section].__doc__ or "").splitlines()[0])
            lines += ["", f"    {title}"]
        limits = config.describe_limits(field.metadata)
        words = in_python(field.metadata["help"]) + (f" Allowed: {limits}." if limits else "")
        kind = type(field.default).__name__
        head = f"{name} ({kind}, default {field.default!r}): "
        lines.append(
            textwrap.fill(
                head + words,
                width=_WIDTH,
                initial_indent=" " * 8,
                subsequent_indent=" " * 12,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)
