"""A lower room never imports a higher one; only flags/ and the door know the command line."""

import ast
import importlib.util
import pathlib
import sys

import pytest

pytestmark = pytest.mark.one_stack

ROOT = pathlib.Path(__file__).resolve().parent.parent

# from the ground up; rooms on one line do not import each other
LAYERS = (
    ("errors", "names", "phases", "version"),
    ("stack", "config", "streams"),
    ("files", "counter_random"),
    ("data", "losses", "optimizers"),
    ("views", "models"),
    ("weights", "distribution"),
    ("runs",),
    ("evaluation",),
    ("training",),
    ("embedding", "report", "selftest", "export", "studies"),
    ("commands",),
    ("flags",),
    ("library",),
    ("__main__", "__init__"),
)
HEIGHT = {room: height for height, layer in enumerate(LAYERS) for room in layer}
SHIPPED = sorted(
    path for folder in ("simclr_tf", "flags", "export") for path in (ROOT / folder).rglob("*.py")
)


def room_of(module):
    """simclr_tf.views.blur -> views; None for modules that are not ours."""
    parts = module.split(".")
    if parts[0] in ("flags", "export"):
        raise AssertionError(f"import simclr_tf.{module}: a user's {parts[0]} may shadow {module}")
    return (parts + ["__init__"])[1] if parts[0] == "simclr_tf" else None


def room_of_file(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "simclr_tf" else parts[0]


def is_standard(name):
    """True for a module of the standard library (Python 3.9 has no `sys.stdlib_module_names`)."""
    names = getattr(sys, "stdlib_module_names", None)
    if names is None:
        spec = importlib.util.find_spec(name)
        return spec is not None and "site-packages" not in (spec.origin or "site-packages")
    return name in names


def imports(tree):
    """Dotted names of everything that a parsed file imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "simclr_tf":
                yield from (f"simclr_tf.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    room = room_of_file(path)
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        other = room_of(name)
        if other not in (None, room):
            assert HEIGHT[other] < HEIGHT[room], f"{room} imports the higher room {other} ({name})"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_absl_flags_stay_in_their_room(path):
    if room_of_file(path) != "flags":
        assert not [
            name
            for name in imports(ast.parse(path.read_text(encoding="utf-8")))
            if name.startswith("absl.flags")
        ]
        assert "FLAGS" not in {
            node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
        }
    else:
        assert not [
            name
            for name in imports(ast.parse(path.read_text(encoding="utf-8")))
            if name.startswith("tensorflow")
        ]


def test_every_room_has_its_place():
    assert {room_of_file(path) for path in SHIPPED} - {"__init__"} <= set(HEIGHT)
