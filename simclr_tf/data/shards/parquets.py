"""Parquet files as Hugging Face writes image data sets.

The images are a column of structs with `bytes` and `path`, or of bytes. Rows are read by row group,
of which only that column. The label column is read when the index is built.
"""

import functools
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from simclr_tf import names
from simclr_tf.data.shards import opening
from simclr_tf.data.shards.entry import MOST_LABEL, MOST_TEXT, UNLABELLED, Labels, int64
from simclr_tf.errors import DataError, first_line
from simclr_tf.stack import tf

IMAGES = ("image", "img", "jpg", "png", "webp")
LABEL = "label"
MOST_GROUP = 2**31  # bytes of a row group's images, which are read together
ERRORS = (pa.ArrowException, OSError, tf.errors.OpError)


def index(path, size, keys):
    """{name: value} of what an entry.Shard says of the rows of a Parquet file.

    Raises:
        DataError: the file is damaged, or has no such column.
    """
    del size  # pyarrow compares with it
    try:
        with opening.opened(path) as source:
            file = pq.ParquetFile(source)
            column = _image_column(path, file.schema_arrow, keys.image)
            label = _label_column(path, file.schema_arrow, keys.label)
            counts, lengths = _groups(path, file.metadata, column)
            labels, texts = _labels(file, label)
            class_names = _class_names(file.schema_arrow, label)
    except ERRORS as error:
        raise DataError(
            f"{path} is a damaged Parquet file ({first_line(error)}); copy it again, or leave it out "
            "of --shards."
        ) from error
    rows = int(counts.sum())
    if labels is None:
        labels = np.full(rows, UNLABELLED, np.int64)
    if len(labels) != rows:
        raise DataError(f"{path} is damaged: {rows:,} rows, {len(labels):,} labels; copy it again.")
    return dict(
        offsets=np.arange(rows, dtype=np.int64),
        lengths=np.repeat(lengths, counts),
        labels=labels,
        texts=texts,
        class_names=class_names,
        groups=int64(np.cumsum(counts) - counts),
        column=column,
    )


def _holds_images(kind):
    """Whether a column of this type can hold encoded images."""
    if pa.types.is_struct(kind):
        fields = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
        return "bytes" in fields and _is_bytes(fields["bytes"])
    return _is_bytes(kind)


def _is_bytes(kind):
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _image_column(path, schema, wanted):
    able = [field.name for field in schema if _holds_images(field.type)]
    if wanted:
        if wanted in able:
            return wanted
    else:
        usual = [name for name in IMAGES if name in able]
        if usual or len(able) == 1:
            return (usual or able)[0]
    columns = ", ".join(f"{field.name} ({field.type})" for field in list(schema)[:10])
    asked = f"no images in shard_image_key={wanted}" if wanted else "no column of images that is certain"  # fmt: skip
    raise DataError(
        f"{path} has {asked}; its columns are {names.shown(columns)}: name one of bytes, or of "
        "structs with bytes and path, by --shard_image_key."
    )


def _label_column(path, schema, wanted):
    """The name of the label column, "" for none."""
    name = wanted or LABEL
    place = schema.get_field_index(name)
    if place >= 0 and _is_label(schema.field(place).type):
        return name
    if wanted:
        columns = ", ".join(field.name for field in schema if _is_label(field.type))
        raise DataError(
            f"{path} has no labels in shard_label_key={wanted}; its columns of numbers and texts "
            f"are {names.shown(columns) or 'none'}."
        )
    return ""


def _is_label(kind):
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _groups(path, metadata, column):
    """(rows of each row group, bytes of a row in each on average), both int64 [g]."""
    counts = []
    lengths = []
    for group in range(metadata.num_row_groups):
        about = metadata.row_group(group)
        chunks = [about.column(place) for place in range(about.num_columns)]
        mine = [c for c in chunks if c.path_in_schema.split(".")[0] == column.split(".")[0]]
        size = sum(max(0, chunk.total_uncompressed_size) for chunk in mine)
        if size > MOST_GROUP:
            raise DataError(
                f"{path} has a row group with {size:,} bytes of images, which are read together; "
                f"write it again with row groups below {MOST_GROUP:,} bytes (row_group_size of "
                "pyarrow.parquet.write_table)."
            )
        counts.append(about.num_rows)
        lengths.append(size // max(about.num_rows, 1))
    return int64(counts), int64(lengths)


def _labels(file, column):
    """(int64 [n] or None, texts)."""
    if not column:
        return None, ()
    kind = file.schema_arrow.field(column).type
    if pa.types.is_integer(kind):
        found = [np.zeros(0, np.int64)]
        for batch in file.iter_batches(columns=[column]):
            values = batch.column(0)
            if not pa.types.is_signed_integer(kind) and kind.bit_width == 64:
                values = pyarrow.compute.min_element_wise(values, MOST_LABEL + 1)
            found.append(values.cast(pa.int64()).fill_null(UNLABELLED).to_numpy(zero_copy_only=False))  # fmt: skip
        return np.concatenate(found), ()
    labels = Labels()
    for batch in file.iter_batches(columns=[column]):
        for value in batch.column(0).to_pylist():
            labels.add(value)
    return labels.found()


def _class_names(schema, label):
    """The class names that Hugging Face stores in the schema, () without."""
    try:
        stored = json.loads((schema.metadata or {}).get(b"huggingface", b"null"))
        found = stored["info"]["features"][label]["names"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return ()
    right = isinstance(found, list) and len(found) <= MOST_LABEL + 1
    if not right or not all(isinstance(name, str) for name in found):
        return ()
    return tuple(name[:MOST_TEXT] for name in found)


@functools.lru_cache(maxsize=64)
def _metadata(path, size, mtime):
    """The footer of a file, which may be large; size and mtime tell a changed one."""
    del size, mtime
    with opening.opened(path) as source:
        return pq.read_metadata(source)


def read(shard, rows):
    """The images of some rows of a shard (ascending), list of bytes; b"" where there is none."""
    rows = np.asarray(rows)
    groups = np.searchsorted(shard.groups, rows, side="right") - 1
    found = []
    try:
        with opening.opened(shard.path) as source:
            metadata = _metadata(shard.path, shard.size, shard.mtime)
            file = pq.ParquetFile(source, metadata=metadata, pre_buffer=False)
            for group in np.unique(groups):
                inside = rows[groups == group] - shard.groups[group]
                found += _of_group(file, int(group), inside, shard.column)
    except ERRORS:
        found += [b""] * (len(rows) - len(found))
    return found


def _of_group(file, group, inside, column):
    try:
        values = file.read_row_group(group, columns=[column], use_threads=False).column(column)
        values = values.take(pa.array(inside))
        kind = values.type
    except ERRORS:
        return [b""] * len(inside)
    found = values.to_pylist()
    if pa.types.is_struct(kind):
        found = [one and one.get("bytes") for one in found]
    return [one or b"" for one in found]


def why_unreadable(shard, row):
    """Why `read` gave b"" for a row."""
    group = int(np.searchsorted(shard.groups, row, side="right") - 1)
    try:
        with opening.opened(shard.path) as source:
            pq.ParquetFile(source).read_row_group(group, columns=[shard.column])
    except ERRORS as error:
        return f"its row group is damaged: {first_line(error)}"
    return f"the column {shard.column} has no bytes in this row (a path alone is not followed)"
