"""What `--output` of an embedding means."""

import dataclasses
import os

from simclr_tf.embedding import tables
from simclr_tf.runs.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class Output:
    """What `--output` means: a folder for everything, or one file.

    Attributes:
        folder: RunFolder that holds the finished parts (for one file: beside it, removed at last).
        files: {suffix: path}.
        quarantine: path of the list of images that could not be used.
        pictures: whether the projector, the sheet and the list of duplicates are made.
    """

    folder: RunFolder
    files: dict
    quarantine: str
    pictures: bool

    @classmethod
    def of(cls, path):
        """The output of a path.

        Raises:
            SettingsError: it needs pyarrow, which is not installed.
        """
        path = os.path.expanduser(path)
        if not path.endswith(".npz"):
            tables.check_parquet()
        for suffix in tables.SUFFIXES:
            if path.endswith(suffix):
                folder = RunFolder(path + ".unfinished", "--output")
                return cls(folder, {suffix: path}, path + ".quarantine.txt", False)
        files = {suffix: os.path.join(path, "embeddings" + suffix) for suffix in tables.SUFFIXES}
        return cls(RunFolder(path, "--output"), files, os.path.join(path, "quarantine.txt"), True)
