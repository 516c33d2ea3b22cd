"""The generated pages of the site: start page, changelog, presets, settings and library.

MkDocs calls `on_config` and `on_files` (see `hooks` in mkdocs.yml). The pages are made at every
build from README.md, CHANGELOG.md, the presets, `simclr_tf.config.MODES` and the public names of
`simclr_tf`, so they cannot be out of date. No file is written into docs/. TensorFlow is not needed.
"""

import pathlib
import re
import sys

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from simclr_tf.flags import preset_files  # noqa: E402

import simclr_tf  # noqa: E402
from simclr_tf import config as settings  # noqa: E402

# links of README.md -> pages and files of the site
MOVED = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
COPIED = ("LICENSE", "CITATION.cff")

GROUPS = (
    ("One call, one task", "The same code as the command line.", ("simclr_tf.library",)),
    ("A trained encoder", "What `simclr_tf.load` returns.", ("simclr_tf.trained",)),
    ("Losses", "", ("simclr_tf.losses",)),
    ("Networks", "", ("simclr_tf.models",)),
    ("Optimizers and schedules", "", ("simclr_tf.optimizers",)),
    ("Views and runs", "", ("simclr_tf.views", "simclr_tf.training", "simclr_tf.runs")),
    ("Errors", "Each is one sentence for a person, and an exit code.", ("simclr_tf.errors",)),
)


def on_config(config):
    """Puts the pages of settings into the navigation."""
    pages = [{f"--mode={name}": f"reference/settings/{name}.md"} for name in settings.MODES]
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
        "reference/settings/index.md": settings_index(),
    }
    for mode in settings.MODES.values():
        pages[f"reference/settings/{mode.name}.md"] = settings_page(mode)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for name in COPIED:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


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
    parts = [f"# --mode={mode.name}", mode.summary]
    if mode.required:
        parts.append("Required: " + ", ".join(f"`--{name}`" for name in mode.required) + ".")
    if any(settings.fields_of(mode.config)[name][1].metadata["free"] for name in mode.settings):
        parts.append("A run that is continued may change the settings marked \\*.")
    known = settings.fields_of(mode.config)
    described = settings.sections(mode.config)
    shown = {}
    for name in mode.settings:
        section, field = known[name]
        shown.setdefault(section, []).append(field)
    for section, fields in shown.items():
        parts.append(f"## {described[section].__doc__.splitlines()[0].rstrip('.')}")
        rows = [setting_row(field) for field in fields]
        head = "| setting | type | default | what it does |\n|---|---|---|---|\n"
        parts.append(head + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def setting_row(field):
    """One row of a table of settings."""
    default = field.default
    value = f"{default:.4g}" if isinstance(default, float) else str(default)
    limits = settings.describe_limits(field.metadata)
    words = field.metadata["help"] + (f" Allowed: {limits}." if limits else "")
    words = words.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    mark = "\\*" if field.metadata["free"] else ""
    shown = f"`{value}`" if value else "empty"
    return f"| `{field.name}`{mark} | {type(default).__name__} | {shown} | {words} |"


def library_page():
    """The public names of `simclr_tf`, from their docstrings."""
    homes = dict(simclr_tf._HOMES)
    parts = [
        "# Library",
        "`import simclr_tf` offers these names. Each is imported when it is first used, so the "
        "import itself is quick and needs no TensorFlow. [In your own Python](../library.md) shows "
        "how they are used.",
    ]
    for title, words, rooms in GROUPS:
        names = [name for name, home in homes.items() if home.startswith(rooms)]
        if names:
            parts += [f"## {title}", words]
            parts += [f"::: {homes.pop(name)}.{name}" for name in names]
    configs = [name for name, home in homes.items() if home.startswith("simclr_tf.config")]
    if configs:
        listed = ", ".join(f"`{name}`" for name in configs)
        parts += ["## Settings", f"{listed} hold all settings of a mode, with their defaults. "]
        parts[-1] += "[Settings](settings/index.md) lists them."
    left = sorted(set(homes) - set(configs))
    if left:
        raise ValueError(f"docs/site_pages.py has no group for {left}; add their rooms to GROUPS.")
    return "\n\n".join(part for part in parts if part) + "\n"
