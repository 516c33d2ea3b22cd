"""`--shards` -> paths: comma-separated patterns with braces and globs, and folders."""

import itertools
import os
import re

from simclr_tf import names
from simclr_tf.errors import DataError, first_line
from simclr_tf.files import check_regular
from simclr_tf.stack import tf

MOST_SHARDS = 1_000_000
SUFFIXES = (".tfrecord", ".tfrecords", ".parquet", ".tar")
"""What a shard is called in a folder; the first bytes tell the format."""
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_OF_TPU_USERS = re.compile(r".+-\d{5}-of-\d{5}")


def split_patterns(text):
    """The patterns of a setting: split at commas outside braces, list of str.

    Raises:
        DataError: a brace that is not closed.
    """
    parts = [""]
    depth = 0
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if depth < 0:
            break
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise DataError(
            f"shards={text} has a brace without its partner; write such as train-{{0000..0127}}.tar."
        )
    return [part.strip() for part in parts if part.strip()]


def braces_expanded(pattern):
    """{a,b} and {000..127} written out, an iterator of str; braces may be nested."""
    begin = pattern.find("{")
    if begin < 0:
        yield pattern
        return
    depth = 0
    for end in range(begin, len(pattern)):
        depth += (pattern[end] == "{") - (pattern[end] == "}")
        if not depth:
            break
    head, inner, tail = pattern[:begin], pattern[begin + 1 : end], pattern[end + 1 :]
    span = _RANGE.fullmatch(inner)
    if span:
        low, high = span.groups()
        choices = (str(number).zfill(len(low)) for number in range(int(low), int(high) + 1))
    else:
        choices = itertools.chain.from_iterable(map(braces_expanded, split_patterns(inner)))
    for choice in choices:
        for rest in braces_expanded(tail):
            yield head + choice + rest


def shard_paths(text, flag="shards"):
    """The files of a setting, sorted, each once.

    Args:
        text: comma-separated patterns; of a folder every file that is called like a shard.
        flag: name of the setting.
    Returns:
        list of str.
    Raises:
        DataError: a pattern without a file, or with more than MOST_SHARDS.
    """
    found = set()
    for pattern in split_patterns(text):
        written_out = list(itertools.islice(braces_expanded(pattern), MOST_SHARDS + 1))
        if len(written_out) > MOST_SHARDS:
            raise DataError(
                f"{flag}={pattern} stands for more than {MOST_SHARDS:,} files; give fewer, larger "
                "shards."
            )
        for path in written_out:
            found.update(_files_of(path, flag))
    if len(found) > MOST_SHARDS:
        raise DataError(f"{flag}={text} names {len(found):,} files; give at most {MOST_SHARDS:,}.")
    for path in found:
        check_regular(path)
    return sorted(found)


def _files_of(path, flag):
    """The files of one pattern without braces."""
    try:
        if tf.io.gfile.isdir(path):
            return _in_folder(path, flag)
        if tf.io.gfile.exists(path):
            return [path]
        found = [one for one in tf.io.gfile.glob(path) if not tf.io.gfile.isdir(one)]
    except tf.errors.OpError as error:
        raise DataError(f"{flag}={path} cannot be listed ({first_line(error)}); check it.") from error  # fmt: skip
    if not found:
        raise DataError(
            f"{flag}={path} names no file; check the spelling, and quote patterns so that the shell "
            "leaves them as they are."
        )
    return found


def _in_folder(folder, flag):
    inside = [name for name in tf.io.gfile.listdir(folder) if not name.endswith("/")]
    found = [
        os.path.join(folder, name)
        for name in inside
        if name.lower().endswith(SUFFIXES) or _OF_TPU_USERS.fullmatch(name)
    ]
    found = [path for path in found if not tf.io.gfile.isdir(path)]
    if not found:
        raise DataError(
            f"{flag}={names.shown(folder)} is a folder without shards ({', '.join(SUFFIXES)}); give "
            "a pattern such as FOLDER/train-*, or --image_dir for a folder of images."
        )
    return found
