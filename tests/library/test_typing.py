"""Every public name is annotated, so that mypy and editors know what goes in."""

import inspect

import pytest

import simclr_tf

TYPED = [name for name in simclr_tf.__all__ if not name.endswith("Error")]


@pytest.mark.parametrize("name", TYPED)
def test_arguments_are_annotated(name):
    thing = getattr(simclr_tf, name)
    called = thing.__init__ if inspect.isclass(thing) else thing
    for parameter in inspect.signature(called).parameters.values():
        if parameter.name != "self":
            assert parameter.annotation is not parameter.empty, parameter
