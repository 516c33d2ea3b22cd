"""What a function of the library may be given as images, as settings of a mode."""

import dataclasses
import os
from typing import Any, Dict, Optional

from simclr_tf.config import places_in
from simclr_tf.data import memory
from simclr_tf.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class GivenImages:
    """Images that a function was given.

    Attributes:
        settings: those of config.Data that name them, {} where none were given.
        held: the images in memory, which must stay alive while they are used, or None.
    """

    settings: Dict[str, str]
    held: Optional[memory.MemoryImages] = None


def given_images(images: Any, labels: Any = None, settings: Any = ()) -> GivenImages:
    """Finds out what images are meant.

    Args:
        images: None, a folder (of that path, or os.PathLike), several folders with commas between
            them, a text or CSV file of paths, a name of tensorflow-datasets, "digits", or what `memory.as_images` takes.
        labels: of images in memory only, see `memory.as_images`.
        settings: names of the other settings that were given.
    Raises:
        SettingsError: the same images are asked for twice, or labels are given for files.
        DataError: images in memory that cannot be used.
    """
    if images is None:
        if labels is not None:
            raise SettingsError("labels are given without images; give both.")
        return GivenImages({})
    twice = [name for name in ("image_dir", "dataset", "shards") if name in settings]
    if twice:
        raise SettingsError(f"images and {twice[0]} are both given; leave one of them out.")
    if not isinstance(images, (str, os.PathLike)):
        held = memory.as_images(images, labels)
        return GivenImages({"image_dir": held.address}, held)
    if labels is not None:
        raise SettingsError(
            f"labels are given with images={os.fspath(images)!r}; they go with arrays and lists. "
            "A folder has one folder per class instead."
        )
    path = os.path.expanduser(os.fspath(images))
    looks_like_folder = path.startswith((".", os.sep)) or "://" in path
    is_there = all(map(os.path.exists, places_in(path)))  # a folder, several, or a list of paths
    if isinstance(images, os.PathLike) or looks_like_folder or is_there:
        return GivenImages({"image_dir": path})
    return GivenImages({"dataset": path})
