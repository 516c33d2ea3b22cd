"""Names of files and classes as people may see them: on a terminal, in a list, in a table.

A file may be called anything: its name may hold line breaks, escape sequences of a terminal, bytes
that are no UTF-8, or a formula for a spreadsheet. Every name that is printed or written as text
goes through one of these functions. Standard library only.
"""

import re

# C0 and C1 controls; marks that turn the direction of writing; separators of lines; surrogates
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FORMULA = ("=", "+", "-", "@")


def shown(name):
    """A name in one line that any terminal and any text file can hold.

    Control characters, line breaks, marks of writing direction and bytes that are no UTF-8 become
    escapes such as \\n, \\x1b and \\xe9; everything else stays, so a second call changes nothing.

    Args:
        name: str (with surrogate escapes, as Python reads file names) or bytes.
    Returns:
        str that can be encoded as UTF-8.
    """
    return _UNSAFE.sub(_escape, as_text(name))


def as_text(name):
    """A name as valid Unicode: bytes that are no UTF-8 become escapes such as \\xe9."""
    if isinstance(name, str):
        try:
            name.encode("utf-8")
            return name
        except UnicodeEncodeError:
            name = name.encode("utf-8", "surrogateescape" if _is_of_the_system(name) else "replace")
    return name.decode("utf-8", "backslashreplace")


def _is_of_the_system(name):
    """Whether every surrogate stands for one byte of a file name."""
    return not re.search("[\ud800-\udc7f\udd00-\udfff]", name)


def cell(name):
    """A name for a cell of a CSV or TSV file: `shown`, and no spreadsheet takes it for a formula.

    Spreadsheets compute what begins with =, +, - or @; an apostrophe in front makes it a text.
    """
    text = shown(name)
    return f"'{text}" if text.startswith(_FORMULA) else text


def listing(names, most=5):
    """The first names in words: "cat, dog, bird and 7 more"; names: sequence of str or bytes."""
    first = ", ".join(shown(name) for name in names[:most])
    more = len(names) - most
    return f"{first} and {more:,} more" if more > 0 else first


def counted(number, noun):
    """A number of things in words: "1 image", "2,000 images"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _escape(match):
    letter = match[0]
    if letter in _SHORT:
        return _SHORT[letter]
    number = ord(letter)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
