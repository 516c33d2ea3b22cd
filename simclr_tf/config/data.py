"""Which images."""

import dataclasses

from simclr_tf.config.fields import PATH, Section, setting
from simclr_tf.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class Data(Section):
    """Which images."""

    dataset: str = setting("digits", "A tensorflow-datasets name (or name/config), or digits: scikit-learn's handwritten digits, which need no download.")  # fmt: skip
    data_dir: str = setting("", "Where tensorflow-datasets finds prepared data sets (default: its own folder).", free=True, path=PATH)  # fmt: skip
    image_dir: str = setting("", "Your own images instead of --dataset: a flat folder, or one folder per class. JPEG, PNG, BMP, GIF, or .npy arrays [h, w] or [h, w, c] of one c up to 16 (uint8, uint16, or float32 in [0, 1]); unless c is 3, colour operators are off.", path=PATH)  # fmt: skip
    train_split: str = setting("train", "Split to train on.")
    eval_split: str = setting("", "Split to evaluate on (default: test, else validation, else --eval_fraction of the training split).")  # fmt: skip
    eval_fraction: float = setting(0.2, "Share held out, by seed, when there is no evaluation split.", above=0.0, maximum=0.9)  # fmt: skip
    split_seed: int = setting(0, "Seed of the held-out share; keep it the same for every run on the same images.", minimum=0, maximum=2**31 - 1)  # fmt: skip
    download: bool = setting(False, "Let tensorflow-datasets download and prepare a missing data set.", free=True)  # fmt: skip
    image_size: int = setting(224, "Side of the square input in pixels; up to 32 uses the small-image stem.", minimum=8)  # fmt: skip
    cache_dataset: bool = setting(True, "Keep data sets up to 1 GiB (encoded) in memory; off streams them, in another order.")  # fmt: skip
    strict_data: bool = setting(False, "Stop at the first image that cannot be used, instead of putting another one in its place and listing it in quarantine.txt.", free=True)  # fmt: skip
    max_image_pixels: int = setting(100_000_000, "Larger images are not decoded but treated as damaged.", minimum=1)  # fmt: skip

    def check(self):
        if self.image_dir and self.dataset != "digits":
            raise SettingsError(f"both image_dir={self.image_dir} and dataset={self.dataset} are given; choose one.")  # fmt: skip
