"""Sizes of well-known data sets, so that a run can be planned before anything is downloaded.

The splits are those of tensorflow-datasets (they differ from those of the paper's appendix B.8 for
Caltech-101 and SUN397). Once a data set is prepared its own numbers are used. Standard library only.
"""

import re

# name: ({split: images}, classes). The first split that is not for training is evaluated on.
KNOWN = {
    "beans": ({"train": 1034, "test": 128, "validation": 133}, 3),
    "caltech101": ({"train": 3059, "test": 6084}, 102),
    "caltech_birds2011": ({"train": 5994, "test": 5794}, 200),
    "cars196": ({"train": 8144, "test": 8041}, 196),
    "cats_vs_dogs": ({"train": 23262}, 2),
    "cifar10": ({"train": 50000, "test": 10000}, 10),
    "cifar100": ({"train": 50000, "test": 10000}, 100),
    "digits": ({"train": 1437, "test": 360}, 10),
    "dtd": ({"train": 1880, "test": 1880, "validation": 1880}, 47),
    "eurosat": ({"train": 27000}, 10),
    "fashion_mnist": ({"train": 60000, "test": 10000}, 10),
    "food101": ({"train": 75750, "validation": 25250}, 101),
    "imagenet2012": ({"train": 1281167, "validation": 50000, "test": 100000}, 1000),
    "imagenet2012_subset": ({"train": 12811, "validation": 50000}, 1000),
    "imagenet2012_subset/1pct": ({"train": 12811, "validation": 50000}, 1000),
    "imagenet2012_subset/10pct": ({"train": 128116, "validation": 50000}, 1000),
    "imagenet_resized": ({"train": 1281167, "validation": 50000}, 1000),
    "imagenette": ({"train": 9469, "validation": 3925}, 10),
    "imagewoof": ({"train": 9025, "validation": 3929}, 10),
    "kmnist": ({"train": 60000, "test": 10000}, 10),
    "mnist": ({"train": 60000, "test": 10000}, 10),
    "oxford_flowers102": ({"train": 1020, "test": 6149, "validation": 1020}, 102),
    "oxford_iiit_pet": ({"train": 3680, "test": 3669}, 37),
    "patch_camelyon": ({"train": 262144, "test": 32768, "validation": 32768}, 2),
    "resisc45": ({"train": 31500}, 45),
    "stanford_dogs": ({"train": 12000, "test": 8580}, 120),
    "stl10": ({"train": 5000, "test": 8000, "unlabelled": 100000}, 10),
    "sun397": ({"train": 76128, "test": 21750, "validation": 10875}, 397),
    "sun397/standard-part1-120k": ({"train": 19850, "test": 19850}, 397),
    "svhn_cropped": ({"train": 73257, "test": 26032, "extra": 531131}, 10),
    "tf_flowers": ({"train": 3670}, 5),
    "voc": ({"train": 2501, "test": 4952, "validation": 2510}, 0),
    "voc/2007": ({"train": 2501, "test": 4952, "validation": 2510}, 0),
}

# Of the paper's twelve transfer sets, those that tensorflow-datasets does not have.
NOT_IN_TFDS = ("birdsnap", "fgvc_aircraft")

# The official labels of these test sets were never published.
UNLABELLED_TEST = ("imagenet2012", "imagenet2012_real", "places365_small", "voc/2012")


def known_size(name):
    """({split: images}, number of classes) of a tensorflow-datasets name, or None.

    A version ("cifar10:3.0.2") is ignored; a configuration without its own row has the size of
    the default one only where all configurations hold the same images.
    """
    base = name.split(":")[0]
    if base in KNOWN:
        return KNOWN[base]
    if base.startswith(("imagenet_resized/", "eurosat/rgb", "imagenette/", "imagewoof/")):
        return KNOWN[base.split("/")[0]]
    return None


def size_of_split(splits, split):
    """Images in a split, in a part of it such as train[:90%] or train[1000:], or in a sum.

    Args:
        splits: {split: images}.
        split: the expression.
    Returns:
        int, or None if the expression cannot be read.
    """
    if "+" in split:
        found = [size_of_split(splits, part.strip()) for part in split.split("+")]
        return None if None in found else sum(found)
    found = re.fullmatch(r"(\w+)(?:\[(-?\d*)(%?):(-?\d*)(%?)\])?", split)
    if not found or found[1] not in splits:
        return None
    size = splits[found[1]]
    places = []
    for text, percent, default in ((found[2], found[3], 0), (found[4], found[5], None)):
        number = default if text in (None, "") else int(text)
        if number is None:
            number = size
            percent = ""
        place = round(size * number / 100) if percent else number
        places.append(min(max(place + size if number < 0 else place, 0), size))
    return max(places[1] - places[0], 0)


def default_eval_split(name, splits):
    """The split to evaluate on: test if it has labels, else validation; "" if there is none."""
    preferred = ("test", "validation")
    if name.split(":")[0] in UNLABELLED_TEST:
        preferred = ("validation",)
    return next((split for split in preferred if split in splits), "")
