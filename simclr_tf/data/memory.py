"""Images that a Python program passes: arrays, lists of arrays or of paths, a tf.data.Dataset.

Settings are text, so images in memory get an address, such as memory://0123456789abcdef, which
stands for them wherever a folder may: `image_dir`. The digits are a hash of their contents, so a
run folder that holds the address can only go on with the same images. An address is known as long
as somebody keeps the `MemoryImages` alive.
"""

import collections.abc
import dataclasses
import hashlib
import io
import os
import weakref
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

import numpy as np

from simclr_tf.config import Data
from simclr_tf.data import stacks, tiff
from simclr_tf.data.holdout import held_out, share_of
from simclr_tf.data.info import Facts, SourceInfo, fingerprint_of
from simclr_tf.errors import DataError
from simclr_tf.names import counted

if TYPE_CHECKING:
    from simclr_tf.data.source import Source

PREFIX = "memory://"
ALLOWED = "uint8 or uint16, or float in [0, 1], of shape [n, h, w, c] or [n, h, w]"
_known: "weakref.WeakValueDictionary[str, MemoryImages]" = weakref.WeakValueDictionary()


def is_address(image_dir: str) -> bool:
    """Whether a setting `image_dir` stands for images in memory."""
    return image_dir.startswith(PREFIX)


def find(address: str) -> "MemoryImages":
    """The MemoryImages of an address.

    Raises:
        DataError: nobody in this process holds them any more.
    """
    found = _known.get(address)
    if found is None:
        raise DataError(
            f"the images were passed to Python in memory ({address}), so no file holds them; pass "
            "the same images and labels again as arguments of the Python function, or name others "
            "with --image_dir or --dataset."
        )
    return found


def as_images(images: Any, labels: Any = None) -> "MemoryImages":
    """Checks images and their labels and gives them an address.

    Args:
        images: array [n, h, w, c] or [n, h, w] (see ALLOWED), c up to 16; or a list of such
            arrays [h, w, c] or [h, w] of any sizes; or a list of paths of image files, or of encoded
            images (bytes); or a finite tf.data.Dataset of images, of (image, label) or of
            {"image", "label"}, batched or not, which is read once and kept in memory.
        labels: int [n] from 0 (-1: no label), or n class names; None for none. Of a data set they
            may be its own.
    Returns:
        MemoryImages.
    Raises:
        DataError: anything that cannot be used.
    """
    if hasattr(images, "element_spec"):
        images, own = _read(images)
        labels = own if labels is None else labels
    if isinstance(images, collections.abc.Sequence) and not isinstance(images, (str, bytes)):
        made = _listed(list(images))
    else:
        made = np.ascontiguousarray(_checked(images))
    labels, class_names = _labelled(labels, len(made))
    found = MemoryImages(made, labels, class_names)
    return _known.setdefault(found.address, found)


@dataclasses.dataclass(frozen=True, eq=False)
class MemoryImages:
    """Images in memory with an address.

    Attributes:
        images: uint8 [n, h, w, c], or a list of encoded images (bytes) or of paths (str).
        labels: int32 [n], -1 without.
        class_names: tuple of str; () without labels.
    """

    images: Any
    labels: np.ndarray
    class_names: Tuple[str, ...]
    fingerprint: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", self._hash())

    @property
    def address(self) -> str:
        """What stands for the images in the setting `image_dir`."""
        return PREFIX + self.fingerprint

    @property
    def name(self) -> str:
        """What plans, results and errors call the images."""
        return f"{counted(len(self.images), 'image')} in memory"

    @property
    def channels(self) -> int:
        """c of the images; 3 is RGB."""
        if isinstance(self.images, np.ndarray):
            return self.images.shape[-1]
        if isinstance(self.images[0], str):
            return stacks.common_channels(self.images)
        head = self.images[0][: stacks.MOST_HEAD]
        if tiff.is_tiff(head):
            return tiff.channels_of(self.images[0])
        return stacks.layout_of(head).shape[2] if stacks.is_stack(head) else stacks.RGB

    @property
    def side(self) -> Optional[int]:
        """The longer side in pixels of images of one size, else None."""
        return max(self.images.shape[1:3]) if isinstance(self.images, np.ndarray) else None

    def names(self, start: int, stop: int) -> List[str]:
        """Paths, or positions as text, of the images from `start` to before `stop`."""
        files = isinstance(self.images, list) and isinstance(self.images[0], str)
        return self.images[start:stop] if files else [str(at) for at in range(start, stop)]

    def source(self) -> "Source":
        """A `Source` of all of them, in their order.

        Raises:
            DataError: the array was changed since it was passed.
        """
        from simclr_tf.data.source import ArraySource, BytesSource, FileSource

        if isinstance(self.images, np.ndarray) and self._hash() != self.fingerprint:
            raise DataError(
                f"the array of {self.address} was changed after it was passed; pass a copy of it "
                "(images.copy()), or pass it again."
            )
        facts = Facts(
            name=self.name,
            num_examples=len(self.images),
            class_names=self.class_names,
            fingerprint=self.fingerprint,
            channels=self.channels,
        )
        if isinstance(self.images, np.ndarray):
            facts = dataclasses.replace(facts, image_shape=self.images.shape[1:])
            return ArraySource(facts, self.images, self.labels)
        if isinstance(self.images[0], str):
            return FileSource(facts, [os.fsencode(path) for path in self.images], self.labels)
        return BytesSource(facts, self.images, self.labels)

    def _hash(self) -> str:
        """Of contents, labels and class names; of files their paths stand for their contents."""
        digest = hashlib.sha256()
        if isinstance(self.images, np.ndarray):
            digest.update(str(self.images.shape).encode())
            digest.update(self.images.data)
        else:
            for one in self.images:
                one = os.fsencode(one) if isinstance(one, str) else one
                digest.update(b"%d:" % len(one) + one)
        digest.update(self.labels.tobytes() + "\0".join(self.class_names).encode())
        return digest.hexdigest()[:16]


class MemorySet:
    """Images in memory and how they are split: `data.eval_fraction` is held out by seed."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._all = find(data.image_dir)
        self.name = self._all.name
        if data.eval_split or data.train_split != "train":
            raise DataError(
                f"{self.name} have no splits; leave out --train_split and --eval_split to hold "
                "out --eval_fraction."
            )

    def _held_out(self) -> np.ndarray:
        return held_out(self._all.labels, self._data.eval_fraction, self._data.split_seed)

    def info(self) -> SourceInfo:
        """`SourceInfo`; see `sources.describe`."""
        out = self._held_out()
        labels = self._all.labels
        class_names = self._all.class_names
        share = share_of(self._data.eval_fraction, bool(class_names))
        sizes = np.bincount(labels[~out] + 1, minlength=len(class_names) + 1)[1:]
        unlabelled = int((labels < 0).sum()) if class_names else 0
        return SourceInfo(
            name=self.name,
            num_train=int((~out).sum()),
            num_eval=int(out.sum()),
            num_classes=len(class_names),
            train_split="all but the held-out share" if out.any() else "all images",
            eval_split=f"{share:g} of the images" if share else "none",
            prepared=True,
            fingerprint=fingerprint_of(self._all.fingerprint, out.tobytes().hex()),
            channels=self._all.channels,
            classes=tuple(zip(class_names, sizes.tolist())),
            unlabelled_eval=f"{unlabelled:,} of {self.name} have no label" if unlabelled else "",
            held_out=self._held_out_in_words(int(out.sum()), len(out)),
        )

    def _held_out_in_words(self, count: int, total: int) -> str:
        if count:
            return f"{count:,} of {total:,} images to measure on"
        if self._all.class_names:
            return "nothing"
        return "nothing: without labels every image trains"

    def open(self, which: str) -> "Source":
        """A `Source`; see `sources.open_source`."""
        from simclr_tf.data.subset import subset

        out = self._held_out()
        return subset(self._all.source(), np.flatnonzero(out == (which == "eval")))


def _checked(images: Any) -> np.ndarray:
    """uint8 [n, h, w, c] of an array of images."""
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4 or not array.size or array.shape[-1] > stacks.MOST_CHANNELS:
        raise DataError(
            f"images of shape {list(np.shape(images))} cannot be used; give {ALLOWED}, with c up "
            f"to {stacks.MOST_CHANNELS} as the last axis."
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind != "f":
        raise DataError(f"images of type {array.dtype} cannot be used; give {ALLOWED}.")
    if not ((array >= 0) & (array <= 1)).all():  # NaN is neither
        raise DataError(
            f"images of type {array.dtype} hold values from {array.min():.4g} to "
            f"{array.max():.4g}; give {ALLOWED}, so divide by 255 or scale them."
        )
    return np.rint(array * np.float32(255)).astype(np.uint8)


def _listed(images: List[Any]) -> Any:
    """An array where a list holds images of one size, else a list of paths or encoded images."""
    if not images:
        raise DataError("the list of images is empty; give at least one.")
    if all(isinstance(one, (str, os.PathLike)) for one in images):
        paths = [os.path.expanduser(os.fspath(one)) for one in images]
        missing = [path for path in paths if "://" not in path and not os.path.isfile(path)]
        if missing:
            raise DataError(f"{missing[0]} is no file; give a list of paths of image files.")
        return paths
    if all(isinstance(one, bytes) for one in images):
        return images
    if any(isinstance(one, (str, bytes, os.PathLike)) for one in images):
        raise DataError("the list holds paths and other things; give paths only, or arrays only.")
    arrays = [_checked(np.asarray(one)[np.newaxis])[0] for one in images]
    channels = {one.shape[-1] for one in arrays}
    if len(channels) > 1:
        raise DataError(
            f"the images have {' and '.join(map(str, sorted(channels)))} channels; give images "
            "with the same number of them."
        )
    if len({one.shape for one in arrays}) == 1:
        return np.stack(arrays)
    return [_encoded(one) for one in arrays]


def _encoded(image: np.ndarray) -> bytes:
    """The bytes of a .npy file, which keep every channel as it is."""
    content = io.BytesIO()
    np.save(content, image, allow_pickle=False)
    return content.getvalue()


def _read(dataset: Any) -> Tuple[List[Any], Optional[List[Any]]]:
    """(list of images, labels or None) of a tf.data.Dataset."""
    from simclr_tf.stack import tf

    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DataError("the data set has no end; give a finite one, such as dataset.take(10000).")
    spec = dataset.element_spec
    image_key, label_key = _keys(spec)
    if (spec if image_key is None else spec[image_key]).shape.rank == 4:
        dataset = dataset.unbatch()
    images = []
    labels = []
    for element in dataset.as_numpy_iterator():
        images.append(element if image_key is None else element[image_key])
        if label_key is not None:
            labels.append(element[label_key])
    return images, labels or None


def _keys(spec: Any) -> Tuple[Any, Any]:
    """Where image and label are in the elements of a data set; None where there is none."""
    if isinstance(spec, dict) and "image" in spec:
        return "image", "label" if "label" in spec else None
    if isinstance(spec, tuple) and len(spec) in (1, 2):
        return 0, 1 if len(spec) == 2 else None
    if hasattr(spec, "shape"):
        return None, None
    raise DataError(
        f'the data set gives {spec}; give images, (image, label), or {{"image", "label"}}.'
    )


def _labelled(labels: Any, count: int) -> Tuple[np.ndarray, Tuple[str, ...]]:
    """(int32 [n], class names) of labels as they were given."""
    if labels is None:
        return np.full(count, -1, np.int32), ()
    array = np.asarray(labels)
    if array.shape != (count,):
        raise DataError(f"labels have the shape {list(array.shape)}; give {count}, one per image.")
    if array.dtype.kind in "US":
        names, numbers = np.unique(array.astype(str), return_inverse=True)
        return numbers.astype(np.int32), tuple(str(name) for name in names)
    if array.dtype.kind not in "iu" or array.min() < -1:
        raise DataError(
            f"labels of type {array.dtype} from {array.min()} cannot be used; give class numbers "
            "from 0 (-1: no label), or names."
        )
    classes = int(array.max()) + 1
    return array.astype(np.int32), tuple(str(number) for number in range(classes))
