"""The rooms of DESIGN: who may import whom, what an `__init__.py` is, how long things get."""

import ast
import importlib.util
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOUNDATION = {f"simclr_tf.{name}" for name in ("config", "errors", "settings", "stack")}
PARTS = {f"simclr_tf.{room}" for room in ("data", "views", "models", "losses", "optimizers")}
RUNS = PARTS | {"simclr_tf.weights"} | {"simclr_tf.training", "simclr_tf.evaluation"}
SCIENCE = {"numpy", "scipy", "sklearn", "threadpoolctl"}

# room: (our own modules it may import besides itself, packages of others it may import)
ALLOWED = {
    "simclr_tf/config.py": (
        {
            f"simclr_tf.{name}"
            for name in (
                "errors",
                "settings",
                "config_views",
                "config_training",
                "config_evaluation",
            )
        },
        set(),
    ),
    "simclr_tf/config_training.py": ({"simclr_tf.errors", "simclr_tf.settings"}, set()),
    "simclr_tf/config_views.py": ({"simclr_tf.errors", "simclr_tf.settings"}, set()),
    "simclr_tf/config_evaluation.py": ({"simclr_tf.errors", "simclr_tf.settings"}, set()),
    "simclr_tf/settings.py": ({"simclr_tf.errors"}, set()),
    "simclr_tf/errors.py": (set(), set()),
    "simclr_tf/stack.py": (
        {"simclr_tf.errors"},
        {"tensorflow", "tf_keras", "tensorflow_addons"},
    ),
    "simclr_tf/__init__.py": (set(), set()),
    "simclr_tf/__main__.py": ({"simclr_tf.errors", "flags"}, set()),
    "simclr_tf/data": (FOUNDATION, SCIENCE | {"tensorflow_datasets", "PIL"}),
    "simclr_tf/views": (FOUNDATION, SCIENCE),
    "simclr_tf/models": (FOUNDATION | {"simclr_tf.losses"}, SCIENCE),
    "simclr_tf/losses": (FOUNDATION, SCIENCE),
    "simclr_tf/optimizers": (FOUNDATION, SCIENCE),
    "simclr_tf/weights": (FOUNDATION | {"simclr_tf.models"}, SCIENCE | {"google"}),
    "simclr_tf/evaluation": (FOUNDATION | PARTS, SCIENCE),
    "simclr_tf/training": (FOUNDATION | RUNS, SCIENCE | {"tqdm"}),
    "simclr_tf/embedding": (FOUNDATION | RUNS, SCIENCE | {"PIL", "pyarrow", "tqdm"}),
    "simclr_tf/selftest": (FOUNDATION | RUNS, SCIENCE),
    "simclr_tf/report": (FOUNDATION | RUNS, SCIENCE | {"matplotlib", "PIL"}),
    "flags": ({"simclr_tf.config", "simclr_tf.errors"}, {"absl"}),
    "export": (FOUNDATION | RUNS, SCIENCE),
}
SHIPPED = sorted(
    path
    for folder in ("simclr_tf", "flags", "export")
    for path in (ROOT / folder).rglob("*.py")
)
ALL = SHIPPED + sorted(path for path in (ROOT / "tests").rglob("*.py"))


def label(path):
    return str(path.relative_to(ROOT))


def room_of(path):
    """The key of `ALLOWED` that a file belongs to."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[:2]) if parts[0] == "simclr_tf" else parts[0]


def imported_modules(tree):
    """Dotted names of everything imported anywhere in a module, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "simclr_tf":
                yield from (f"simclr_tf.{alias.name}" for alias in node.names)
            else:
                yield node.module


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SHIPPED, ids=label)
def test_a_room_imports_only_what_its_place_allows(path):
    room = room_of(path)
    ours, others = ALLOWED[room]
    for name in imported_modules(parse(path)):
        head = name.split(".")[0]
        if head in ("simclr_tf", "flags", "export", "tests"):
            target = ".".join(name.split(".")[:2]) if head == "simclr_tf" else head
            allowed = target in ours or target == room.replace("/", ".")
        else:
            allowed = head in others or is_standard(head)
        assert allowed, f"{label(path)} imports {name}"


def is_standard(name):
    """True for a module of the standard library (Python 3.9 has no `sys.stdlib_module_names`)."""
    names = getattr(sys, "stdlib_module_names", None)
    if names is None:
        spec = importlib.util.find_spec(name)
        return spec is not None and "site-packages" not in (spec.origin or "site-packages")
    return name in names


@pytest.mark.parametrize("path", [path for path in ALL if path.name == "__init__.py"], ids=label)
def test_an_init_file_is_one_docstring(path):
    body = parse(path).body
    assert isinstance(body[0], ast.Expr) and isinstance(body[0].value.value, str)
    if label(path) == "simclr_tf/losses/__init__.py":  # what other people's train steps import
        assert all(isinstance(node, (ast.ImportFrom, ast.Assign)) for node in body[1:])
    elif label(path) != "simclr_tf/__init__.py":
        assert len(body) == 1


@pytest.mark.parametrize("folder", sorted({path.parent for path in SHIPPED}), ids=label)
def test_every_room_says_what_it_is(folder):
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    if folder != ROOT / "simclr_tf":
        assert re.search(r"\bin:", text, re.I) and re.search(r"\bout:", text, re.I)
        assert "import" in text


@pytest.mark.parametrize("path", ALL, ids=label)
def test_files_and_lines_stay_short(path):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 320
    long = [line for line in lines if len(line) > 100 and not line.endswith("# fmt: skip")]
    assert not long


@pytest.mark.parametrize("path", SHIPPED, ids=label)
def test_functions_stay_short(path):
    tree = parse(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, node.name
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            assert len(node.args.args + node.args.kwonlyargs) <= 7, node.name


@pytest.mark.parametrize("path", SHIPPED, ids=label)
def test_public_things_have_docstrings(path):
    tree = parse(path)
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("path", SHIPPED, ids=label)
def test_flags_are_read_in_the_flags_room_only(path):
    names = {node.id for node in ast.walk(parse(path)) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(parse(path)) if isinstance(node, ast.Attribute)}
    assert "FLAGS" not in names


@pytest.mark.parametrize("path", SHIPPED, ids=label)
def test_no_unfinished_work_is_left(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("TODO", "FIXME", "XXX") if word in text]
