"""The data sets of the paper's transfer study: names, splits, metrics and published figures."""

import dataclasses
import os

from simclr_tf.config import folders_in, name_and_folder
from simclr_tf.data import listing
from simclr_tf.errors import SettingsError

PAPER_ROWS = {
    "supervised ResNet-50 (paper), linear": "linear_supervised",
    "SimCLR ResNet-50 (paper), linear": "linear",
    "random init ResNet-50 (paper), trained": "random",
    "supervised ResNet-50 (paper), fine-tuned": "finetune_supervised",
    "SimCLR ResNet-50 (paper), fine-tuned": "finetune",
}
"""Title of a row of the paper (Tab. B.5): key of `TransferSet.paper`."""


@dataclasses.dataclass(frozen=True)
class TransferSet:
    """One data set of the table.

    Attributes:
        name: column title.
        dataset: tensorflow-datasets name, "" for a folder.
        image_dir: the folder, "" for a tensorflow-datasets name.
        train, validation, test: splits; without a validation split a fifth of train is held out
            to choose hyper-parameters, without a test split as `--mode=linear_eval` does.
        metric: "top_1", "mean_per_class" or "map_11" (several labels per image).
        paper: {key of `PAPER_ROWS`: per cent}, ResNet-50, or {}.
    """

    name: str
    dataset: str = ""
    image_dir: str = ""
    train: str = "train"
    validation: str = ""
    test: str = ""
    metric: str = "top_1"
    paper: dict = dataclasses.field(default_factory=dict)


_FIGURES = ("linear", "finetune", "random", "linear_supervised", "finetune_supervised")


def _paper(name, dataset, figures, **others):
    paper = dict(zip(_FIGURES, figures))
    return TransferSet(name, dataset, paper=paper, **others)


_PER_CLASS = {"metric": "mean_per_class"}
_OWN = {"validation": "validation", "test": "test"}
PAPER = (
    _paper("food101", "food101", (68.4, 88.2, 86.9, 72.3, 88.3), test="validation"),
    _paper("cifar10", "cifar10", (90.6, 97.7, 95.9, 93.6, 97.5), test="test"),
    _paper("cifar100", "cifar100", (71.6, 85.9, 80.2, 78.3, 86.4), test="test"),
    _paper("birdsnap", "", (37.4, 75.9, 76.1, 53.7, 75.8)),
    _paper("sun397", "sun397/standard-part1-120k", (58.8, 63.5, 53.6, 61.9, 64.3), test="test"),
    _paper("cars196", "cars196", (50.3, 91.3, 91.4, 66.7, 92.1), test="test"),
    _paper("fgvc_aircraft", "", (50.3, 88.1, 85.9, 61.0, 86.0), **_PER_CLASS),
    _paper("voc2007", "voc/2007", (80.5, 84.1, 67.3, 82.8, 85.0), metric="map_11", **_OWN),
    _paper("dtd", "dtd", (74.5, 73.2, 64.8, 74.9, 74.6), **_OWN),
    _paper("pets", "oxford_iiit_pet", (83.6, 89.2, 81.5, 91.5, 92.1), test="test", **_PER_CLASS),
    _paper("caltech101", "caltech101", (90.3, 92.1, 72.6, 94.5, 93.3), test="test", **_PER_CLASS),
    _paper("flowers102", "oxford_flowers102", (91.2, 97.0, 92.0, 94.7, 97.6), **_OWN, **_PER_CLASS),
)
"""The twelve of appendix B.8 with the splits of tensorflow-datasets; birdsnap and fgvc_aircraft
are not part of it and need a folder. Caltech-101's 30 images per class are those of
tensorflow-datasets, 102 classes with the background."""


def find_sets(text):
    """The data sets that `--datasets` names.

    Args:
        text: comma-separated: "paper" (those of the twelve that tensorflow-datasets has), a name
            of `PAPER`, a tensorflow-datasets name, a folder, or NAME=FOLDER.
    Returns:
        list of TransferSet, each name once.
    Raises:
        SettingsError: nothing is named, a name is given twice, or a folder is missing.
    """
    found = {}
    for item in folders_in(text):
        items = [one for one in PAPER if one.dataset] if item == "paper" else [_find(item)]
        for one in items:
            if one.name in found:
                raise SettingsError(f"datasets={text} names {one.name} twice; keep one.")
            found[one.name] = one
    if not found:
        raise SettingsError(
            "datasets is empty; give paper, tensorflow-datasets names or folders, such as "
            "--datasets=cifar10,dtd,photos."
        )
    return list(found.values())


def _find(item):
    known = {key: one for one in PAPER for key in (one.name, one.dataset) if key}
    name, folder = name_and_folder(item)
    if name:
        one = known.get(name, TransferSet(name))
        return dataclasses.replace(
            one, dataset="", image_dir=folder, train="train", validation="", test=""
        )
    if listing.is_folder(item):
        return TransferSet(os.path.basename(item.rstrip("/")), image_dir=item)
    if item in known and not known[item].dataset:
        raise SettingsError(
            f"datasets={item} is not part of tensorflow-datasets; download it yourself and give "
            f"--datasets={item}=FOLDER."
        )
    return known.get(item, TransferSet(item, item))
