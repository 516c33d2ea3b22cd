"""Which images."""

import dataclasses
import shlex

from simclr_tf.config.fields import PATH, PATTERNS, PLACES, Section, setting
from simclr_tf.errors import SettingsError

# which images a run uses: the fingerprint of the images says whether they are the same, however
# these are written
CHOOSES_IMAGES = frozenset(
    ["dataset", "image_dir", "train_split", "eval_split", "eval_fraction", "split_seed"]
    + ["follow_links", "image_formats"]
    + ["follow_links", "shards", "eval_shards"]
    + ["shard_image_key", "shard_label_key", "shard_label_offset"]
)


def parse_value_range(text):
    """(least, most) of a setting such as "0,4095".

    Raises:
        SettingsError: not two numbers, the second greater than the first.
    """
    try:
        low, high = (float(part) for part in text.split(","))
        usable = low < high and abs(low) < float("inf") and high < float("inf")
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"value_range={text} is not allowed: give auto, or two numbers LO,HI with LO below HI, such as 0,4095.")  # fmt: skip
    return low, high


@dataclasses.dataclass(frozen=True)
class Data(Section):
    """Which images."""

    dataset: str = setting("digits", "A tensorflow-datasets name, such as cifar10 or name/config; or digits: the handwritten digits of scikit-learn, which need no download.", basic=True)  # fmt: skip
    data_dir: str = setting("", "Folder of prepared tensorflow-datasets data sets; empty: its usual folder.", free=True, path=PATH)  # fmt: skip
    image_dir: str = setting("", "Your own images instead of --dataset: a folder of images, or of one folder per class; several folders, comma-separated; or a text or CSV file with the path of one image a line, and a label if wanted. JPEG, PNG, WebP, TIFF, AVIF, BMP, GIF, PPM, JPEG 2000, HEIC (with pillow-heif), or .npy arrays [h, w] or [h, w, c] with the same c up to 16 (uint8, uint16, or float32 in [0, 1]). Colour operators are off unless c is 3.", basic=True, path=PLACES)  # fmt: skip
    shards: str = setting("", "Your own images in shards, instead of --dataset or --image_dir: TFRecord files of tf.train.Example, Parquet files as Hugging Face writes them, or WebDataset tar files. Paths, globs and braces, comma-separated, such as gs://bucket/train-*; or a folder of them.", basic=True, path=PATTERNS)  # fmt: skip
    eval_shards: str = setting("", "Shards to evaluate on, as --shards. Empty: --eval_fraction of --shards is held out by seed.", path=PATTERNS)  # fmt: skip
    shard_image_key: str = setting("", "Where a record of --shards holds its encoded image. Empty: the key image/encoded of a TFRecord; the column image of a Parquet file, or its only one of bytes; any image suffix in a tar file.")  # fmt: skip
    shard_label_key: str = setting("", "Where a record of --shards holds its label, if it has one. Empty: the key image/class/label, the column label, or .cls, else the key label of .json.")  # fmt: skip
    shard_label_offset: int = setting(0, "Subtracted from labels that are numbers; below 0 is no label. 1 for ImageNet records whose classes begin at 1.", minimum=0)  # fmt: skip
    shard_index: str = setting("", "Folder that keeps where the records of --shards lie. Empty: shard_index beside the folder of the run.", free=True, path=PATH)  # fmt: skip
    train_split: str = setting("train", "Split to train on.")
    eval_split: str = setting("", "Split to evaluate on. Empty: test, else validation, else --eval_fraction of the training split is held out.")  # fmt: skip
    eval_fraction: float = setting(-1.0, "Share of the training images that is held out when there is no evaluation split; 0 trains on every image. -1 holds out 0.2 where there are labels to measure with, else nothing.", minimum=-1.0, maximum=0.9, before=0.2)  # fmt: skip
    follow_links: bool = setting(False, "Follow symbolic links that lead out of --image_dir.")
    image_formats: str = setting("all", "Files of --image_dir that are images: all formats, or early: JPEG, PNG, BMP, GIF and .npy only, their colour profiles ignored, as in runs of the first version.", allowed=("all", "early"), before="early")  # fmt: skip
    split_seed: int = setting(0, "Seed that selects the held-out share. Keep it the same for every run on the same images.", minimum=0, maximum=2**31 - 1)  # fmt: skip
    download: bool = setting(False, "Download and prepare a missing data set with tensorflow-datasets.", basic=True, free=True)  # fmt: skip
    image_size: int = setting(224, "Side of the square input in pixels. Up to 32 the ResNet uses its small-image stem.", basic=True, minimum=8)  # fmt: skip
    cache_dataset: bool = setting(True, "Keep data sets up to 1 GiB (encoded) in memory. False streams them, in another order.")  # fmt: skip
    value_range: str = setting("", "Values that become black and white in 16-bit PNGs, TIFFs, PGMs and .npy files of uint16 or float32: LO,HI, or auto for 0 to the largest value of as many bits as the images use. Empty: the range of the type, 0 to 1 for float32.")  # fmt: skip
    strict_data: bool = setting(False, "Stop at the first unusable image. False replaces such images by others and lists them in quarantine.txt.", free=True)  # fmt: skip
    max_image_pixels: int = setting(100_000_000, "Images with more pixels are not decoded and count as unusable.", minimum=1)  # fmt: skip

    def check(self):
        if self.value_range not in ("", "auto"):
            parse_value_range(self.value_range)
        if -1 < self.eval_fraction < 0:
            raise SettingsError(f"eval_fraction={self.eval_fraction} is not allowed: give a share from 0 to 0.9, or -1 for the automatic one.")  # fmt: skip
        named = [f"{name}={value}" for name, value in (("shards", self.shards), ("image_dir", self.image_dir)) if value]  # fmt: skip
        named += [f"dataset={self.dataset}"] if self.dataset != "digits" else []
        if len(named) > 1 and (self.image_dir or self.dataset):
            raise SettingsError(f"both {named[0]} and {named[1]} are given; choose one.")
        if self.eval_shards and not self.shards:
            raise SettingsError(f"eval_shards={self.eval_shards} is given without shards; name those to train on by --shards.")  # fmt: skip

    @property
    def is_folder(self):
        """Whether the images lie in a folder of the user, not in a data set with a name."""
        return bool(self.image_dir)

    @property
    def name(self):
        """The folder or the name of the data set, "" if it is not known."""
        return self.image_dir or self.shards or self.dataset

    @property
    def flag(self):
        """The flag that gives these images, such as --dataset=cifar10."""
        if self.shards:
            return f"--shards={shlex.quote(self.shards)}"
        return f"--image_dir={self.image_dir}" if self.is_folder else f"--dataset={self.dataset}"


@dataclasses.dataclass(frozen=True)
class PackSettings(Section):
    """The shards that a folder of images becomes."""

    output: str = setting("", "Folder for the shards and manifest.json. The same command again continues.", basic=True, path=PATH)  # fmt: skip
    images_per_shard: int = setting(1000, "Images in each shard; the last one of a split may hold fewer.", basic=True, minimum=1, maximum=1_000_000)  # fmt: skip
