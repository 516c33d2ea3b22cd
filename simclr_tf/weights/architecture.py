"""Which ResNet a list of convolution kernels belongs to. No TensorFlow."""

import itertools
from typing import Optional

from simclr_tf.errors import DataError

BLOCKS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


def kernel_shapes(depth, width, stem, sk_ratio=0.0, se_ratio=0.0):
    """Shapes of all convolution kernels in the order in which the official code makes them.

    In a block: shortcut, main branch, squeeze-and-excitation (paper §2.1 for the family).

    Returns:
        list of tuples (height, width, channels in, channels out).
    """
    filters = [max(1, round(64 * 2**i * width)) for i in range(4)]
    found = _stem_shapes(filters[0], stem, sk_ratio)
    channels = filters[0]
    expansion = 4 if depth >= 50 else 1
    for f, blocks in zip(filters, BLOCKS[depth]):
        out = f * expansion
        for block in range(blocks):
            if not block:
                found.append((1, 1, channels, out))
            if expansion == 1:
                found += [(3, 3, channels, f), (3, 3, f, f)]
            else:
                found += [(1, 1, channels, f), *_middle_shapes(f, sk_ratio), (1, 1, f, out)]
            if se_ratio:
                gate = max(1, int(f * se_ratio))
                found += [(1, 1, out, gate), (1, 1, gate, out)]
            channels = out
    return found


def _stem_shapes(filters, stem, sk_ratio):
    if stem == "small":
        return [(3, 3, 3, filters)]
    if not sk_ratio:
        return [(7, 7, 3, filters)]
    half = max(1, filters // 2)
    return [(3, 3, 3, half), (3, 3, half, half), (3, 3, half, filters)]


def _middle_shapes(filters, sk_ratio):
    if not sk_ratio:
        return [(3, 3, filters, filters)]
    gate = max(int(filters * sk_ratio), 32)
    return [(3, 3, filters, 2 * filters), (1, 1, filters, gate), (1, 1, gate, 2 * filters)]


def detect(
    shapes: list,
    has_bias: bool,
    source: str,
    *,
    sk_ratio: Optional[float] = None,
    se_ratio: Optional[float] = None,
) -> list:
    """The settings of config.Model that give exactly these kernels.

    The kernels of basic blocks (ResNet-18 and 34) do not tell whether shortcuts pool as in
    ResNet-D, which they do with selective kernels. With the small stem both are possible.

    Args:
        shapes: kernel shapes in the order of `kernel_shapes`.
        has_bias: some convolutions have a bias, which only squeeze-and-excitation has.
        source: where they come from, for the error.
        sk_ratio: as the user gives it; None reads it from the kernels.
        se_ratio: the same.
    Returns:
        list of dicts, one or two: resnet_depth, width_multiplier, sk_ratio, se_ratio, stem. The
        first is without selective kernels.
    Raises:
        DataError: no encoder of the family has these kernels.
    """
    shapes = [tuple(shape) for shape in shapes]
    ratios = {"sk_ratio": sk_ratio, "se_ratio": se_ratio}
    has_sk = (False, True) if sk_ratio is None else (sk_ratio > 0,)
    found = []
    if shapes:
        for choice in itertools.product(BLOCKS, ("imagenet", "small"), has_sk):
            found.append(_candidate(shapes, *choice, has_bias, ratios))
    found = [one for one in found if one is not None]
    if found:
        return found
    given = "".join(f" with --{n}={value:g}" for n, value in ratios.items() if value is not None)
    known = ", ".join(str(depth) for depth in BLOCKS)
    raise DataError(
        f"{source} holds {len(shapes)} convolutions that are no ResNet of depth {known}{given}; "
        f"give a checkpoint of the official SimCLR code{', or other ratios' if given else ''}."
    )


def _candidate(shapes, depth, stem, has_sk, has_se, given):
    first = shapes[0][3] * (2 if has_sk and stem == "imagenet" else 1)
    width = first / 64
    last = shapes[: len(shapes) - 2] if has_se else shapes  # the gates are made last in a block
    se_ratio = shapes[-1][2] / (512 * width) if has_se else 0.0
    if given["se_ratio"] is not None:
        se_ratio = given["se_ratio"]
    sk_ratio = 0.0
    if has_sk:
        sk_ratio = 0.0625  # of every SimCLR v2 release; basic blocks do not tell
        gate = last[-2][2] if depth >= 50 and len(last) > 2 else 0
        if depth >= 50 and gate != max(int(512 * width * sk_ratio), 32):
            sk_ratio = gate / (512 * width)
        if given["sk_ratio"] is not None:
            sk_ratio = given["sk_ratio"]
    if kernel_shapes(depth, width, stem, sk_ratio, se_ratio) != shapes:
        return None
    return {
        "resnet_depth": depth,
        "width_multiplier": width,
        "sk_ratio": sk_ratio,
        "se_ratio": se_ratio,
        "stem": stem,
    }
