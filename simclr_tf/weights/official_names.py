"""The variables of our networks under the names of the official SimCLR code.

The official names number the layers of each class in the order in which they are made, over the
whole model. The same order identifies the variables of a checkpoint.
"""

import collections

from simclr_tf.errors import SettingsError
from simclr_tf.models.layers import Normalized, SelectiveKernel
from simclr_tf.stack import tf

LAYOUTS = ("tf2", "tf1")


class Counter:
    """Names layers as Keras does: conv2d, conv2d_1, conv2d_2, ..."""

    def __init__(self):
        self._made = collections.Counter()

    def __call__(self, kind):
        count = self._made[kind]
        self._made[kind] += 1
        return f"{kind}_{count}" if count else kind


def encoder_parts(encoder):
    """Every layer with variables of a ResNet, in the official order of creation.

    Returns:
        list of (scope, kind, layer): scope is a tuple of class names and fixed names, such as
        ("block_group1", "residual_block"), one object per level; kind is "padded" (a convolution
        in a wrapper of its own), "conv" or "norm".
    """
    stem = encoder.stem
    found = [((), *_kind(layer)) for layer in [*stem.layers, stem.norm]]
    for i, group in enumerate(encoder.groups):
        for block in group.blocks:
            found += _block_parts(block, f"block_group{i + 1}")
    return found


def _kind(layer):
    if isinstance(layer, Normalized):
        return "norm", layer.norm
    return "padded", layer


def _block_parts(block, group):
    scope = (group, block)
    found = []
    if block.shortcut is not None:
        shortcut = block.shortcut
        found += [(scope, "padded", shortcut.convolution), (scope, "norm", shortcut.norm.norm)]
    for layer in block.branch:
        if isinstance(layer, SelectiveKernel):
            inner = (group, block, layer)
            found += [
                (inner, "padded", layer.streams),
                (inner, "norm", layer.streams_norm.norm),
                (inner, "conv", layer.squeeze),
                (inner, "norm", layer.squeeze_norm.norm),
                (inner, "conv", layer.gate),
            ]
        else:
            found.append((scope, *_kind(layer)))
    if block.attention is not None:
        gate = block.attention
        inner = (group, block, gate)
        found += [(inner, "conv", gate.squeeze), (inner, "conv", gate.excite)]
    return found


_CLASS_NAMES = {
    "BasicBlock": "residual_block",
    "Bottleneck": "bottleneck_block",
    "SelectiveKernel": "sk__conv2d",
    "SqueezeExcitation": "se__layer",
}


def official_variables(encoder, head=None, classifier=None, layout="tf2"):
    """Our variables under their official names.

    Args:
        encoder: built ResNet.
        head: built ProjectionHead with BatchNormalization in every layer, or None.
        classifier: built LinearClassifier, or None.
        layout: "tf2" (`resnet/...`, the tf2 folder of the official code) or "tf1"
            (`base_model/...`, its TF1 code).
    Returns:
        {name: variable}.
    """
    if layout not in LAYOUTS:
        raise SettingsError(f"layout={layout} is not known: give one of {', '.join(LAYOUTS)}.")
    names = _tf2_names if layout == "tf2" else _tf1_names
    found = {}
    for name, layer in names(encoder, head, classifier):
        for leaf in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"):
            variable = getattr(layer, leaf, None)
            if variable is not None:
                found[f"{name}/{leaf}"] = variable
    return found


def head_scopes(head):
    """Scope of each head layer: l_0 of a linear head, nl_0, nl_1, ... of a nonlinear one."""
    prefix = "l" if head.get_config()["mode"] == "linear" else "nl"
    return [f"{prefix}_{i}" for i in range(head.depth)]


def _tf2_names(encoder, head, classifier):
    count = Counter()
    scopes = {}
    norm = "sync_batch_normalization"
    if not encoder.get_config()["global_bn"]:
        norm = "batch_normalization"

    def scope_name(part):
        if isinstance(part, str):
            return part
        if id(part) not in scopes:
            scopes[id(part)] = count(_CLASS_NAMES[type(part).__name__])
        return scopes[id(part)]

    for scope, kind, layer in encoder_parts(encoder):
        path = ["resnet", *[scope_name(part) for part in scope]]
        if kind == "norm":
            path += [count("batch_norm_relu"), count(norm)]
        else:
            path += [count("conv2d_fixed_padding")] if kind == "padded" else []
            path += [count("conv2d")]
        yield "/".join(path), layer
    if head is not None:
        for scope, dense, layer in zip(head_scopes(head), head.dense, head.norms):
            yield f"projection_head/{scope}/{count('dense')}", dense
            path = f"projection_head/{scope}/{count('batch_norm_relu')}/{count(norm)}"
            yield path, layer
    if classifier is not None:
        yield f"head_supervised/linear_layer/{count('dense')}", classifier.dense


def _tf1_names(encoder, head, classifier):
    count = Counter()
    for _, kind, layer in encoder_parts(encoder):
        name = count("batch_normalization" if kind == "norm" else "conv2d")
        yield f"base_model/{name}", layer
    if head is not None:
        for scope, dense, layer in zip(head_scopes(head), head.dense, head.norms):
            yield f"head_contrastive/{scope}/dense", dense
            yield f"head_contrastive/{scope}/batch_normalization", layer
    if classifier is not None:
        yield "head_supervised/linear_layer/dense", classifier.dense


def write_official(prefix, encoder, head=None, classifier=None, layout="tf2"):
    """Writes a checkpoint whose keys are the official variable names.

    Both the TF1 code (`tf.train.init_from_checkpoint`) and the tf2 code
    (`tf.train.Checkpoint(model=model).restore`, which falls back to names) can restore it.

    Args:
        prefix: path of the checkpoint, such as DIR/model.ckpt-0. Any tf.io.gfile path.
        encoder, head, classifier, layout: as in `official_variables`.
    Returns:
        list of the names written.
    """
    variables = official_variables(encoder, head, classifier, layout)
    names = list(variables)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.convert_to_tensor(variable) for variable in variables.values()],
    )
    return names
