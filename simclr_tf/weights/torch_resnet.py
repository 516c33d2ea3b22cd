"""ResNet weights of PyTorch -> our encoder and classifier.

torchvision, lightly, solo-learn, mmpretrain and most repositories for CIFAR publish one layout. It
is our network except for a few things, which become settings of the encoder. The pooling of the
stem is padded by one pixel on every side (`pool_padding=symmetric`), and images are standardised
with ImageNet's mean and deviation (`input_norm=imagenet`). The first group of basic blocks has no
shortcut convolution (`first_shortcut=identity`). Wide ResNets widen the inner convolutions alone
(`bottleneck_width`). Networks for CIFAR begin with a 3x3 convolution without pooling
(`stem=small`), which solo-learn pads by two (`stem_padding=2`). Convolutions with stride are padded
alike, on both sides, and the epsilon of BatchNormalization is the same 1e-5.
"""

import dataclasses
import re

from simclr_tf.errors import DataError
from simclr_tf.weights import official
from simclr_tf.weights.architecture import BLOCKS
from simclr_tf.weights.torch_files import read_file

_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
# nn.Sequential(*resnet.children()), as in lightly's examples, numbers the layers. The first group
# is number 4 in torchvision's ResNet, 3 where the pooling was left out, 2 in lightly's for CIFAR.
_NUMBERINGS = (None, 2, 3, 4)
_SHORTCUTS = ("downsample", "shortcut")  # torchvision; lightly's and other ResNets for CIFAR
_CLASSIFIERS = ("fc", "linear")


def import_torch(
    source: str,
    prefix: str = "",
    input_norm: str = "imagenet",
    choices: official.Choices = official.NOTHING_SAID,
) -> official.Imported:
    """Reads a ResNet with its classifier `fc` or `linear` if there is one.

    Args:
        source: a .safetensors file or one of torch.save.
        prefix: what stands before `conv1.weight` in the names, such as "backbone."; "" finds it.
        input_norm: of `models.resnet.ResNet`: how the images of the training were standardised.
        choices: what the user says; only `stem_padding` is ever needed.
    Returns:
        official.Imported.
    Raises:
        DataError: the file cannot be read safely, holds no such network, or several.
    """
    tensors, skipped = read_file(source)
    if not tensors and skipped:
        raise DataError(
            f"{source} holds its tensors inside Python objects ({skipped[0]}), and none is made "
            "here; save only the tensors: torch.save(model.state_dict(), PATH), or safetensors."
        )
    names = _Names(tensors, prefix, source)
    parts = {"encoder": {"conv": [], "norm": []}}
    for convolution, norm in names.layers():
        kernel = names.take(f"{convolution}.weight")
        parts["encoder"]["conv"].append({"kernel": kernel.transpose(2, 3, 1, 0)})
        leaves = {ours: names.take(f"{norm}.{theirs}") for theirs, ours in _NORM.items()}
        parts["encoder"]["norm"].append(leaves)
    names.refuse_others()
    encoder = {**_architecture(names, source, choices), "input_norm": input_norm}
    classifier = _classifier(names)
    if classifier is not None:
        parts["classifier"] = {"dense": [classifier]}
    imported = official.build(parts, names.unused(), source, encoder, choices)
    return dataclasses.replace(imported, skipped=skipped)


def _architecture(names, source, choices):
    """The settings of config.Model that give this network."""
    filters, channels, *stem = names.shape("conv1.weight")
    if channels != 3:
        raise DataError(f"{source} reads images of {channels} channels; only RGB can be taken over.")  # fmt: skip
    bottleneck = names.has("layer1.0.conv3.weight")
    blocks = tuple(names.count(group) for group in range(1, 5))
    depths = [depth for depth, known in BLOCKS.items() if known == blocks and (depth >= 50) == bottleneck]  # fmt: skip
    kind = "bottleneck" if bottleneck else "basic"
    if not depths:
        known = ", ".join(str(depth) for depth in BLOCKS)
        raise DataError(
            f"{source} holds a ResNet with groups of {blocks} {kind} blocks; the depths {known} "
            "can be taken over."
        )
    inner, into = names.shape("layer1.0.conv1.weight")[0], names.shape("layer1.0.conv2.weight")[1]
    if into != inner:
        raise DataError(
            f"{source} holds grouped convolutions ({inner // into} groups), as in ResNeXt; only "
            "ResNets without groups can be taken over."
        )
    for name, value in (("sk_ratio", choices.sk_ratio), ("se_ratio", choices.se_ratio)):
        if value:
            raise DataError(f"{source} is a plain ResNet of PyTorch; leave out --{name}={value:g}.")
    if choices.stem_padding is not None and stem == [7, 7]:
        raise DataError(f"{source} has the 7x7 stem, whose padding is known; leave out --stem_padding.")  # fmt: skip
    small = stem == [3, 3]
    if not small and stem != [7, 7]:
        raise DataError(
            f"{source} has a stem of {stem[0]}x{stem[1]} pixels; stems of 7x7 (torchvision) and of "
            "3x3 pixels (for CIFAR) can be taken over."
        )
    return {
        "resnet_depth": depths[0],
        "width_multiplier": filters / 64,
        "bottleneck_width": inner / filters if bottleneck else 1.0,
        "first_shortcut": "projection" if bottleneck else "identity",
        "stem": "small" if small else "imagenet",
        "stem_padding": _stem_padding(names, source, choices) if small else 1,
        "pool_padding": "symmetric",
    }


def _stem_padding(names, source, choices):
    if choices.stem_padding is not None:
        return choices.stem_padding
    if names.shortcut == "shortcut":  # these are padded by one
        return 1
    raise DataError(
        f"{source} has a 3x3 stem, and its weights do not tell how the image is padded; give "
        "--stem_padding=2 if it comes from solo-learn, else usually --stem_padding=1."
    )


def _classifier(names):
    """{"kernel", "bias"} of the layer behind h, or None."""
    features = names.shape(f"layer4.0.conv{3 if names.has('layer4.0.conv3.weight') else 2}.weight")
    for name in _CLASSIFIERS:
        found = names.has(f"{name}.weight") and names.has(f"{name}.bias")
        if found and names.shape(f"{name}.weight")[1:] == features[:1]:
            kernel = names.take(f"{name}.weight").transpose(1, 0)
            return {"kernel": kernel, "bias": names.take(f"{name}.bias")}
    return None


class _Names:
    """The tensors of a file under the names of torchvision."""

    def __init__(self, tensors, prefix, source):
        self.tensors = tensors
        self.source = source
        self.taken = set()
        found = [item for item in _prefixes(tensors) if item[0].endswith(prefix)]
        if not found:
            raise DataError(
                f"{source} holds no {prefix}conv1.weight with {prefix}layer1.0.conv1.weight "
                f"({len(tensors)} tensors, {_some(tensors)}); give a ResNet in the layout of "
                "torchvision" + (", or leave out --source_prefix." if prefix else ".")
            )
        if len(found) > 1:
            raise DataError(
                f"{source} holds {len(found)} networks; choose one with --source_prefix: "
                f"{', '.join(repr(item[0]) for item in found)}."
            )
        self.prefix, first = found[0]
        self.numbers = _numbers(first)
        style = [name for name in _SHORTCUTS if self.has(f"layer2.0.{name}.0.weight")]
        self.shortcut = style[0] if style else _SHORTCUTS[0]

    def layers(self):
        """(convolution, BatchNormalization) names in our order of creation."""
        yield "conv1", "bn1"
        for group in range(1, 5):
            for block in range(self.count(group)):
                path = f"layer{group}.{block}"
                if self.has(f"{path}.{self.shortcut}.0.weight"):
                    yield f"{path}.{self.shortcut}.0", f"{path}.{self.shortcut}.1"
                for i in (1, 2, 3) if self.has("layer1.0.conv3.weight") else (1, 2):
                    yield f"{path}.conv{i}", f"{path}.bn{i}"

    def count(self, group):
        """Number of blocks of a group."""
        block = 0
        while self.has(f"layer{group}.{block}.conv1.weight"):
            block += 1
        return block

    def _key(self, name):
        head, _, rest = name.partition(".")
        return f"{self.prefix}{self.numbers.get(head, head)}.{rest}"

    def _find(self, name):
        if not self.has(name):
            raise DataError(f"{self.source} lacks {self._key(name)}: it is incomplete; copy it again.")  # fmt: skip
        return self.tensors[self._key(name)]

    def has(self, name):
        """Whether a tensor of this name is there."""
        return self._key(name) in self.tensors

    def shape(self, name):
        """The shape of a tensor, a list: of a kernel [out, in, height, width]."""
        return list(self._find(name).shape)

    def take(self, name):
        """The tensor as float32."""
        value = self._find(name)
        self.taken.add(self._key(name))
        return value.astype("float32")

    def refuse_others(self):
        """Refuses tensors inside the network that ours has no place for."""
        parts = ["conv1", "bn1", *[f"layer{group}" for group in range(1, 5)]]
        inside = [self.numbers.get(name, name) for name in parts]
        pattern = re.compile(re.escape(self.prefix) + rf"({'|'.join(inside)})\.")
        for name in sorted(set(self.tensors) - self.taken):
            if pattern.match(name) and not name.endswith(".num_batches_tracked"):
                raise DataError(
                    f"{self.source} holds {name}, which has no place in a plain ResNet; only the "
                    "layout of torchvision's ResNets can be taken over."
                )

    def unused(self):
        """Names of the tensors that were not taken, such as those of a projection head."""
        return tuple(sorted(set(self.tensors) - self.taken))


def _numbers(first):
    """{name in torchvision: number in nn.Sequential}; empty where the layers have their names."""
    if first is None:
        return {}
    return {"conv1": "0", "bn1": "1", **{f"layer{i + 1}": str(first + i) for i in range(4)}}


def _prefixes(tensors):
    """[(prefix, number of the first group or None)] of every ResNet in the file."""
    found = {}
    for first in _NUMBERINGS:  # a later number fits too where an earlier one does: it is layer2
        numbers = _numbers(first)
        ends = [
            f"{numbers.get(name, name)}.{rest}"
            for name, rest in (
                ("layer1", "0.conv1.weight"),
                ("conv1", "weight"),
                ("bn1", "weight"),
                ("layer4", "0.conv1.weight"),
            )
        ]
        for name in sorted(tensors):
            prefix = name[: -len(ends[0])]
            if name.endswith(ends[0]) and (not prefix or prefix[-1] == "."):
                if all(prefix + end in tensors for end in ends[1:]):
                    found.setdefault(prefix, first)
    return list(found.items())


def _some(tensors):
    return "such as " + ", ".join(sorted(tensors)[:3]) if tensors else "none at all"
