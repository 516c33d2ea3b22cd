"""The random views and the picture of them."""

import dataclasses

from simclr_tf.config.fields import PATH, Section, setting
from simclr_tf.errors import SettingsError

# what a crop can go through; `simclr_tf.views.operators` holds their functions
OPERATORS = [
    "color",
    "blur",
    "crop",
    "rotate",
    "cutout",
    "noise",
    "sobel",
    "solarize",
    "equalize",
    "motion_blur",
]


@dataclasses.dataclass(frozen=True)
class Views(Section):
    """The random views of an image (paper appendix A)."""

    # no setting: min_object_covered of the official code, a crop of the simclr dialects covers more
    covered_min = 0.1

    aug_impl: str = setting("simclr_v2", "Variant of the augmentation. simclr_v2 multiplies the brightness; simclr_v1 adds to it; torchvision computes every operator as torchvision does, and draws crops by uniform area.", allowed=("simclr_v2", "simclr_v1", "torchvision"))  # fmt: skip
    torchvision_ops: bool = setting(True, "For --aug_impl=torchvision: its contrast, saturation, mirrored border of the blur, and antialiased resize too. False: only its crops and brightness. A run of an earlier version goes on with False.", before=False)  # fmt: skip
    crop_area_min: float = setting(0.08, "Smallest crop as a share of the image area. Below 0.1 the simclr variants crop no smaller than 0.1, as in the official code.", basic=True, above=0.0, maximum=1.0)  # fmt: skip
    crop_area_max: float = setting(1.0, "Largest crop as a share of the image area.", above=0.0, maximum=1.0)  # fmt: skip
    crop_aspect_min: float = setting(0.75, "Narrowest crop, width / height.", above=0.0)
    crop_aspect_max: float = setting(4 / 3, "Widest crop, width / height.", above=0.0)
    resize: str = setting("bicubic", "Interpolation when a crop is resized.", allowed=("bicubic", "bilinear"))  # fmt: skip
    flip: bool = setting(True, "Flip left-right with probability 0.5.", basic=True)
    rotate_degrees: float = setting(0.0, "Rotate by up to this many degrees. Not in the paper; useful for handwriting.", minimum=0.0, maximum=180.0)  # fmt: skip
    shear: float = setting(0.0, "Shear by up to this many columns per row. Not in the paper.", minimum=0.0, maximum=2.0)  # fmt: skip
    color_jitter_strength: float = setting(1.0, "Strength of colour distortion: 1 for ImageNet, 0.5 for CIFAR-10, 0 for none. Above 1.25 the smallest factors are clamped at 0.", basic=True, minimum=0.0, maximum=2.5)  # fmt: skip
    jitter_prob: float = setting(0.8, "Probability of colour jitter.", minimum=0.0, maximum=1.0)
    brightness: float = setting(0.8, "Range of brightness at strength 1.", minimum=0.0)
    contrast: float = setting(0.8, "Range of contrast at strength 1.", minimum=0.0)
    saturation: float = setting(0.8, "Range of saturation at strength 1.", minimum=0.0)
    hue: float = setting(0.2, "Range of hue at strength 1, in turns of the colour circle.", minimum=0.0, maximum=0.5)  # fmt: skip
    grayscale_prob: float = setting(0.2, "Probability of dropping colour, if color_jitter_strength is above 0.", minimum=0.0, maximum=1.0)  # fmt: skip
    use_blur: bool = setting(True, "Blur with a Gaussian of random width. The paper has it off for 32x32 images.", basic=True)  # fmt: skip
    blur_prob: float = setting(0.5, "Probability of blur.", minimum=0.0, maximum=1.0)
    blur_sigma_min: float = setting(0.1, "Smallest sigma of the blur in pixels.", above=0.0)
    blur_sigma_max: float = setting(2.0, "Largest sigma of the blur in pixels.", above=0.0)
    operators: str = setting("color,blur", "What happens to a crop, comma-separated, in this order. color is jitter and grayscale; all but color and blur are for studies.", each_of=OPERATORS)  # fmt: skip
    study_prob: float = setting(1.0, "Probability of each operator other than color and blur.", minimum=0.0, maximum=1.0)  # fmt: skip
    cutout_size: float = setting(0.5, "Side of the cutout square as a share of the image side.", above=0.0, maximum=1.0)  # fmt: skip
    noise_sigma_max: float = setting(0.2, "Gaussian noise: its standard deviation is drawn between 0 and this, for pixels in [0, 1].", minimum=0.0)  # fmt: skip
    solarize_threshold: float = setting(0.5, "Solarize inverts pixels from this value up, for pixels in [0, 1].", minimum=0.0, maximum=1.0)  # fmt: skip
    asymmetric: bool = setting(False, "Crop all views alike and apply the operators to the first view only (paper section 3.1).")  # fmt: skip
    auto_augment: str = setting("none", "Apply AutoAugment's policy to every crop before the operators. With --operators= (empty) it is the only distortion.", allowed=("none", "imagenet", "cifar10"))  # fmt: skip
    augment_on: str = setting("auto", "Where views are finished. device: compiled in the train step; host: in the input pipeline; auto: device.", allowed=("auto", "device", "host"))  # fmt: skip
    resize_on: str = setting("host", "Where images above 64 pixels are cropped and resized. device: the host only decodes; for accelerators that wait for images.", allowed=("host", "device"))  # fmt: skip
    canvas_size: int = setting(512, "Side of the square canvas for --resize_on=device. Larger images are cropped on the host.", minimum=32)  # fmt: skip

    @property
    def as_torchvision(self) -> bool:
        """Whether every operator is computed as in torchvision, not only the crops drawn so."""
        return self.aug_impl == "torchvision" and self.torchvision_ops

    def check(self):
        for name in ("crop_area", "crop_aspect", "blur_sigma"):
            low = getattr(self, name + "_min")
            high = getattr(self, name + "_max")
            if low > high:
                raise SettingsError(f"{name}_min={low} is above {name}_max={high}; swap them.")
        if self.hue * self.color_jitter_strength > 0.5:
            raise SettingsError(
                f"hue={self.hue} times color_jitter_strength={self.color_jitter_strength} is "
                "above half a turn; lower one of them."
            )
        if self.auto_augment != "none" and self.resize_on == "device":
            raise SettingsError(
                f"auto_augment={self.auto_augment} works on crops made by the host; give "
                "resize_on=host."
            )


@dataclasses.dataclass(frozen=True)
class FineTuneViews(Views):
    """The augmentation of training images: by default crop and flip, as in the paper."""

    color_jitter_strength: float = setting(0.0, "Strength of colour distortion: 0 for none, 1 as SimCLR pretrains on ImageNet.", minimum=0.0, maximum=2.5)  # fmt: skip
    use_blur: bool = setting(False, "Blur with a Gaussian of random width.")


@dataclasses.dataclass(frozen=True)
class LocalViews(Views):
    """The local views of multi-crop, which may cover less than a tenth of the image."""

    covered_min = 0.0


@dataclasses.dataclass(frozen=True)
class MultiCrop(Section):
    """Small local views beside those of full size (multi-crop, arXiv:2006.09882)."""

    local_views: int = setting(0, "Further small views of each image in a step. The encoder embeds them at their own size, and the loss is the mean over all pairs that include a full-size view. 0 is off.", minimum=0, maximum=16)  # fmt: skip
    local_size: int = setting(0, "Side of the local views in pixels; 0 is three sevenths of image_size (96 of 224), at least 8.", minimum=0)  # fmt: skip
    local_crop_area_min: float = setting(0.05, "Smallest crop of a local view as a share of the image area.", above=0.0, maximum=1.0)  # fmt: skip
    local_crop_area_max: float = setting(0.14, "Largest crop of a local view as a share of the image area.", above=0.0, maximum=1.0)  # fmt: skip

    def check(self):
        low = self.local_crop_area_min
        high = self.local_crop_area_max
        if low > high:
            raise SettingsError(
                f"local_crop_area_min={low} is above local_crop_area_max={high}; swap them."
            )


@dataclasses.dataclass(frozen=True)
class Sheet(Section):
    """The picture of the views."""

    sheet: str = setting("views.png", "File of the picture: JPEG if the name ends in .jpg, else PNG.", basic=True, free=True, path=PATH)  # fmt: skip
    sheet_images: int = setting(6, "Number of images on the sheet.", basic=True, minimum=1, maximum=64, free=True)  # fmt: skip
