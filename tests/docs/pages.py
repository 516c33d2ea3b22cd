"""The pages for people, README.md and docs/*.md, cut into their blocks of code.

A comment in the line before a block says what a test may do with it:

    <!-- flags only: REASON -->   only the flags are checked, the command cannot run here
    <!-- plan only: REASON -->    run with --dry_run, which prints the plan
    <!-- not run: REASON -->      nothing but its syntax is checked
    <!-- benchmark -->            a measurement; its flags are checked
    <!-- needs NAME: REASON -->   run where this Python package is installed
"""

import pathlib
import re
import typing

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
_PAGES = [name for name in re.findall(r": ([\w-]+\.md)$", NAVIGATION, re.M)]
PAGES = ["README.md", *(f"docs/{name}" for name in _PAGES if (ROOT / "docs" / name).exists())]
"""All pages in reading order."""

BLOCK = re.compile(r"(?:<!-- ([^>]*?) -->\n)?```(\w*)\n(.*?)^```$", re.S | re.M)
NEEDS = ("needs jax", "needs torch", "needs tf2onnx", "needs onnxruntime")
MARKS = ("flags only", "plan only", "not run", "benchmark", "demo output", *NEEDS)


class Block(typing.NamedTuple):
    """language: sh, python or text. mark: one of MARKS or "". text: the code."""

    language: str
    mark: str
    text: str

    @property
    def commands(self):
        """Lines of a sh block, joined where they end in a backslash."""
        return self.text.replace("\\\n", " ").strip().splitlines()


def read(page):
    """The text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page):
    """The Blocks of a page."""
    return [
        Block(language, (mark or "").split(":")[0], text)
        for mark, language, text in BLOCK.findall(read(page))
    ]
