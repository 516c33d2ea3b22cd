"""Files that a reader never sees a part of."""

import io
import os

from simclr_tf.data import listing
from simclr_tf.errors import DataError
from simclr_tf.files import write_atomically
from simclr_tf.stack import tf


def make_folder_of(path):
    """Makes the folder of a path if it is missing; DataError if that cannot be."""
    try:
        if os.path.dirname(path):
            tf.io.gfile.makedirs(os.path.dirname(path))
    except tf.errors.OpError as error:
        raise _not_written(path, error) from error


def write_file(content, path):
    """Writes bytes to a path, whose folder is made if it is missing.

    Raises:
        DataError: it cannot be written.
    """
    make_folder_of(path)
    write_atomically(path, content)


def write_figure(figure, path):
    """Writes a matplotlib figure as PNG, marked as ours, so that it is never taken for an image."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": listing.MARK})
    write_file(content.getvalue(), path)


def _not_written(path, error):
    return DataError(f"cannot write {path} ({error.message}); make the folder writable.")
