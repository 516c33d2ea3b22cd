"""Docstrings as the reader of the site expects them: a blank line above each section.

Our docstrings leave it out to stay short; without it `Raises:` after `Args:` is plain text.
"""

import re

import griffe

SECTION = re.compile(r"(?<!\n)\n(Args|Attributes|Raises|Returns|Yields):\n")


class BlankLines(griffe.Extension):
    """Adds the blank lines to every docstring that is loaded."""

    def on_instance(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = SECTION.sub(r"\n\n\1:\n", obj.docstring.value)
