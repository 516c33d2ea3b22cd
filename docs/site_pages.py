"""The generated pages of the site: start page, changelog, presets, settings and library.

MkDocs calls the functions `on_...` (see `hooks` in mkdocs.yml). The pages are made at every
build from README.md, CHANGELOG.md, the presets, `simclr_tf.config.MODES` and the docstrings, so
they cannot be out of date. No file is written into docs/, and TensorFlow is not needed.
"""

import ast
import pathlib
import re
import sys

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from simclr_tf.flags import preset_files  # noqa: E402
from simclr_tf.flags.help import basic_settings  # noqa: E402

import simclr_tf  # noqa: E402
from simclr_tf import config as settings  # noqa: E402

# links of README.md -> pages and files of the site
MOVED = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
COPIED = ("LICENSE", "CITATION.cff")

# title, words below it, where the names live; a name goes to the longest home that fits
GROUPS = (
    ("One call, one task", "Each runs the same code as its mode.", ("simclr_tf.library",)),
    ("A trained encoder", "", ("simclr_tf.library.trained",)),
    ("Losses", "", ("simclr_tf.losses",)),
    ("Networks", "", ("simclr_tf.models",)),
    ("Optimizers and schedules", "", ("simclr_tf.optimizers",)),
    ("Errors", "Each is one sentence for a person, and an exit code.", ("simclr_tf.errors",)),
    ("More", "", ("simclr_tf",)),
)
SETTINGS_HOME = "simclr_tf.config"


def on_config(config):
    """Puts the pages of settings into the navigation."""
    pages = [{name: f"reference/settings/{name}.md"} for name in settings.MODES]
    for section in config.nav:
        for entry in section.get("Reference", []):
            if "Settings" in entry:
                entry["Settings"] = ["reference/settings/index.md", *pages]
    return config


def on_files(files, config):
    """Adds the generated pages to the files of the site."""
    pages = {
        "index.md": start_page(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "reference/presets.md": presets_page(),
        "reference/library.md": library_page(),
        "reference/modules.md": modules_page(),
        "reference/settings/index.md": settings_index(),
    }
    for mode in settings.MODES.values():
        pages[f"reference/settings/{mode.name}.md"] = settings_page(mode)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for name in COPIED:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown, **kwargs):
    """Turns links to README.md, which is the start page of the site."""
    return markdown.replace("](../README.md", "](index.md")


def start_page():
    """README.md with its links turned to the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    def turned(match):
        target = match[1].removeprefix("docs/")
        return f"]({MOVED.get(target, target)})"

    return re.sub(r"\]\((?!https?:|#)([^)]+)\)", turned, text)


def presets_page():
    """All presets, with their comments and flags."""
    parts = [
        "# Presets",
        "A preset is a file of flags. `--preset=NAME` loads it, and flags on the command line win. "
        "`--preset=none` loads none, also where one would be chosen for you.",
    ]
    for name in preset_files.preset_names():
        lines = (preset_files.FOLDER / f"{name}.flags").read_text(encoding="utf-8").splitlines()
        words = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
        flags = "\n".join(line for line in lines if line and not line.startswith("#"))
        parts.append(f"## {name}\n\n{words}\n\n```text\n{flags}\n```")
    return "\n\n".join(parts) + "\n"


def settings_index():
    """The modes, each with a link to its page of settings."""
    rows = [
        f"| [`{mode.name}`]({mode.name}.md) | {mode.summary} |" for mode in settings.MODES.values()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Every setting is a flag of the command line (`--temperature=0.5`) and a keyword of the "
            "library (`temperature=0.5`). A switch is turned off by `--noflip` or `--flip=False`.",
            "",
            "| mode | what it does |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def settings_page(mode):
    """The settings of a mode, grouped as in `simclr_tf.config`."""
    parts = [f"# {mode.name}", mode.summary]
    if mode.required:
        parts.append("Required: " + ", ".join(f"`--{name}`" for name in mode.required) + ".")
    words = "`--help` shows the settings in bold, `--helpfull` all."
    if any(settings.fields_of(mode.config)[name][1].metadata["free"] for name in mode.settings):
        words += " A run that is continued may change those marked \\*."
    parts.append(words)
    known = settings.fields_of(mode.config)
    described = settings.sections(mode.config)
    basic = basic_settings(mode.name)
    shown = {}
    for name in mode.settings:
        section, field = known[name]
        shown.setdefault(section, []).append(field)
    for section, fields in shown.items():
        parts.append(f"## {described[section].__doc__.splitlines()[0].rstrip('.')}")
        rows = [setting_row(field, field.name in basic) for field in fields]
        head = "| setting | type | default | what it does |\n|---|---|---|---|\n"
        parts.append(head + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def setting_row(field, basic):
    """One row of a table of settings; the name is bold if `--help` shows it."""
    default = field.default
    value = f"{default:.4g}" if isinstance(default, float) else str(default)
    limits = settings.describe_limits(field.metadata)
    words = field.metadata["help"] + (f" Allowed: {limits}." if limits else "")
    words = words.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    mark = "\\*" if field.metadata["free"] else ""
    shown = f"`{value}`" if value else "empty"
    name = f"**`{field.name}`**" if basic else f"`{field.name}`"
    return f"| {name}{mark} | {type(default).__name__} | {shown} | {words} |"


def modules_page():
    """Every room of the code with its docstring, and the first line of every module's."""
    parts = [
        "# Modules",
        "The code, room by room, for [contributors](../contributing.md). The docstrings are the "
        "modules' own.",
    ]
    packages = sorted((ROOT / "simclr_tf").rglob("__init__.py"))
    for start in [*packages, ROOT / "flags" / "__init__.py", ROOT / "export" / "__init__.py"]:
        folder = start.parent
        parts.append(f"## {folder.relative_to(ROOT)}\n\n{docstring(start)}")
        rows = [
            f"| `{path.stem}` | {docstring(path).splitlines()[0]} |"
            for path in sorted(folder.glob("*.py"))
            if path != start
        ]
        if rows:
            parts.append("| module | what it is |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def docstring(path):
    """The docstring of a Python file."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem


def library_page():
    """The public names of `simclr_tf`, from their docstrings."""
    groups = {title: [] for title, _, _ in GROUPS}
    configs = []
    first = ["pretrain", "load", *settings.MODES]
    order = sorted(simclr_tf._HOMES, key=lambda name: (*first, name).index(name))
    for name in order:
        home = simclr_tf._HOMES[name]
        if home.startswith(SETTINGS_HOME):
            configs.append(f"`{name}`")
        else:
            fitting = [
                (len(room), title)
                for title, _, homes in GROUPS
                for room in homes
                if home.startswith(room)
            ]
            group = groups[max(fitting)[1]]
            group.append(f"::: {home}.{name}")
            if home.startswith("simclr_tf.library") and name in settings.MODES:
                group.append(f"Keywords: [the settings of `{name}`](settings/{name}.md).")
    parts = [
        "# Library",
        "`import simclr_tf` offers these names. Each is imported when it is first used, so the "
        "import itself is quick and needs no TensorFlow. [In your own Python](../library.md) shows "
        "how they are used.",
    ]
    for title, words, _ in GROUPS:
        if groups[title]:
            parts += [f"## {title}", words, *groups[title]]
    parts += [
        "## Settings",
        f"{', '.join(configs)} hold all settings of a mode, with their defaults. "
        "[Settings](settings/index.md) lists them.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
