"""ResNet weights of PyTorch in torchvision's layout -> our encoder and classifier.

lightly and mmpretrain publish SimCLR encoders in this layout. It is our network except for two
things, which become settings of the encoder: the pooling of the stem is padded by one pixel on
every side (`pool_padding=symmetric`), and images are standardised with ImageNet's mean and
deviation (`input_norm=imagenet`). Convolutions with stride are padded alike, on both sides, and
the epsilon of BatchNormalization is the same 1e-5.
"""

import re

from simclr_tf.errors import DataError
from simclr_tf.weights import official
from simclr_tf.weights.torch_files import read_tensors

_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
# nn.Sequential(*resnet.children()), as in lightly's examples, numbers the layers
_NUMBERED = {"conv1": "0", "bn1": "1", **{f"layer{i}": str(i + 3) for i in range(1, 5)}}


def import_torch(
    source: str,
    prefix: str = "",
    input_norm: str = "imagenet",
    choices: official.Choices = official.NOTHING_SAID,
) -> official.Imported:
    """Reads a ResNet of bottleneck blocks (50, 101, 152), with its `fc` layer if there is one.

    Args:
        source: a .safetensors file or one of torch.save.
        prefix: what stands before `conv1.weight` in the names, such as "backbone."; "" finds it.
        input_norm: "imagenet" or "none": whether the weights were trained on standardised images.
        choices: what the user says; here it can only contradict the weights.
    Returns:
        official.Imported.
    Raises:
        DataError: the file cannot be read safely, holds no such network, or several.
    """
    tensors = read_tensors(source)
    names = _Names(tensors, prefix, source)
    parts = {"encoder": {"conv": [], "norm": []}}
    for convolution, norm in names.layers():
        kernel = names.take(f"{convolution}.weight")
        parts["encoder"]["conv"].append({"kernel": kernel.transpose(2, 3, 1, 0)})
        leaves = {ours: names.take(f"{norm}.{theirs}") for theirs, ours in _NORM.items()}
        parts["encoder"]["norm"].append(leaves)
    if names.has("fc.weight") and names.has("fc.bias"):
        kernel = names.take("fc.weight").transpose(1, 0)
        bias = names.take("fc.bias")
        parts["classifier"] = {"dense": [{"kernel": kernel, "bias": bias}]}
    names.refuse_others()
    style = {"pool_padding": "symmetric", "input_norm": input_norm}
    return official.build(parts, names.unused(), source, style, choices)


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
                f"({len(tensors)} tensors, {_some(tensors)}); give a ResNet-50 in the layout of "
                "torchvision" + (", or leave out --source_prefix." if prefix else ".")
            )
        if len(found) > 1:
            raise DataError(
                f"{source} holds {len(found)} networks; choose one with --source_prefix: "
                f"{', '.join(repr(item[0]) for item in found)}."
            )
        self.prefix, self.numbered = found[0]
        if not self.has("layer1.0.conv3.weight"):
            raise DataError(
                f"{source} holds a ResNet of basic blocks (18 or 34), which in PyTorch has no "
                "shortcut convolution in the first group, ours has; only 50, 101 and 152 layers "
                "can be taken over."
            )
        if self._find("conv1.weight").shape[2:] != (7, 7):
            raise DataError(
                f"{source} has a stem of {self._find('conv1.weight').shape[2:]} pixels instead of "
                "(7, 7), and its weights do not tell whether a pooling follows; only the stem of "
                "torchvision can be taken over."
            )

    def layers(self):
        """(convolution, BatchNormalization) names in our order of creation."""
        yield "conv1", "bn1"
        for group in range(1, 5):
            block = 0
            while self.has(f"layer{group}.{block}.conv1.weight"):
                path = f"layer{group}.{block}"
                if self.has(f"{path}.downsample.0.weight"):
                    yield f"{path}.downsample.0", f"{path}.downsample.1"
                for i in (1, 2, 3):
                    yield f"{path}.conv{i}", f"{path}.bn{i}"
                block += 1

    def _key(self, name):
        head, _, rest = name.partition(".")
        return f"{self.prefix}{_NUMBERED.get(head, head) if self.numbered else head}.{rest}"

    def _find(self, name):
        return self.tensors[self._key(name)]

    def has(self, name):
        """Whether a tensor of this name is there."""
        return self._key(name) in self.tensors

    def take(self, name):
        """The tensor as float32."""
        if not self.has(name):
            raise DataError(f"{self.source} lacks {self._key(name)}: it is incomplete; copy it again.")  # fmt: skip
        self.taken.add(self._key(name))
        return self._find(name).astype("float32")

    def refuse_others(self):
        """Refuses tensors inside the network that ours has no place for."""
        inside = [_NUMBERED[name] if self.numbered else name for name in _NUMBERED]
        pattern = re.compile(re.escape(self.prefix) + rf"({'|'.join(inside)})\.")
        for name in sorted(set(self.tensors) - self.taken):
            if pattern.match(name) and not name.endswith(".num_batches_tracked"):
                raise DataError(
                    f"{self.source} holds {name}, which has no place in a plain ResNet; only the "
                    "layout of torchvision's ResNet-50, 101 and 152 can be taken over."
                )

    def unused(self):
        """Names of the tensors that were not taken, such as those of a projection head."""
        return tuple(sorted(set(self.tensors) - self.taken))


def _prefixes(tensors):
    """[(prefix, True if layers are numbered)] of every ResNet in the file."""
    found = []
    for numbered, first in ((False, "layer1.0.conv1.weight"), (True, "4.0.conv1.weight")):
        stem = "0.weight" if numbered else "conv1.weight"
        for name in sorted(tensors):
            prefix = name[: -len(first)]
            if name.endswith(first) and (not prefix or prefix[-1] == "."):
                found += [(prefix, numbered)] if prefix + stem in tensors else []
    return found


def _some(tensors):
    return "such as " + ", ".join(sorted(tensors)[:3]) if tensors else "none at all"
